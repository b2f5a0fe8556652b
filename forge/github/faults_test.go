package github_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
)

// calls collects what a client reports of its requests.
type calls struct {
	mu  sync.Mutex
	all []github.Call
}

func (c *calls) add(call github.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call)
}

// take returns the statuses of the calls since the last time.
func (c *calls) take() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var statuses []int
	for _, call := range c.all {
		statuses = append(statuses, call.Status)
	}
	c.all = nil
	return statuses
}

// opened is a repository with one pull request, and a client with a token.
func opened(t *testing.T, change func(*github.Options)) (*forgetest.GitHub, *github.Client, forge.Repo, int) {
	t.Helper()
	g := forgetest.StartGitHub(t)
	opts := github.Options{URL: g.URL, Token: g.Token, WebhookSecret: g.WebhookSecret}
	if change != nil {
		change(&opts)
	}
	repo := g.NewRepo(t)
	g.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	return g, newClient(t, opts), repo, g.Open(t, repo, "alice", "feature", "main", "Add a", false)
}

func TestWhatHasNotChangedCostsNothing(t *testing.T) {
	t.Parallel()
	var seen calls
	g, client, repo, number := opened(t, func(o *github.Options) { o.OnCall = seen.add })
	first, err := client.Change(t.Context(), repo, number)
	if err != nil {
		t.Fatal(err)
	}
	left := g.Remaining()
	for range 3 {
		again, err := client.Change(t.Context(), repo, number)
		if err != nil || again != first {
			t.Fatalf("asked again: %+v, %v, want %+v", again, err, first)
		}
	}
	if got, want := seen.take(), []int{200, 304, 304, 304}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	if g.Remaining() != left {
		t.Errorf("three unchanged answers cost %d of the rate limit", left-g.Remaining())
	}
	pushed := g.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# b"})
	after, err := client.Change(t.Context(), repo, number)
	if err != nil || after.Head.Commit != pushed {
		t.Errorf("after a push: %+v, %v, want head %s", after, err, pushed)
	}
	if got := seen.take(); !slices.Equal(got, []int{200}) {
		t.Errorf("answers after a push %v, want 200", got)
	}
}

func TestSecondaryLimitIsWaitedFor(t *testing.T) {
	t.Parallel()
	var seen calls
	g, client, repo, number := opened(t, func(o *github.Options) { o.OnCall = seen.add })
	g.Break(forgetest.SecondaryLimit(time.Second, 1))
	made, err := client.CreateComment(t.Context(), repo, number, "the body must survive the second attempt")
	if err != nil {
		t.Fatal(err)
	}
	if got := g.CommentsOf(t, repo, number); !slices.Equal(got, []string{made.Body}) || made.Body == "" {
		t.Errorf("comments %q, want one with the body", got)
	}
	if got := seen.take(); !slices.Equal(got, []int{403, 201}) {
		t.Errorf("answers %v, want 403 and then 201", got)
	}
}

func TestLimitsThatAreTooLongAreReported(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*forgetest.GitHub, time.Time){
		"primary": func(g *forgetest.GitHub, until time.Time) { g.SetLimit(0, until) },
		"secondary": func(g *forgetest.GitHub, until time.Time) {
			g.Break(forgetest.SecondaryLimit(time.Until(until)+time.Second, 1))
		},
		"too many requests": func(g *forgetest.GitHub, until time.Time) {
			f := forgetest.SecondaryLimit(time.Until(until)+time.Second, 1)
			f.Status = http.StatusTooManyRequests
			g.Break(f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen calls
			g, client, repo, number := opened(t, func(o *github.Options) { o.OnCall = seen.add })
			until := time.Now().Add(time.Hour)
			limit(g, until)
			_, err := client.CreateComment(t.Context(), repo, number, "hello")
			var limited *forge.RateLimitError
			if !errors.As(err, &limited) {
				t.Fatalf("CreateComment: %v, want a RateLimitError", err)
			}
			if d := limited.Until.Sub(until).Abs(); d > 5*time.Second {
				t.Errorf("told to wait until %s, want about %s", limited.Until, until)
			}
			if !strings.Contains(limited.Doing, repo.String()) {
				t.Errorf("the error %q does not say what was tried", err)
			}
			if got := g.CommentsOf(t, repo, number); len(got) != 0 {
				t.Errorf("comments %q, want none", got)
			}
			if name != "primary" {
				return
			}
			seen.take()
			if _, err := client.Change(t.Context(), repo, number); !errors.As(err, &limited) {
				t.Errorf("Change while the limit lasts: %v, want a RateLimitError", err)
			}
			if got := seen.take(); len(got) != 0 {
				t.Errorf("while the limit lasts the client asked all the same: %v", got)
			}
		})
	}
}

