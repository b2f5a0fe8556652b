package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// List is a part of a list.
type List[T any] struct {
	Items []T `json:"items"`
	// Next is the address of the part that follows; null after the last one.
	Next *string `json:"next"`
}

// Time is a time in UTC, or null for never.
type Time struct{ time.Time }

// MarshalJSON writes it as RFC 3339 has it.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.AppendFormat(make([]byte, 0, 40), timeFormat), nil
}

// UnmarshalJSON reads it.
func (t *Time) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(text)
}

// timeFormat is that of RFC 3339, in quotes.
const timeFormat = `"2006-01-02T15:04:05.999999999Z"`

// at is a time of an answer.
func at(t time.Time) Time { return Time{t.UTC()} }

// all writes each of some rows. The list is never null.
func all[R, T any](rows []R, write func(R) T) []T {
	written := make([]T, 0, len(rows))
	for _, r := range rows {
		written = append(written, write(r))
	}
	return written
}

// texts is a list of texts that is never null.
func texts[T ~string](of []T) []string { return all(of, func(t T) string { return string(t) }) }

// quick is what writes itself as JSON: lists of many rows, for which reflection takes longer than the database.
type quick interface{ appendJSON(to []byte) []byte }

// answer writes a value as a whole: parts of lists are bounded, so nothing needs to be streamed, and whoever has the same
// already gets a 304 and no body.
func answer(w http.ResponseWriter, req *http.Request, value any) {
	status, h := http.StatusOK, w.Header()
	if r, ok := value.(reply); ok {
		status, value = r.status, r.value
		if r.location != "" {
			h.Set("Location", r.location)
		}
	}
	var text []byte
	if q, ok := value.(quick); ok {
		text = q.appendJSON(nil)
	} else {
		var err error
		if text, err = json.Marshal(value); err != nil {
			panic(err) // our own types
		}
	}
	text = append(text, '\n')
	if status == http.StatusOK && (req.Method == http.MethodGet || req.Method == http.MethodHead) {
		sum := sha256.Sum256(text)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
		h.Set("ETag", tag)
		if matches(req.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that is gone by now needs no answer
}

// matches reports whether one of the tags that a client has is ours, as RFC 9110 compares them weakly.
func matches(headers []string, tag string) bool {
	for _, header := range headers {
		for one := range strings.SplitSeq(header, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// accepts reports whether whoever asks takes an answer of a type. Without the header they take any.
func accepts(headers []string, kind string) bool {
	if len(headers) == 0 {
		return true
	}
	family, _, _ := strings.Cut(kind, "/")
	for _, header := range headers {
		for one := range strings.SplitSeq(header, ",") {
			name, parameters, err := mime.ParseMediaType(one)
			if err != nil || name != kind && name != family+"/*" && name != "*/*" {
				continue
			}
			if q, err := strconv.ParseFloat(parameters["q"], 64); parameters["q"] == "" || err == nil && q > 0 {
				return true
			}
		}
	}
	return false
}
