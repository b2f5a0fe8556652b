package web_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

const (
	secret = "a webhook's secret"
	canary = "cAnArY-value"
)

// desk takes webhooks in through GitHub's real client and remembers the events. It can be told to fail, as no healthy
// engine can.
type desk struct {
	client *github.Client
	inside forge.Repo // the only repository of the allow-list

	mu       sync.Mutex
	events   []forge.Event
	keys     map[string]bool
	fail     error
	explode  bool
	notReady error
}

func (d *desk) Receive(_ context.Context, name string, header http.Header, body []byte) (engine.Receipt, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.explode {
		panic("exploded over " + string(body))
	}
	if d.fail != nil {
		return engine.Receipt{}, d.fail
	}
	events, err := d.client.Decode(header, body)
	if err != nil {
		return engine.Receipt{}, fmt.Errorf("webhook of %s: %w", name, err)
	}
	var r engine.Receipt
	for _, e := range events {
		switch {
		case e.Kind == forge.Ping:
			r.Ignored++
		case d.inside != forge.Repo{} && e.Repo != d.inside:
			return r, fmt.Errorf("%s: %w", e.Repo, engine.ErrOutside)
		case d.keys[e.Key]:
			r.Known++
		default:
			d.keys[e.Key] = true
			d.events = append(d.events, e)
			r.Accepted++
		}
	}
	return r, nil
}

func (d *desk) Ask(context.Context, engine.Request) (engine.RequestID, error) {
	return "", engine.ErrNoSuch
}

func (d *desk) Ready(context.Context) error { return d.notReady }

func (d *desk) kinds() []forge.Kind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var kinds []forge.Kind
	for _, e := range d.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// site is a served handler and its log.
