package web_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/web"
)

// many is a database with 10,000 workspaces, of which a third have drifted or are planned.
func many(t testing.TB) *seen {
	t.Helper()
	views := look(t, "")
	views.tx(t, func(ctx context.Context, tx *sql.Tx) {
		do := func(query string, args ...any) {
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				t.Fatal(err)
			}
		}
		settings := `{"name":"x","env":["` + strings.Repeat("TOY_LONG_NAME,", 60) + `"]}`
		for r := range 20 {
			repo := fmt.Sprintf("github/acme/live-%02d", r)
			do(`INSERT INTO repository VALUES ($1, 'github', 'acme', $2, 'main', '', 0, '', 0, 0, 0, 0, 0, '')`, repo, fmt.Sprint("live-", r))
			do(`INSERT INTO change VALUES ($1, 1, 'Change it', 'ann', 'open', 0, 0, 'f', 'c', 'main', 'b', '', 'https://github.com/acme/live/pull/1', 0, 0, '', $1, 0)`, repo)
			do(`INSERT INTO operation VALUES ($1, 1, $1, 1, 'plan', 'pushed', 'ann', 'main', 'b', 'h', 'c', '', '', '', '', 0, 'done', 0, 0, 0, 0, 0, '', 0, 0)`, repo)
			for i := range 500 {
				dir := fmt.Sprintf("env-%d/part-%03d", i%10, i)
				state := []string{"clean", "clean", "drifted", "unknown"}[i%4]
				do(`INSERT INTO workspace VALUES ($1, $2, $2, 1, $3, '0123456789abcdef', $4, 'applied')`, repo, dir, settings, noon.UnixMilli())
				do(`INSERT INTO sweep VALUES ($1, $2, '', '1h', 0, 0, $3, 0, '', '', 0, $3, $4, $3, 0, '', $3, 0)`, repo, dir, noon.UnixMilli(), state)
				if state == "drifted" {
					do(`INSERT INTO finding VALUES ($1, $2, 'k', 'toy_bucket.a', 'resource', 'outside', 1, 1, 0, 0, 0, 0, 0, 0, '')`, repo, dir)
				}
				if i%10 == 0 {
					do(`INSERT INTO run VALUES ($1, $2, $2, $3, $3, 0, 'plan', 'planned', '', '', '', '', '', '', '', '', 0, 0, '', 1, 0, 0, 0, 0)`, repo+dir, repo, dir)
				}
			}
		}
	})
	return views
}

// BenchmarkWorkspacesPage is the first page with 10,000 workspaces, a filtered one, and the last.
func BenchmarkWorkspacesPage(b *testing.B) {
	views := many(b)
	handler := web.New(web.Options{Engine: &desk{}, Views: views, Log: slog.New(slog.DiscardHandler)})
	for _, path := range []string{"/", "/?q=env-2&state=drifted", "/?from=9900"} {
		b.Run(strings.NewReplacer("/", "page", "?", " ").Replace(path), func(b *testing.B) {
			size := 0
			for b.Loop() {
				recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost"+path, nil)
				req.RemoteAddr = "127.0.0.1:1"
				handler.ServeHTTP(recorder, req)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Code, recorder.Body)
				}
				size = recorder.Body.Len()
			}
			b.ReportMetric(float64(size), "B/page")
		})
	}
}

// BenchmarkAPIWorkspaces lists 10,000 workspaces over the API, in parts of 1000 with each followed by the next, beside the query
// that reads their rows and nothing more. What counts is how much longer it takes.
func BenchmarkAPIWorkspaces(b *testing.B) {
	views := many(b)
	handler := web.New(web.Options{Engine: &desk{}, Views: views, Log: slog.New(slog.DiscardHandler)})
	var bare, listed time.Duration
	size, parts := 0, 0
	for b.Loop() {
		begun := time.Now()
		rows := bareQuery(b, views)
		bare += time.Since(begun)
		begun, size, parts = time.Now(), 0, 0
		items := 0
		for next := "/api/v1/workspaces?limit=1000"; next != ""; parts++ {
			recorder, req := httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost"+next, nil)
			req.RemoteAddr = "127.0.0.1:1"
			handler.ServeHTTP(recorder, req)
			if recorder.Code != http.StatusOK {
				b.Fatal(recorder.Code, recorder.Body)
			}
			text := recorder.Body.Bytes()
			size += len(text)
			items += bytes.Count(text, []byte(`{"repository":`))
			next = ""
			if at := bytes.LastIndex(text, []byte(`"next":"`)); at > 0 {
				next = strings.TrimSuffix(string(text[at+len(`"next":"`):]), "\"}\n")
				next = strings.ReplaceAll(next, `\u0026`, "&")
			}
		}
		listed += time.Since(begun)
		if items != rows || rows != 10_000 {
			b.Fatalf("%d workspaces are listed, %d are there", items, rows)
		}
	}
	b.ReportMetric(float64(bare.Milliseconds())/float64(b.N), "query-ms")
	b.ReportMetric(float64(listed.Milliseconds())/float64(b.N), "list-ms")
	b.ReportMetric(float64(listed)/float64(bare), "list/query")
	b.ReportMetric(float64(size), "B")
	b.ReportMetric(float64(parts), "parts")
}

// bareQuery reads what a list of workspaces says of each, and counts them.
func bareQuery(b *testing.B, views *seen) (n int) {
	err := views.db.Read(b.Context(), func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(b.Context(), `SELECT w.repository, w.name, w.dir, w.applied_commit, w.applied_at, w.last_status, COALESCE(s.state, 'never'), COALESCE(s.checked_at, 0), COALESCE(s.overdue_at, 0)
			FROM workspace AS w LEFT JOIN sweep AS s ON s.repository = w.repository AND s.workspace = w.name AND s.gone = 0 WHERE w.present = 1 ORDER BY w.repository, w.name`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for n = 0; rows.Next(); n++ {
			var repo, name, dir, commit, status, state string
			var applied, checked, overdue int64
			if err := rows.Scan(&repo, &name, &dir, &commit, &applied, &status, &state, &checked, &overdue); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
