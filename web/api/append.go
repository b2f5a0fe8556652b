package api

import (
	"encoding/json"
	"strconv"
	"time"
)

// These write values as encoding/json does, without looking up what they are.

func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			written, err := json.Marshal(text)
			if err != nil {
				panic(err) // no string fails to be written
			}
			return append(to, written...)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

func appendNumber(to []byte, n int) []byte { return strconv.AppendInt(to, int64(n), 10) }

func appendBool(to []byte, b bool) []byte { return strconv.AppendBool(to, b) }

func appendTime(to []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(to, "null"...)
	}
	return t.UTC().AppendFormat(to, timeFormat)
}
