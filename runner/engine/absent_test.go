package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	otlptraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// secret is what must be in no place where somebody may read it.
type secret struct {
	name, value string
	// stated says that it is in Terraform states, which hold values in clear wherever they lie.
	stated bool
}

// secrets are those that every story has.
func (s *server) secrets(t *testing.T) []secret {
	t.Helper()
	all := []secret{{name: "the cloud's token", value: s.Cloud.Token}}
	for _, value := range terraform.Secrets(s.Environ) {
		all = append(all, secret{name: "a secret of the environment", value: value})
	}
	for _, b := range s.Cloud.Snapshot().Buckets {
		all = append(all, secret{name: "the access key of " + b.Name, value: b.AccessKey, stated: true})
	}
	if s.GitHub != nil {
		all = append(all, secret{name: "the forge's token", value: s.GitHub.Token}, secret{name: "the webhook secret", value: s.GitHub.WebhookSecret})
	}
	if u, err := url.Parse(s.opts.database); err == nil && u.User != nil {
		password, _ := u.User.Password()
		all = append(all, secret{name: "the database's password", value: password})
	}
	if key, err := os.ReadFile(filepath.Join(s.shared, "plan.key")); err == nil {
		all = append(all, secret{name: "the plan store's key", value: strings.TrimSpace(string(key))})
	}
	return append(all, s.canaries...)
}

// absent looks for secrets where they must not be: in the log, in what was sent to the forge (comments, statuses, check
// runs, issues), in the database, in any file that the engines keep, in metrics, in traces and on the page.
func (s *server) absent(t *testing.T, secrets []secret) {
	t.Helper()
	seek := seeker(t, secrets)
	s.unsaid(t, secrets)
	for _, number := range s.numbers(t) {
		for _, c := range s.Forge.Thread(t, s.Repo, number) {
			if c.Ours {
				seek(fmt.Sprintf("a comment on #%d", number), []byte(c.Body), false)
			}
		}
	}
	for table, text := range s.tables(t) {
		seek("the table "+table, text, false)
	}
	for run, text := range s.printed(t) {
		seek("what the run "+run+" printed", []byte(text), false)
	}
	for _, n := range s.nodes {
		seekFiles(t, n.dir, seek)
		if n.process != nil {
			for _, path := range []string{"/metrics", "/", "/healthz", "/readyz"} {
				seek(path, n.page(t, path), false)
			}
		}
	}
	seekFiles(t, filepath.Join(s.shared, "plans"), seek)
}