type site struct {
	*desk
	url string
	log *logged
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func serve(t *testing.T, change func(*web.Options)) *site {
	t.Helper()
	return serveAt(t, func(o *web.Options, _ string) {
		if change != nil {
			change(o)
		}
	})
}

// serveAt is serve for what must know where it is served.
func serveAt(t *testing.T, change func(o *web.Options, url string)) *site {
	t.Helper()
	client, err := github.New(github.Options{Token: "none", WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{desk: &desk{client: client, keys: map[string]bool{}}, log: &logged{}}
	o := web.Options{
		Engine: s.desk, Forges: []string{"github"}, Metrics: telemetry.NewMetrics("test"), Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	change(&o, s.url)
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- web.Serve(ctx, l, web.New(o), o.Log) }()
	t.Cleanup(func() {
		stop()
		if err := <-over; err != nil {
			t.Errorf("Serve ends with %v", err)
		}
	})
	return s
}

// ask sends a request and returns the answer's status, headers and body.
func ask(t *testing.T, method, url string, header http.Header, body io.Reader) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func signed(event string, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return http.Header{
		"Content-Type":        {"application/json"},
		"X-Github-Event":      {event},
		"X-Github-Delivery":   {canary},
		"Authorization":       {"Bearer " + canary},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// TestWebhooksOfALife sends what GitHub tells of a pull request's life, twice.
func TestWebhooksOfALife(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	g := forgetest.StartGitHub(t)
	g.WebhookSecret = secret
	repo := g.NewRepo(t)
	g.Commit(t, repo, "main", "", map[string]string{"main.tf": ""})
	g.SendWebhooks(s.url + "/webhook/github")
	g.Commit(t, repo, "feature", "main", map[string]string{"main.tf": "# changed\n"})
	n := g.Open(t, repo, "ann", "feature", "main", "Change <b>it</b>", false)
	g.Comment(t, repo, "ann", n, "plumbline plan")
	g.Merge(t, repo, "ann", n, forge.Squash)
	g.Deliveries(t, repo)
	g.Redeliver(repo)
	g.Deliveries(t, repo)

	got := map[forge.Kind]int{}
	for _, kind := range s.kinds() {
		got[kind]++
	}
	want := map[forge.Kind]int{forge.Pushed: 2, forge.ChangeOpened: 1, forge.Commented: 1, forge.ChangeMerged: 1}
	for kind, n := range want {
		if got[kind] < n {
			t.Errorf("of kind %s %d events came in, want %d; all: %v", kind, got[kind], n, got)
		}
	}
	if got[forge.ChangeMerged] != 1 {
		t.Errorf("one merge, told twice, was taken %d times", got[forge.ChangeMerged])
	}
	if strings.Contains(s.log.String(), "refused") {
		t.Errorf("a webhook of GitHub was refused:\n%s", s.log)
	}
}

func TestWebhookRefusals(t *testing.T) {
	t.Parallel()
	push := []byte(`{"ref":"refs/heads/` + canary + `","before":"1","after":"2","repository":{"name":"live","owner":{"login":"acme"},"id":1}}`)
	for name, c := range map[string]struct {
		path   string
		method string
		header http.Header
		body   []byte
		fail   error
		status int
		says   string
	}{
		"accepted":           {status: 202, says: `"accepted":1`},
		"no such forge":      {path: "/webhook/" + canary, status: 404, says: "a forge in server.yaml that has a webhook_secret"},
		"no forge":           {path: "/webhook/", status: 404},
		"more path":          {path: "/webhook/github/more", status: 404},
		"slash at the end":   {path: "/webhook/github/", status: 404},
		"GET":                {method: "GET", status: 405},
		"HEAD":               {method: "HEAD", status: 405},
		"PUT":                {method: "PUT", status: 405},
		"lower case":         {method: "post", status: 405},
		"made up":            {method: "FROBNICATE", status: 405},
		"no signature":       {header: http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}}, status: 401, says: "webhook_secret"},
		"wrong signature":    {header: signed("push", []byte("other")), status: 401, says: "signature"},
		"old signature only": {header: http.Header{"X-Github-Event": {"push"}, "X-Hub-Signature": {"sha1=" + strings.Repeat("0", 40)}}, status: 401},
		"malformed":          {body: []byte(`{"` + canary), status: 400, says: "cannot be read"},
		"empty":              {body: []byte{}, status: 400},
		"odd content type":   {header: with(signed("push", push), "Content-Type", "text/"+canary), status: 400},
		"no event named":     {header: with(signed("push", push), "X-Github-Event", ""), status: 400},
		"unknown event":      {header: with(signed("push", push), "X-Github-Event", canary), status: 202, says: `"accepted":0`},
		"outside":            {fail: fmt.Errorf("%s: %w", canary, engine.ErrOutside), status: 403, says: "repos"},
		"no database":        {fail: fmt.Errorf("write: %w", database.ErrUnavailable), status: 503, says: "again later"},
		"disk full":          {fail: database.ErrFull, status: 503},
		"too slow":           {fail: context.DeadlineExceeded, status: 503},
		"a bug":              {fail: errors.New("a bug"), status: 500, says: "the log says what"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			s.fail = c.fail
			method, path, body, header := c.method, c.path, c.body, c.header
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = "/webhook/github"
			}
			if body == nil {
				body = push
			}
			if header == nil {
				header = signed("push", body)
			}
			status, answered, text := ask(t, method, s.url+path+"?token="+canary, header, bytes.NewReader(body))
			if status != c.status || !strings.Contains(text, c.says) {
				t.Errorf("answer %d %q, want %d with %q", status, text, c.status, c.says)
			}
			if c.status == 405 && answered.Get("Allow") != "POST" {
				t.Errorf("Allow is %q, want POST", answered.Get("Allow"))
			}
			if c.status == 503 && answered.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if strings.Contains(text, canary) || strings.Contains(fmt.Sprint(answered), canary) {
				t.Errorf("the answer repeats what was sent: %v %s", answered, text)
			}
			// The path alone may be told: it is how a wrong address is found.
			if told := strings.ReplaceAll(s.log.String(), "path=/webhook/"+canary, ""); c.fail == nil && strings.Contains(told, canary) {
				t.Errorf("what was sent is in the log:\n%s", told)
			}
			if strings.Contains(s.log.String(), "token=") {
				t.Errorf("the query is in the log:\n%s", s.log)
			}
			if got := s.kinds(); (len(got) == 1) != (name == "accepted") {
				t.Errorf("%v came in", got)
			}
		})
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	if value == "" {
		h.Del(name)
	}
	return h
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.explode = true
	body := []byte(`{}`)
	status, _, text := ask(t, "POST", s.url+"/webhook/github", signed("push", body), bytes.NewReader(body))
	if status != http.StatusInternalServerError || strings.Contains(text, "exploded") {
		t.Errorf("a panic is answered with %d %q, want 500 and not its reason", status, text)
	}
	if got := s.log.String(); !strings.Contains(got, "exploded") || !strings.Contains(got, "webhook.go") {
		t.Errorf("the log does not say where and why:\n%s", got)
	}
	if status, _, _ := ask(t, "GET", s.url+"/healthz", nil, nil); status != http.StatusOK {
		t.Errorf("after a panic /healthz answers %d", status)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	// Declared as too large: refused before it is sent.
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{", 1<<40)
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") {
		t.Errorf("a declared terabyte is answered with %q, %v; want 413 at once", answer, err)
	}
	// Without a declared length: refused once there is too much.
	endless := io.MultiReader(strings.NewReader(`{"a":"`), &repeated{n: 26 << 20})
	status, _, _ := ask(t, "POST", s.url+"/webhook/github", signed("push", nil), struct{ io.Reader }{endless})
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("26 MB without a length are answered with %d, want 413", status)
	}
	// The largest that GitHub sends is taken.
	large := append([]byte(`{"ref":"refs/heads/main","before":"1","after":"2","repository":{"name":"live","owner":{"login":"acme"}},"more":"`), bytes.Repeat([]byte("a"), 25<<20-200)...)
	large = append(large, `"}`...)
	if status, _, text := ask(t, "POST", s.url+"/webhook/github", signed("push", large), bytes.NewReader(large)); status != http.StatusAccepted {
		t.Errorf("a webhook of nearly 25 MB is answered with %d %s, want 202", status, text)
	}
	// A body that breaks off.
	broken, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(broken, "POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if err := broken.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	answer, err = io.ReadAll(broken)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("a body that breaks off is answered with %q, %v; want 400", answer, err)
	}
}

// repeated is so many letters.
type repeated struct{ n int }

func (r *repeated) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), r.n)
	for i := range n {
		p[i] = 'a'
	}
	r.n -= n
	return n, nil
}

