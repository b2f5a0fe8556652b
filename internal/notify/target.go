package notify

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// Target is somewhere to tell of events. Make it with Open.
type Target struct {
	Name string
	Rule Rule
	// Digest is how long events are gathered before they are told in one message; 0 tells them as they come.
	Digest time.Duration

	service types.Service
	scheme  string
	hide    *strings.Replacer
	// busy is set while a message is on its way. The library cannot be stopped, so one that hangs keeps the next from
	// being begun.
	busy atomic.Bool
}

// Services are the schemes that an address may have.
func Services() []string {
	list := new(router.ServiceRouter).ListServices()
	list = slices.DeleteFunc(list, func(name string) bool { return name == "logger" })
	slices.Sort(list)
	return list
}

// Open reads the address of a target, as https://shoutrrr.nickfedor.com describes addresses. It connects to nothing. The
// error does not show the address.
func Open(name, address string, rule Rule, digest time.Duration) (*Target, error) {
	t := &Target{Name: name, Rule: rule, Digest: digest}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("it is no URL: write one such as slack://… or generic+https://…")
	}
	t.scheme, _, _ = strings.Cut(u.Scheme, "+")
	if !slices.Contains(Services(), t.scheme) {
		return nil, fmt.Errorf("it begins with a scheme that is not known; what is known are %s", strings.Join(Services(), ", "))
	}
	t.hide = hiding(address, u)
	t.service, err = new(router.ServiceRouter).Locate(address)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be set up with it: %s", t.scheme, t.shown(err))
	}
	return t, nil
}

// Service is the kind of place that the target is, such as "slack".
func (t *Target) Service() string { return t.scheme }

// String names the target without its address.
func (t *Target) String() string { return t.Name + " (" + t.scheme + ")" }

// errBusy: a message has been on its way for longer than its sender waited.
var errBusy = errors.New("the message before this one is still on its way")

// Send hands a message over. It waits until that is done, or ctx ends; then nobody knows whether the message arrived, and
// the next Send is refused until that is known. Errors do not show the target's address.
func (t *Target) Send(ctx context.Context, title, message string) error {
	fail := func(err error) error { return fmt.Errorf("notify %s: %w", t, err) }
	if !t.busy.CompareAndSwap(false, true) {
		return fail(errBusy)
	}
	if t.scheme == "smtp" {
		title = mime.QEncoding.Encode("utf-8", title) // it becomes a header
	}
	done := make(chan error, 1)
	go func() {
		defer t.busy.Store(false)
		defer func() {
			if p := recover(); p != nil { // a service must not take the server along
				done <- fmt.Errorf("its library panicked: %v", p)
			}
		}()
		done <- t.service.Send(message, &types.Params{types.TitleKey: title})
	}()
	select {
	case err := <-done:
		if err != nil {
			return fail(errors.New(t.shown(err)))
		}
		return nil
	case <-ctx.Done():
		return fail(fmt.Errorf("it did not answer in time: %w", ctx.Err()))
	}
}

// addressLike finds addresses in what the library says.
var addressLike = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"']*`)

// shown is what may be said of an error of the library: it likes to repeat the address.
func (t *Target) shown(err error) string {
	text := addressLike.ReplaceAllString(err.Error(), "(address)")
	return cut(plain(t.hide.Replace(text)), 300)
}

// hiding finds every part of an address that may be a secret. A host that can be looked up is none.
func hiding(address string, u *url.URL) *strings.Replacer {
	const least = 3
	var parts []string
	add := func(s string) {
		words := []string{s}
		words = append(words, strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("/:-_@.,;&=+ ", r) })...)
		for _, word := range words {
			if len(word) >= least {
				parts = append(parts, word, url.QueryEscape(word), url.PathEscape(word))
			}
		}
	}
	parts = append(parts, address, u.String())
	if u.User != nil {
		add(u.User.Username())
		password, _ := u.User.Password()
		add(password)
	}
	add(u.Path)
	add(u.Fragment)
	for _, values := range u.Query() {
		for _, value := range values {
			add(value)
		}
	}
	if host := u.Hostname(); !isPublicName(host) {
		add(host)
	}
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) }) // a part of a part comes after it
	var pairs []string
	for _, part := range slices.Compact(parts) {
		pairs = append(pairs, part, "(hidden)")
	}
	return strings.NewReplacer(pairs...)
}

// isPublicName tells the name of a machine from what some services write in its place: an id or a token.
func isPublicName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	return strings.Contains(host, ".")
}
