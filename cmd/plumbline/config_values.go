package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
)

func (r *configReader) listen(s setting) string {
	if !s.set {
		return defaultListen
	}
	host, port, err := net.SplitHostPort(s.text)
	number, badPort := strconv.ParseUint(port, 10, 16)
	if err != nil || badPort != nil || strings.ContainsAny(host, "/ ") {
		r.wrong(s.place, "write an address and a port, such as "+defaultListen, "listen is %s", shown(s.written))
		return ""
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10))
}

// isLoopback reports whether only this machine reaches an address.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	return err == nil && isLoopbackHost(host)
}

func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

func isLoopbackURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && isLoopbackHost(u.Hostname())
}

// webURL reads the root of something that is reached over HTTP.
func (r *configReader) webURL(s setting, what, example string) (*url.URL, bool) {
	u, err := url.Parse(s.text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		r.wrong(s.place, "write one such as "+example, "%s is not a URL that begins with https://", what)
	case u.User != nil:
		r.wrong(s.place, "take them out of it", "%s holds credentials", what)
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(s.text, " ?#"):
		r.wrong(s.place, "write one such as "+example, "%s has more than a host and a path", what)
	default:
		return u, true
	}
	return nil, false
}

// secureURL is webURL for what gets credentials to see.
func (r *configReader) secureURL(s setting, what, example string) (*url.URL, bool) {
	u, ok := r.webURL(s, what, example)
	if ok && u.Scheme == "http" && !isLoopbackHost(u.Hostname()) {
		r.wrong(s.place, "use https://; http:// is for this machine itself, such as http://127.0.0.1:3000",
			"%s begins with http://, and credentials would go over the network in clear", what)
		return nil, false
	}
	return u, ok
}

func (r *configReader) publicURL(s setting) string {
	if s.text == "" {
		return ""
	}
	u, ok := r.webURL(s, "public_url", "https://plumbline.example.com")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(u.String(), "/")
}

func (r *configReader) endpoint(s setting) string {
	if s.text == "" {
		return ""
	}
	u, ok := r.webURL(s, "endpoint of traces", "http://127.0.0.1:4318")
	if !ok {
		return ""
	}
	return u.String()
}

// path reads a path that is relative to the directory of the file.
func (r *configReader) path(s setting, what, base, otherwise string) string {
	text := s.text
	if !s.set {
		text = otherwise
	} else if text == "" {
		r.wrong(s.place, "give it a path, or remove the key", "%s is empty", what)
		return ""
	}
	return r.absolute(s, what, base, text)
}

func (r *configReader) absolute(s setting, what, base, text string) string {
	if !filepath.IsAbs(text) && (s.place.Line > 0 || !s.set) {
		text = filepath.Join(base, text)
	}
	abs, err := filepath.Abs(text)
	if err != nil {
		r.wrong(s.place, "write an absolute path", "%s: %v", what, err)
		return ""
	}
	return abs
}

func (r *configReader) database(s setting) string {
	if s.text == "" || strings.HasPrefix(s.text, "postgres://") || strings.HasPrefix(s.text, "postgresql://") {
		return s.text
	}
	r.wrong(s.place, "write postgres://USER:${PASSWORD}@HOST/NAME, or leave it empty for SQLite in data_dir", "database is not the URL of a PostgreSQL database")
	return ""
}

func (r *configReader) kmsKey(s setting) string {
	if err := planstore.CheckKMSKeys(s.text); err != nil {
		r.wrong(s.place, "write the ARN of a symmetric key, its id, or alias/NAME; several with commas", "plan_kms_key names no key: %v", err)
		return ""
	}
	return s.text
}

func (r *configReader) planStore(s setting, base, otherwise string) string {
	scheme, _, isURL := strings.Cut(s.text, "://")
	switch {
	case s.text == "":
		return otherwise
	case isURL && scheme != "s3" && scheme != "file":
		r.wrong(s.place, "write a directory, or s3://BUCKET/PREFIX", "plan_store has the scheme %s", shown(scheme))
		return ""
	}
	if err := planstore.CheckLocation(s.text); err != nil {
		r.wrong(s.place, "docs/plan-store.md lists what it takes", "plan_store: %v", err)
		return ""
	}
	if isURL {
		return s.text
	}
	return r.absolute(s, "plan_store", base, s.text)
}

func (r *configReader) number(s setting, what string, low, high, otherwise int) int {
	if !s.set {
		return otherwise
	}
	n, err := strconv.Atoi(s.text)
	if err != nil || n < low || n > high {
		r.wrong(s.place, "", "%s is %s; it is a whole number from %d to %d", what, shown(s.written), low, high)
		return otherwise
	}
	return n
}

func (r *configReader) duration(s setting, what string, low, otherwise time.Duration) time.Duration {
	if !s.set {
		return otherwise
	}
	d, err := time.ParseDuration(s.text)
	fix := "write a number with its unit, such as 90s, 5m or 1h"
	if _, number := strconv.Atoi(s.text); number == nil && s.text != "0" {
		fix = "give it a unit: " + shown(s.written+"s")
	}
	switch {
	case err != nil:
		r.wrong(s.place, fix, "%s is %s, which is no duration", what, shown(s.written))
	case d < low || d > maxDuration:
		r.wrong(s.place, fmt.Sprintf("write one from %s to %s", written(low), written(maxDuration)), "%s is %s", what, shown(s.written))
	default:
		return d
	}
	return otherwise
}

func (r *configReader) choice(s setting, what, otherwise string, choices ...string) string {
	if !s.set {
		return otherwise
	}
	if !slices.Contains(choices, s.text) {
		fix := "write one of " + strings.Join(choices, ", ")
		if near := nearestKey(s.text, choices); near != "" {
			fix = fmt.Sprintf("did you mean %q? it is one of %s", near, strings.Join(choices, ", "))
		}
		r.wrong(s.place, fix, "the %s is %s", what, shown(s.written))
		return otherwise
	}
	return s.text
}

// written is a duration as people write it in server.yaml: 10m, where Go says
// 10m0s.
func written(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
