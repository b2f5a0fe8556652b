package gitea_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/gitea"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]gitea.Options{
		"no URL":             {Token: "t"},
		"no scheme":          {URL: "git.example.com", Token: "t"},
		"another scheme":     {URL: "ssh://git.example.com", Token: "t"},
		"credentials":        {URL: "https://me:canary@git.example.com", Token: "t"},
		"the API's own root": {URL: "https://git.example.com/api/v1/", Token: "t"},
		"no token":           {URL: "https://git.example.com"},
	} {
		client, err := gitea.New(opts)
		if err == nil || client != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v; want an error that says no secret", name, client, err)
		}
	}
}

// What a proxy in front of Gitea answers, which a Gitea without one never does.
func TestErrorsOfAProxy(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed to another host, with Authorization %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	var answer http.HandlerFunc
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer proxy.Close()
	var calls []gitea.Call
	client, err := gitea.New(gitea.Options{URL: proxy.URL, Token: "canary", OnCall: func(c gitea.Call) { calls = append(calls, c) }})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	reply := func(status int, header, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(header, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>a page of the proxy</html>")
		}
	}
	repo := forge.Repo{Owner: "acme", Name: "live"}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		good   func(error) bool
	}{
		"rate limit": {reply(429, "Retry-After", until.Format(http.TimeFormat)), func(err error) bool {
			var limited *forge.RateLimitError
			return errors.As(err, &limited) && limited.Until.Equal(until)
		}},
		"rate limit in seconds": {reply(503, "Retry-After", "3600"), func(err error) bool {
			var limited *forge.RateLimitError
			return errors.As(err, &limited) && limited.Until.After(until.Add(-time.Minute))
		}},
		"no advice": {reply(429, "", ""), func(err error) bool {
			var limited *forge.RateLimitError
			return errors.As(err, &limited) && limited.Until.After(time.Now())
		}},
		"down": {reply(502, "", ""), func(err error) bool {
			return strings.Contains(err.Error(), "Gitea answered 502: Bad Gateway") && !strings.Contains(err.Error(), "html")
		}},
		"not JSON": {reply(200, "", ""), func(err error) bool { return err != nil }},
		"redirect": {reply(302, "Location", elsewhere.URL), func(err error) bool {
			return strings.Contains(err.Error(), "refused a redirect")
		}},
	} {
		answer = c.answer
		_, err := client.Change(t.Context(), repo, 1)
		if err == nil || !c.good(err) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(calls) != 6 {
		t.Errorf("told of %d calls, want 6: %v", len(calls), calls)
	}
}
