package access_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// plan asks for the credentials of a plan, and for no longer than a minute.
func plan(t *testing.T, w *workspaces.Workspace, patience time.Duration) (*access.Grant, error) {
	t.Helper()
	type answer struct {
		g   *access.Grant
		err error
	}
	b := access.New(access.Options{Environ: os.Environ(), Anything: true, Patience: patience})
	got := make(chan answer, 1)
	go func() {
		g, err := b.For(w, purpose).Plan(t.Context())
		got <- answer{g, err}
	}()
	select {
	case a := <-got:
		return a.g, a.err
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
		return nil, nil
	}
}

// TestBadAnswersOfSTS: whatever STS answers, or does not, there is an error that says what was tried, or after another attempt
// a session.
func TestBadAnswersOfSTS(t *testing.T) {
	const throttled = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`
	for _, c := range []struct {
		name     string
		bad      int32 // answers, before good ones
		patience time.Duration
		answer   func(w http.ResponseWriter, r *http.Request)
		want     string // in the error; "" for none
	}{
		{name: "throttled once", bad: 1, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, throttled)
		}},
		{name: "throttled each time", bad: 100, want: "Rate exceeded", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, throttled)
		}},
		{name: "silent after its headers", bad: 100, patience: 500 * time.Millisecond, want: "team/plan", answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<Ass")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{name: "garbage", bad: 100, want: "team/plan", answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x00{]canary") }},
		{name: "nothing", bad: 100, want: "without credentials", answer: func(http.ResponseWriter, *http.Request) {}},
		{name: "a page", bad: 100, want: "team/plan", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<html><body>proxy")
		}},
		{name: "an answer without keys", bad: 100, want: "without credentials", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult></AssumeRoleResult></AssumeRoleResponse>`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w, _ := stage(t)
			target := s.URL
			var asked atomic.Int32
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || asked.Add(1) <= c.bad {
					c.answer(w, r)
					return
				}
				again, err := http.NewRequestWithContext(r.Context(), r.Method, target, strings.NewReader(string(body)))
				if err != nil {
					t.Error(err)
					return
				}
				again.Header, again.Host = r.Header, r.Host
				response, err := http.DefaultClient.Do(again)
				if err != nil {
					t.Error(err)
					return
				}
				defer response.Body.Close()
				w.WriteHeader(response.StatusCode)
				_, _ = io.Copy(w, response.Body) // whoever asked may have gone
			}))
			defer front.Close()
			t.Setenv("AWS_ENDPOINT_URL_STS", front.URL)
			g, err := plan(t, w, c.patience)
			if c.want == "" {
				if err != nil || get(g, "AWS_SESSION_TOKEN") == "" || asked.Load() != c.bad+1 {
					t.Errorf("after %d requests: %v", asked.Load(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), awstest.SecretKey) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestTokensRotate: the token of a web identity is read each time, so that a new one counts at once.
func TestTokensRotate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	s, w, _ := stage(t, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_WEB_IDENTITY_TOKEN_FILE="+file)
	b := access.New(access.Options{Environ: os.Environ(), Anything: true})
	for i, c := range []struct {
		token string
		good  bool
	}{{"the-token-of-a-job", true}, {"old-expired", false}, {"the-token-of-a-job", true}} {
		if err := os.WriteFile(file, []byte(c.token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.For(w, purpose).Plan(t.Context()); (err == nil) != c.good {
			t.Errorf("token %d: %v", i+1, err)
		}
	}
	if n := len(s.Sessions()); n != 2 {
		t.Errorf("there are %d sessions, want one for each good token", n)
	}
}

// TestProcessThatHangs: a credential_process that does not end, and leaves a child that holds its output, is not waited for.
func TestProcessThatHangs(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"process": "#!/bin/sh\nexec 2>/dev/null\necho canary\nsleep 20\necho\n",
		"config":  "[default]\ncredential_process = " + filepath.Join(dir, "process") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, w, _ := stage(t, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_CONFIG_FILE="+filepath.Join(dir, "config"))
	start := time.Now()
	_, err := plan(t, w, 300*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "credential_process") || strings.Contains(err.Error(), "canary") || time.Since(start) > 15*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

// TestCommandsEndWithTheirChildren: of a command that takes too long nothing is left.
func TestCommandsEndWithTheirChildren(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		f, err := os.Open(pipe) // waits until the child has it open
		if err == nil {
			_, err = io.ReadAll(f) // and now until nobody has
			f.Close()
		}
		closed <- err
	}()
	w := &workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{
		"TOKEN": {Command: []string{"sh", "-c", `sleep 100 >"$0" 2>/dev/null & wait`, pipe}},
	}}}
	if _, err := plan(t, w, time.Second); err == nil || !strings.Contains(err.Error(), "did not end within 2s") {
		t.Errorf("got %v", err)
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the child of a command that was ended lives on")
	}
}

// TestNothingPrintsItsValues: a canary for what holds values beside a grant.
func TestNothingPrintsItsValues(t *testing.T) {
	t.Parallel()
	o := access.Options{Environ: []string{"SECRET=canary"}, Anything: true}
	b := access.New(o)
	k := b.For(&workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{"TOKEN": {Env: "SECRET"}}}}, purpose)
	g, err := k.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given := g.Given()
	for _, v := range []any{o, b, k, given, &given, []any{k, given}, struct{ Given any }{given}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "canary") {
				t.Errorf("%s of a %T prints %s", verb, v, text)
			}
		}
	}
}