// printed is what all runs have printed, as people are shown it.
func (s *server) printed(t *testing.T) map[string]string {
	t.Helper()
	log, err := audit.New(audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := engine.NewViews(engine.ViewsOptions{DB: s.nodes[0].db, Audit: log, Plans: func(repository string) (*planstore.Store, error) {
		location := filepath.Join(s.shared, "plans")
		if !s.opts.processes {
			location = filepath.Join(location, repository)
		}
		return planstore.Open(context.Background(), planstore.Options{Location: location, KeyFile: filepath.Join(s.shared, "plan.key"), Repository: repository})
	}})
	all := map[string]string{}
	s.read(t, func(ctx context.Context, tx *sql.Tx) error {
		return each(ctx, tx, "SELECT DISTINCT run FROM run_output", func(row []any) { all[string(textOf(row[0]))] = "" })
	})
	for run := range all {
		part, err := v.Output(context.Background(), engine.Everything(), run, 0, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		if all[run] = part.Text; strings.Contains(part.Text, "do not open") {
			t.Errorf("what the run %s printed does not open: %s", run, part.Text)
		}
	}
	return all
}

// unsaid looks for secrets in what servers have said so far: in the log, to the forge, and to the collector of traces.
func (s *server) unsaid(t *testing.T, secrets []secret) {
	t.Helper()
	seek := seeker(t, secrets)
	seek("the log", s.log.copy(), false)
	seek("what was sent to the forge", s.sent.copy(), false)
	if s.spans != nil {
		seek("a trace", s.spans.text(), false)
	}
}

// seeker returns a function that looks for secrets in something, which may be a state.
func seeker(t *testing.T, secrets []secret) func(where string, data []byte, state bool) {
	var all []shape
	for _, c := range secrets {
		all = append(all, shapes(c)...)
	}
	return func(where string, data []byte, state bool) {
		t.Helper()
		for _, sh := range all {
			if !(state && sh.stated) && bytes.Contains(data, sh.bytes) {
				t.Errorf("%s is in %s, %s", sh.name, where, sh.how)
			}
		}
	}
}

// shape is how a secret may be written.
type shape struct {
	secret
	how   string
	bytes []byte
}

// shapes are the ways in which a secret is written: as it is, in hexadecimal, for a URL, and in Base64, where the bytes
// around it decide which of three forms it takes.
func shapes(c secret) []shape {
	if c.value == "" {
		return nil
	}
	all := []shape{{c, "as it is", []byte(c.value)}, {c, "in hexadecimal", []byte(hex.EncodeToString([]byte(c.value)))}}
	if escaped := url.QueryEscape(c.value); escaped != c.value {
		all = append(all, shape{c, "as in a URL", []byte(escaped)})
	}
	for skip := range min(3, len(c.value)) {
		whole := []byte(c.value[skip:])
		whole = whole[:len(whole)/3*3]
		if len(whole) >= 9 {
			all = append(all, shape{c, "in Base64", []byte(base64.StdEncoding.EncodeToString(whole))})
		}
	}
	return all
}

// seekFiles reads all files below a directory of an engine. Only a state may hold what states hold. What was downloaded is
// not read, nor is Git's store: its objects are what people committed.
func seekFiles(t *testing.T, dir string, seek func(where string, data []byte, states bool)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // the engine lives, and tidies
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "objects" || path == filepath.Join(dir, "cache") || path == filepath.Join(dir, "providers") || path == filepath.Join(dir, "terraform")) {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		in, _ := filepath.Rel(dir, path)
		seek("the file "+in, data, strings.HasPrefix(in, "state"+string(filepath.Separator)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tables returns all that the database holds, by table.
func (s *server) tables(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if s.opts.database != "" {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
	}
	s.read(t, func(ctx context.Context, tx *sql.Tx) error {
		var names []string
		if err := each(ctx, tx, query, func(row []any) { names = append(names, string(textOf(row[0]))) }); err != nil {
			return err
		}
		for _, name := range names {
			found[name] = nil
			err := each(ctx, tx, `SELECT * FROM "`+name+`"`, func(row []any) {
				for _, value := range row {
					found[name] = append(append(found[name], textOf(value)...), '\n')
				}
			})
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
		return nil
	})
	for _, must := range []string{"run", "event", "change", "audit_entry", "river_job"} {
		if _, ok := found[must]; !ok {
			t.Fatalf("the database has no table %s; there are %v", must, slices.Sorted(maps.Keys(found)))
		}
	}
	return found
}

// each reads the rows of a query.
func each(ctx context.Context, tx *sql.Tx, query string, row func([]any)) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row(values)
	}
	return rows.Err()
}

func textOf(value any) []byte {
	switch v := value.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return fmt.Append(nil, value)
}

// collector takes traces over OTLP, as one does that an operator runs.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []byte
	names map[string]int
}

func startCollector(t testing.TB) *collector {
	c := &collector{names: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var sent otlptraces.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest) // also when a server was killed in mid-sentence
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		// Names of things are strings, and ids are bytes, which JSON writes in Base64.
		c.spans = append(append(c.spans, protojson.Format(&sent)...), '\n')
		for _, of := range sent.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, span := range scope.Spans {
					c.names[span.Name]++
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) text() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// has reports whether there is a span of the name.
func (c *collector) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[name] > 0
}