func TestFaultsAreReported(t *testing.T) {
	t.Parallel()
	g, _, repo, number := opened(t, nil)
	for name, c := range map[string]struct {
		fault forgetest.Fault
		want  string
	}{
		"500":       {forgetest.Fault{Status: 500, Body: `{"message": "Server Error"}`}, "GitHub answered 500: Server Error"},
		"502":       {forgetest.Fault{Status: 502, Body: "<html>Unicorn!</html>"}, "GitHub answered 502: Bad Gateway"},
		"not JSON":  {forgetest.Fault{Status: 200, Body: "<html>"}, "invalid character"},
		"forbidden": {forgetest.Fault{Status: 403, Body: `{"message": "Resource not accessible by integration"}`}, "give the token or the App the permission"},
		"dropped":   {forgetest.Fault{Drop: true}, "EOF"},
		"lost":      {forgetest.Fault{Lose: true}, "EOF"},
		"cut":       {forgetest.Fault{Cut: 100}, "EOF"},
		"timeout":   {forgetest.Fault{Delay: time.Minute}, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			// A client of its own, which has no answers to compare with.
			client := newClient(t, github.Options{URL: g.URL, Token: g.Token, Timeout: 2 * time.Second})
			mend := g.Break(c.fault)
			_, err := client.EditComment(t.Context(), repo, "7", "hello")
			_, err2 := client.Change(t.Context(), repo, number)
			mend()
			if err2 == nil || !strings.Contains(err2.Error(), c.want) || !strings.Contains(err2.Error(), fmt.Sprintf("%s#%d", repo, number)) {
				t.Errorf("Change: %v, want %q and what was tried", err2, c.want)
			}
			for _, err := range []error{err, err2} {
				if err == nil || strings.Contains(fmt.Sprintf("%+v", err), g.Token) {
					t.Errorf("error %v: want one, without the token", err)
				}
			}
			if _, err := client.Change(t.Context(), repo, number); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestLostAnswerIsNotRepeated(t *testing.T) {
	t.Parallel()
	g, client, repo, number := opened(t, nil)
	g.Break(forgetest.Fault{Method: "POST", Path: "/comments", Times: 1, Lose: true})
	if _, err := client.CreateComment(t.Context(), repo, number, "once"); err == nil {
		t.Error("a comment whose answer was lost is no error")
	}
	if got := g.CommentsOf(t, repo, number); len(got) != 1 {
		t.Errorf("comments %q, want the one that was made", got)
	}
}

func TestCancellingEndsAWait(t *testing.T) {
	t.Parallel()
	g, client, repo, number := opened(t, func(o *github.Options) { o.MaxWait = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	g.Break(forgetest.SecondaryLimit(30*time.Minute, 0))
	done := make(chan error)
	go func() {
		_, err := client.Change(ctx, repo, number)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting for a rate limit: %v", err)
	}
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	_, client, repo, number := opened(t, func(o *github.Options) { o.Token = "ghp_canary0secret" })
	_, err := client.Change(t.Context(), repo, number)
	var refused *forge.NotAllowedError
	if !errors.As(err, &refused) || refused.Says != "Bad credentials" || strings.Contains(err.Error(), "canary") {
		t.Errorf("Change with a wrong token: %v, want a NotAllowedError with GitHub's words and without the token", err)
	}
}

func TestRedirectsToAnotherHostAreRefused(t *testing.T) {
	t.Parallel()
	var asked []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.Header.Get("Authorization"))
	}))
	defer thief.Close()
	g, client, repo, number := opened(t, nil)
	g.Break(forgetest.Fault{Status: http.StatusTemporaryRedirect, Header: map[string]string{"Location": thief.URL}})
	if _, err := client.Change(t.Context(), repo, number); err == nil || !strings.Contains(err.Error(), "another host") {
		t.Errorf("Change: %v, want the redirect refused", err)
	}
	if len(asked) != 0 {
		t.Errorf("the other host was asked, with %q", asked)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]github.Options{
		"either a token or an App":  {},
		"want either":               {Token: "a", App: &github.App{}},
		"GitHub App 7":              {App: &github.App{ID: 7, PrivateKey: []byte("no key")}},
		"root of its REST API":      {Token: "a", URL: "github.example.com"},
		"credentials do not belong": {Token: "a", URL: "https://user:canary@github.example.com"},
	} {
		if _, err := github.New(opts); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("New(%q): %v, want %q", opts.URL, err, want)
		}
	}
}

func TestMalformedWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "s"
	client := newClient(t, github.Options{Token: "a", WebhookSecret: secret})
	for _, body := range []string{"", "{", "[]", "null", `{"action":1}`, `"x"`, `{"pull_request":{"number":"seven"}}`, strings.Repeat("[", 100000)} {
		for _, event := range []string{"pull_request", "issue_comment", "pull_request_review", "push", "ping", "unheard_of", ""} {
			events, err := client.Decode(signed(secret, event, []byte(body)), []byte(body))
			if err != nil && !errors.Is(err, forge.ErrPayload) {
				t.Errorf("%s %.20q: %v, want ErrPayload", event, body, err)
			}
			for _, e := range events {
				if e.Kind != forge.Ping {
					t.Errorf("%s %.20q gave the event %+v", event, body, e)
				}
			}
		}
	}
	const broken = `{"action": "opened", "secret": "canary", `
	if _, err := client.Decode(signed(secret, "push", []byte(broken)), []byte(broken)); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("Decode: %v, want an error that does not quote the payload", err)
	}
}

func TestWebhookAsForm(t *testing.T) {
	t.Parallel()
	const secret = "s"
	client := newClient(t, github.Options{Token: "a", WebhookSecret: secret})
	body := []byte("payload=%7B%22hook_id%22%3A7%2C%22zen%22%3A%22a%22%7D")
	header := signed(secret, "ping", body)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	events, err := client.Decode(header, body)
	if err != nil || len(events) != 1 || events[0].Kind != forge.Ping {
		t.Errorf("Decode = %+v, %v, want a ping", events, err)
	}
	header.Set("X-Hub-Signature", "sha1=0000")
	header.Del("X-Hub-Signature-256")
	if _, err := client.Decode(header, body); !errors.Is(err, forge.ErrSignature) {
		t.Errorf("Decode with the old signature alone: %v, want ErrSignature", err)
	}
}

// FuzzDecode looks for a payload that makes the decoder panic.
func FuzzDecode(f *testing.F) {
	client, err := github.New(github.Options{Token: "a", WebhookSecret: "s"})
	if err != nil {
		f.Fatal(err)
	}
	for _, event := range []string{"pull_request", "issue_comment", "pull_request_review", "push", "ping"} {
		f.Add(event, []byte(`{"action":"closed","pull_request":{"number":1,"head":{"repo":null}},"issue":{"pull_request":{}},"ref":"refs/heads/a"}`))
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		header := signed("s", event, body)
		first, err1 := client.Decode(header, body)
		second, err2 := client.Decode(header, bytes.Clone(body))
		if (err1 == nil) != (err2 == nil) || len(first) != len(second) {
			t.Errorf("two deliveries of one payload differ: %v, %v", err1, err2)
		}
	})
}