// TestRefusalsDoNotFillTheLog: whoever knows the address can send what is refused.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *web.Options) {})
	for range 300 {
		ask(t, "POST", s.url+"/webhook/github", nil, strings.NewReader("{}"))
	}
	// 300 requests take far less than a minute; on a machine that slept it may be two.
	if n := strings.Count(s.log.String(), "webhook refused"); n == 0 || n > 180 {
		t.Errorf("300 unsigned webhooks gave %d warnings, want some and not one each", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			body := fmt.Appendf(nil, `{"ref":"refs/heads/main","before":"1","after":"%d","repository":{"name":"live","owner":{"login":"acme"}}}`, i)
			req, err := http.NewRequest("POST", s.url+"/webhook/github", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = signed("push", body)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				t.Errorf("webhook %d: %s", i, resp.Status)
			}
		})
	}
	group.Wait()
	if got := len(s.kinds()); got != 200 {
		t.Errorf("%d of 200 webhooks came in", got)
	}
}

// TestServeEndsWhatItBegan: a request that is here when the server is stopped is answered.
func TestServeEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-goOn
		w.WriteHeader(http.StatusAccepted)
	})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- web.Serve(ctx, l, handler, discard) }()
	status := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-began
	stop()
	close(goOn)
	if got := <-status; got != http.StatusAccepted {
		t.Errorf("the request that was under way is answered with %d, want 202", got)
	}
	if err := <-over; err != nil {
		t.Errorf("Serve ends with %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
	// A listener that fails ends Serve too.
	if err := web.Serve(t.Context(), l, handler, discard); err == nil {
		t.Error("Serve on a closed listener says nothing")
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	if status, _, text := ask(t, "GET", s.url+"/readyz", nil, nil); status != 200 || text != "ready\n" {
		t.Errorf("/readyz answers %d %q, want ready", status, text)
	}
	s.notReady = errors.Join(errors.New("the database does not answer"), errors.New("forge github: wrong token"))
	status, _, text := ask(t, "GET", s.url+"/readyz", nil, nil)
	if want := "not ready\n- the database does not answer\n- forge github: wrong token\n"; status != 503 || text != want {
		t.Errorf("/readyz answers %d %q, want 503 %q", status, text, want)
	}
	if status, _, _ := ask(t, "GET", s.url+"/healthz", nil, nil); status != 200 {
		t.Errorf("/healthz answers %d, want 200: the process lives", status)
	}
	if status, _, _ := ask(t, "POST", s.url+"/healthz", nil, nil); status != 405 {
		t.Errorf("POST /healthz answers %d, want 405", status)
	}
	status, _, text = ask(t, "GET", s.url+"/metrics", nil, nil)
	if status != 200 || !strings.Contains(text, `plumbline_http_requests_total{route="GET /readyz",status="503"} 1`) {
		t.Errorf("/metrics answers %d and does not count the requests:\n%s", status, text)
	}
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for path, want := range map[string]int{
		"/nothing": 404, "/..%2f..%2fetc/passwd": 404, "/webhook/%00": 405, "/style.css/": 404, "/index.html": 404,
		"/" + strings.Repeat("a", 5000): 404, "/%3Cscript%3E": 404, "/webhook/github%2f..": 405,
	} {
		status, header, text := ask(t, "GET", s.url+path, nil, nil)
		if status != want {
			t.Errorf("GET %.40s answers %d, want %d", path, status, want)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET %.40s has no security headers: %v", path, header)
		}
		if strings.Contains(text, "script") {
			t.Errorf("GET %s repeats the path: %s", path, text)
		}
	}
	// A target that is no path.
	recorder := httptest.NewRecorder()
	req := httptest.NewRequest("OPTIONS", "/", nil)
	req.URL.Path, req.RequestURI = "*", "*"
	web.New(web.Options{Engine: s.desk, Log: discard}).ServeHTTP(recorder, req)
	if recorder.Code >= 500 {
		t.Errorf("OPTIONS * answers %d", recorder.Code)
	}
}

var discard = slog.New(slog.DiscardHandler)
