package web_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

// realEngine is an engine on SQLite that takes in and does not work.
func realEngine(t *testing.T, dir string) (*engine.Engine, *database.DB) {
	t.Helper()
	client, err := github.New(github.Options{Token: "none", WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	db, err := database.Open(t.Context(), database.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{
		DB: db, Audit: log, DataDir: dir,
		Forges:    []engine.ForgeOptions{{Name: "github", Client: client, Repos: []string{"acme/*"}}},
		Installer: terraform.NewInstaller(terraform.InstallerOptions{}),
		Plans:     func(string) (*planstore.Store, error) { return nil, errors.New("no plans here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, db
}

// TestFloodIsKept: of a thousand webhooks in a burst each is answered with 202, and is in the database afterwards.
func TestFloodIsKept(t *testing.T) {
	t.Parallel()
	const flood = 1000
	dir := t.TempDir()
	e, db := realEngine(t, dir)
	s := serve(t, func(o *web.Options) { o.Engine = e })
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var group sync.WaitGroup
	var refused atomic.Int64
	for i := range flood {
		group.Go(func() {
			body := fmt.Appendf(nil, `{"ref":"refs/heads/main","before":"1","after":"%d","repository":{"name":"live-%d","owner":{"login":"acme"}}}`, i+2, i%7)
			req, err := http.NewRequest("POST", s.url+"/webhook/github", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = signed("push", body)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Errorf("webhook %d: %v", i, err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				refused.Add(1)
			}
		})
	}
	group.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d of %d webhooks were not accepted:\n%.2000s", n, flood, s.log)
	}
	// What is durable is there for another process.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, db = realEngine(t, dir)
	defer db.Close()
	if n := number(t, db, "SELECT COUNT(*) FROM event WHERE status = 'waiting'"); n != flood {
		t.Errorf("%d events are kept, want %d", n, flood)
	}
	if n := number(t, db, "SELECT COUNT(*) FROM river_job"); n != flood {
		t.Errorf("%d jobs are kept, want %d", n, flood)
	}
}

// TestNothingOfAWebhookButFacts: headers, the rest of a comment and what else a payload holds reach neither the log nor
// the database.
func TestNothingOfAWebhookButFacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, db := realEngine(t, dir)
	defer db.Close()
	s := serve(t, func(o *web.Options) {
		o.Engine, o.Views = e, engine.NewViews(engine.ViewsOptions{DB: db, Audit: e.Audit, Plans: e.Plans})
	})
	comment := func(id int, text string) []byte {
		return fmt.Appendf(nil, `{"action":"created","issue":{"number":7,"title":%[3]q,"pull_request":{"url":"x"}},"comment":{"id":%[1]d,"body":%[2]q,
			"user":{"login":"ann"},"updated_at":"2026-11-21T12:00:00Z","created_at":"2026-11-21T12:00:00Z"},
			"repository":{"name":"live","owner":{"login":"acme"}},"more":%[3]q}`, id, text, canary)
	}
	for i, c := range []struct {
		body   []byte
		status int
		says   string
	}{
		{comment(1, "plumbline plan -w network\n\n"+canary), 202, `"accepted":1`},
		{comment(2, canary+" is no command"), 202, `"ignored":1`},
		{comment(1, "plumbline plan -w network\n\n"+canary), 202, `"known":1`},
		{bytes.ReplaceAll(comment(3, "plumbline apply"), []byte(`"acme"`), []byte(`"elsewhere"`)), 403, "repos"},
	} {
		status, _, text := ask(t, "POST", s.url+"/webhook/github", signed("issue_comment", c.body), bytes.NewReader(c.body))
		if status != c.status || !strings.Contains(text, c.says) || strings.Contains(text, canary) {
			t.Errorf("webhook %d is answered with %d %s, want %d %s", i, status, text, c.status, c.says)
		}
	}
	if n := number(t, db, "SELECT COUNT(*) FROM event"); n != 1 {
		t.Errorf("%d events are kept, want 1", n)
	}
	if n := number(t, db, "SELECT COUNT(*) FROM event WHERE payload LIKE '%plan -w network%'"); n != 1 {
		t.Error("the command is not kept")
	}
	if n := number(t, db, "SELECT COUNT(*) FROM event WHERE payload LIKE '%"+canary+"%'"); n != 0 {
		t.Error("more than the command is kept")
	}
	if strings.Contains(s.log.String(), canary) {
		t.Errorf("something of a webhook is in the log:\n%s", s.log)
	}
	if status, _, text := ask(t, "GET", s.url+"/readyz", nil, nil); status != 503 || !strings.Contains(text, "not started") {
		t.Errorf("an engine that does not run is ready: %d %s", status, text)
	}
	if status, _, text := ask(t, "GET", s.url+"/queue", nil, nil); status != 200 || !strings.Contains(text, "Nothing has happened") {
		t.Errorf("the page of an engine without work: %d %s", status, text)
	}
}

func number(t *testing.T, db *database.DB, query string) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sql.Tx) error { return tx.QueryRowContext(t.Context(), query).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}
