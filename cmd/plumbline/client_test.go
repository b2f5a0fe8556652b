package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/web/api"
)

// TestClientSaysWhatIsWrong: what answers need not be a Plumbline, nor one that lets us in.
func TestClientSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const token = "token-canary-1"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		token  string
		says   string
	}{
		"another program": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, token, "but not as Plumbline does"},
		"an older server": {http.NotFound, token, "answers 404 Not Found, but not as Plumbline does"},
		"another version": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(api.Header, "v9") }, token, "speaks version v9 of the API"},
		"a proxy":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, token, "what stands before it answers 502"},
		"a redirect": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "https://evil.example/", http.StatusFound)
		}, token,
			"sends its visitors to https://evil.example/: give --server the address"},
		"nobody signed in": {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.SignIn("A token is needed.")) }, "", "wants to know who asks: A token is needed. Set PLUMBLINE_TOKEN"},
		"a token too old":  {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.SignIn("It is over.")) }, token, "does not accept the token: It is over. The page http://127.0.0.1:"},
		"no right":         {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.Forbidden("Only there.")) }, token, "This may not be asked for: Only there."},
		"later":            {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.Unavailable("The database is away.")) }, token, "no answer: It cannot be answered now: The database is away."},
		"too often":        {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.TooMany("Too many watch.")) }, token, "no answer: One moment: Too many watch."},
		"an unlike problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.Header, api.Version)
			w.WriteHeader(http.StatusTeapot)
		}, token, "answers 418"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.Header, api.Version)
			_, _ = w.Write([]byte("{"))
		}, token, "cannot read"},
		"controls": {func(w http.ResponseWriter, _ *http.Request) { api.Refuse(w, api.Forbidden("a\x1b[31mb")) }, token, "a\uFFFD[31mb"},
		"a list that leads elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.Header, api.Version)
			_, _ = w.Write([]byte(`{"items":[{"id":"r"}],"next":"https://evil.example/api/v1/runs"}`))
		}, token, "names an address that is not its own"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if got := req.Header.Get("Authorization"); got != "Bearer "+c.token && c.token != "" || got != "" && c.token == "" {
				t.Errorf("%s: it is asked with %q", name, got)
			}
			c.answer(w, req)
		}))
		var out bytes.Buffer
		p := &program{stdout: &out, stderr: &out, environ: []string{"PLUMBLINE_TOKEN=" + c.token}}
		if got := p.run([]string{"plumbline", "runs", "--server", server.URL}); got != exitError || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit status %d, %q; want that it says %q", name, got, out.String(), c.says)
		}
		if strings.Contains(out.String(), token) {
			t.Errorf("%s: it prints the token: %s", name, out.String())
		}
		server.Close()
	}
}

// TestClientTrustsNobody: without a certificate that is trusted nothing is sent.
func TestClientTrustsNobody(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server that nobody vouches for is asked") }))
	server.Config.ErrorLog = nil
	defer server.Close()
	var out bytes.Buffer
	p := &program{stdout: &out, stderr: &out, environ: []string{"PLUMBLINE_TOKEN=token"}}
	if got := p.run([]string{"plumbline", "status", "--server", server.URL}); got != exitError || !strings.Contains(out.String(), "certificate") {
		t.Errorf("exit status %d, %q; want an error about the certificate", got, out.String())
	}
}

// TestFollowEnds when it is interrupted, also while it waits for a server that does not answer.
func TestFollowEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 1 {
			cancel()
			api.Refuse(w, api.Unavailable("Away."))
			return
		}
		w.Header().Set(api.Header, api.Version)
		_, _ = w.Write([]byte(`{"items":[{"id":"r1","workspace":"a\u001b","repository":"github/acme/live","kind":"plan","status":"running","phase":"planning","created_at":"2026-11-21T12:00:00Z","started_at":null,"ended_at":null}],"next":null}`))
	}))
	defer server.Close()
	var out bytes.Buffer
	p := &program{stdout: &out, stderr: &out, idle: new(atomic.Bool)}
	if got := p.runContext(ctx, []string{"plumbline", "runs", "-f", "--server", server.URL}); got != exitOK || !strings.Contains(out.String(), "  r1  a\uFFFD  github/acme/live  plan  planning") {
		t.Errorf("exit status %d, %q; want 0 and the run", got, out.String())
	}
}
