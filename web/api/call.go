package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
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

// Limits of what may be sent.
const (
	maxQuery     = 4096     // bytes of all parameters
	maxText      = 500      // bytes of a text
	maxBody      = 64 << 10 // bytes
	maxLimit     = 1000     // of a part of a list
	defaultLimit = 100
)

// call reads what was asked for, and remembers the first thing that is wrong with it. It never repeats what was sent.
type call struct {
	req     *http.Request
	values  url.Values
	sight   engine.Sight // of who asks; known when the work begins
	problem *Problem
}

// newCall reads the query. What the operation does not take, or takes once and got twice, is wrong: who mistypes a filter must
// not get everything.
func newCall(req *http.Request, op operation) *call {
	c := &call{req: req}
	if len(req.URL.RawQuery) > maxQuery {
		c.problem = problem(kindTooLong, "All parameters together may have "+strconv.Itoa(maxQuery)+" bytes.")
		return c
	}
	var err error
	if c.values, err = url.ParseQuery(req.URL.RawQuery); err != nil {
		c.problem = problem(kindMalformed, "What follows the question mark is not written as addresses are.")
		return c
	}
	for name, values := range c.values {
		switch {
		case !slices.Contains(op.parameters, name) && len(op.parameters) == 0:
			c.problem = problem(kindUnknown, "This address takes no parameters.")
		case !slices.Contains(op.parameters, name):
			c.problem = problem(kindUnknown, "This address takes: "+strings.Join(op.parameters, ", ")+".")
		case len(values) > 1:
			c.fail(name, "stands there twice")
		}
	}
	return c
}

// fail notes that a parameter is wrong: the rest of a sentence that begins with its name.
func (c *call) fail(name, why string) {
	if c.problem == nil {
		c.problem = problem(kindParameter, "The parameter "+name+" "+why+".")
		c.problem.Parameter = name
	}
}

// given reads a parameter that must not be empty where it is given.
func (c *call) given(name string) (text string, ok bool) {
	if !c.values.Has(name) {
		return "", false
	}
	if text = c.values.Get(name); text == "" {
		c.fail(name, "is empty: leave it out, or give it a value")
		return "", false
	}
	return text, true
}

// text is a parameter of some words on one line; "" if there is none.
func (c *call) text(name string) string {
	text := c.values.Get(name)
	if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		c.fail(name, "takes a text of at most "+strconv.Itoa(maxText)+" bytes on one line")
		return ""
	}
	return strings.TrimSpace(text)
}

// name is a parameter that is the name of a repository or a workspace; "" if there is none. Those are what directories are
// called, and so may be almost anything.
func (c *call) name(name string) string {
	text, _ := c.given(name)
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		c.fail(name, "is no name")
		return ""
	}
	return text
}

// named is name for what must be given.
func (c *call) named(name string) string {
	text := c.name(name)
	if text == "" {
		c.fail(name, "is needed")
	}
	return text
}

// number is a parameter that is a whole number from least to most; otherwise if there is none.
func (c *call) number(name string, least, most, otherwise int) int {
	text, ok := c.given(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		c.fail(name, "takes a number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
		return otherwise
	}
	return n
}

// limit is how many items a part of a list may have.
func (c *call) limit() int { return c.number("limit", 1, maxLimit, defaultLimit) }

// choice is a parameter that is one of some words; "" if there is none.
func (c *call) choice(name string, of ...string) string {
	text, ok := c.given(name)
	if ok && !slices.Contains(of, text) {
		c.fail(name, "takes one of: "+strings.Join(of, ", "))
		return ""
	}
	return text
}

// choices is a parameter that is some words with commas between; nil if there is none.
func (c *call) choices(name string, of ...string) []string {
	text, ok := c.given(name)
	if !ok {
		return nil
	}
	chosen := strings.Split(text, ",")
	if len(chosen) > len(of) || slices.ContainsFunc(chosen, func(one string) bool { return !slices.Contains(of, one) }) {
		c.fail(name, "takes some of these, with commas between: "+strings.Join(of, ", "))
		return nil
	}
	return chosen
}

// flag is a parameter that is true or false; false if there is none.
func (c *call) flag(name string) bool { return c.choice(name, "true", "false") == "true" }

// time is a parameter that is a time, or a day in UTC; zero if there is none.
func (c *call) time(name string) time.Time {
	text, ok := c.given(name)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if t = t.UTC(); err != nil || t.Year() < 1970 || t.Year() > 9000 {
		c.fail(name, "takes a time such as 2026-11-21T09:00:00Z, or a day such as 2026-11-21")
		return time.Time{}
	}
	return t
}

// id is the id of a row in the path. What cannot be one is no row's.
func (c *call) id() string {
	text := c.req.PathValue("id")
	wrong := func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if text == "" || len(text) > 64 || strings.ContainsFunc(text, wrong) {
		if c.problem == nil {
			c.problem = problem(kindNotFound, "What it was about is not there: this is no id.")
		}
		return ""
	}
	return text
}

// cursor is where a list goes on, as next has written it: so many parts, or none at the list's beginning. A cursor gives no
// right to anything, and so is not sealed.
func (c *call) cursor(list string, parts int) []string {
	text, ok := c.given("cursor")
	if !ok {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	split := strings.Split(string(raw), "\x00")
	if err != nil || len(split) != parts+1 || split[0] != list {
		c.fail("cursor", "is not one that this list has given: take it from next, as it is")
		return nil
	}
	return split[1:]
}

// next is the address of the part of a list that follows, from a cursor on.
func (c *call) next(list string, parts ...string) *string {
	values := url.Values{}
	for name := range c.values {
		values.Set(name, c.values.Get(name))
	}
	values.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(list+"\x00"+strings.Join(parts, "\x00"))))
	address := c.req.URL.EscapedPath() + "?" + values.Encode()
	return &address
}

// body reads a body of JSON into a value. An empty one leaves it as it is.
func (c *call) body(into any) {
	if c.problem != nil {
		return
	}
	if c.req.ContentLength > maxBody {
		c.problem = tooLarge()
		return
	}
	text, err := io.ReadAll(io.LimitReader(c.req.Body, maxBody+1))
	switch {
	case err != nil:
		c.problem = problem(kindMalformed, "The body broke off.")
	case len(text) > maxBody:
		c.problem = tooLarge()
	case len(text) == 0:
	case !isJSON(c.req.Header.Get("Content-Type")):
		c.problem = problem(kindMediaType, "The body is JSON: say so with Content-Type: application/json.")
	default:
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			c.problem = problem(kindMalformed, "The body is not the JSON object that is described for this address.")
		} else if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			c.problem = problem(kindMalformed, "Something follows the JSON object in the body.")
		}
	}
}

func tooLarge() *Problem {
	return problem(kindTooLarge, "A body may have "+strconv.Itoa(maxBody)+" bytes.")
}

func isJSON(kind string) bool {
	name, _, err := mime.ParseMediaType(kind)
	return err == nil && name == "application/json"
}
