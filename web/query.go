package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Limits of what an address may ask for.
const (
	maxQuery  = 4096 // bytes of all parameters
	maxFilter = 500  // bytes of a text
	maxFrom   = 10_000_000
)

// query reads the parameters of an address, and remembers what is wrong with them. It never repeats what was sent.
type query struct {
	values url.Values
	path   string // the id in the path; "" if the page has none
	sight  engine.Sight
	wrong  string // in a sentence; "" for nothing
}

func newQuery(req *http.Request) *query {
	q := &query{path: req.PathValue("id")}
	if len(req.URL.RawQuery) > maxQuery {
		q.wrong = "It is too long."
		return q
	}
	var err error
	if q.values, err = url.ParseQuery(req.URL.RawQuery); err != nil {
		q.values, q.wrong = nil, "What follows the question mark is not written as addresses are."
	}
	for _, values := range q.values {
		if len(values) > 1 {
			q.fail("A parameter stands there twice.")
		}
	}
	return q
}

func (q *query) Error() string { return q.wrong }

func (q *query) fail(why string) {
	if q.wrong == "" {
		q.wrong = why
	}
}

func (q *query) has(name string) bool { return q.values.Get(name) != "" }

// text is a parameter of some words on one line; "" if there is none.
func (q *query) text(name string) string {
	text := q.values.Get(name)
	if len(text) > maxFilter || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		q.fail("The parameter " + name + " takes a short text on one line.")
		return ""
	}
	return strings.TrimSpace(text)
}

// name is a parameter that is the name of a repository or a workspace. Those are what directories are called, and so may be
// almost anything.
func (q *query) name(name string) string {
	text := q.values.Get(name)
	if strings.ContainsRune(text, 0) {
		q.fail("The parameter " + name + " is no name.")
		return ""
	}
	return text
}

// number is a parameter that is a whole number, not negative; 0 if there is none.
func (q *query) number(name string) int {
	text := q.values.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxFrom {
		q.fail("The parameter " + name + " takes a number from 0 to " + strconv.Itoa(maxFrom) + ".")
		return 0
	}
	return n
}

// choice is a parameter that is one of some words; "" if there is none.
func (q *query) choice(name string, of ...string) string {
	text := q.values.Get(name)
	if text != "" && !slices.Contains(of, text) {
		q.fail("The parameter " + name + " takes one of: " + strings.Join(of, ", ") + ".")
		return ""
	}
	return text
}

// day is a parameter that is a day, as YYYY-MM-DD in UTC; zero if there is none.
func (q *query) day(name string) time.Time {
	text := q.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1970 || day.Year() > 9000 {
		q.fail("The parameter " + name + " takes a day, such as 2026-11-21.")
		return time.Time{}
	}
	return day
}

// id is a parameter that is the id of a row; "" if there is none.
func (q *query) id(name string) string {
	text := q.values.Get(name)
	if text != "" && !isID(text) {
		q.fail("The parameter " + name + " takes the id of a run.")
		return ""
	}
	return text
}

// isID reports whether a text may be the id of a row.
func isID(text string) bool {
	return text != "" && len(text) <= 64 && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// address makes the address of a page: parameters with "" are left out.
func address(path string, parameters ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		if parameters[i+1] != "" {
			values.Set(parameters[i], parameters[i+1])
		}
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// from is a number for an address: "" for 0.
func from(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// outward is the address of a page elsewhere, if it is one that a browser may be sent to; else "".
func outward(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.String()
}
