package web_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

// print adds to what a run has printed, as the engine keeps it.
func (s *seen) print(t testing.TB, tx *sql.Tx, run string, begins int, text string) {
	t.Helper()
	plans, err := s.Plans(repository)
	if err != nil {
		t.Fatal(err)
	}
	for text != "" {
		piece := text[:min(len(text), 60_000)]
		sealed, err := plans.Seal(fmt.Sprintf("output %s %d", run, begins), []byte("p"+piece))
		if err == nil {
			_, err = tx.ExecContext(context.Background(), "INSERT INTO run_output VALUES ($1, $2, $3, 0, $4)", run, begins, len(piece), base64.StdEncoding.EncodeToString(sealed))
		}
		if err != nil {
			t.Fatal(err)
		}
		text, begins = text[len(piece):], begins+len(piece)
	}
}

// printed is a run whose output a test writes.
type printed struct {
	*seen
	run  string
	text strings.Builder
}

func (p *printed) add(t testing.TB, text string) {
	t.Helper()
	p.tx(t, func(_ context.Context, tx *sql.Tx) { p.print(t, tx, p.run, p.text.Len(), text) })
	p.text.WriteString(text)
}

func (p *printed) end(t testing.TB, status string) {
	t.Helper()
	p.tx(t, func(ctx context.Context, tx *sql.Tx) {
		if _, err := tx.ExecContext(ctx, "UPDATE run SET status = $1, phase = '' WHERE id = $2", status, p.run); err != nil {
			t.Fatal(err)
		}
	})
}

// event is one of a stream.
type event struct{ id, kind, data string }

// follow reads a stream until fn says that it is enough, or it ends.
func follow(ctx context.Context, url, last string, fn func(event) bool) error {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return fmt.Errorf("%s %s", resp.Status, resp.Header)
	}
	var e event
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if line == "" && e.data != "" && fn(e) {
				return nil
			}
			if line == "" {
				e = event{}
			}
		}
	}
}

// watcher gathers an output.
type watcher struct {
	text   strings.Builder
	at     string
	states []string
	ended  bool
}

func (w *watcher) take(e event) bool {
	switch e.kind {
	case "":
		var text string
		if json.Unmarshal([]byte(e.data), &text) != nil {
			text = "not JSON: " + e.data
		}
		w.text.WriteString(text)
		w.at = e.id
	case "state":
		w.states = append(w.states, e.data)
	case "end":
		w.ended = true
	}
	return w.ended
}

// TestOutputIsFollowed by many, who come at different times, break off anywhere and come back.
func TestOutputIsFollowed(t *testing.T) {
	t.Parallel()
	p := &printed{seen: look(t, "cluster"), run: "r4"}
	s := serve(t, showing(p.seen))
	p.add(t, "the beginning\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	watchers := make([]watcher, 12)
	for i := range watchers {
		w := &watchers[i]
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 100 * time.Millisecond) // some come late
			for n := 0; !w.ended; n++ {
				left := 1 + (i+n)%4 // messages until this one breaks off
				err := follow(ctx, s.url+"/run/r4/output", w.at, func(e event) bool {
					over := w.take(e)
					if e.kind == "" && i%3 != 0 {
						left--
					}
					return over || left == 0
				})
				if err != nil {
					t.Errorf("watcher %d: %v", i, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		p.add(t, strings.Repeat(fmt.Sprintf("line %d \" \\ \u2028 é <b>\n", i), 1+i*i*40))
		if i == 3 {
			p.end(t, "running")
		}
		time.Sleep(120 * time.Millisecond)
	}
	p.add(t, "no end of a line")
	p.end(t, "applied")
	wg.Wait()
	for i := range watchers {
		w := &watchers[i]
		if got := w.text.String(); got != p.text.String() {
			t.Errorf("watcher %d got %d bytes, want the %d that were printed", i, len(got), p.text.Len())
		}
		if n := len(w.states); n == 0 || !strings.Contains(w.states[n-1], `"status":"applied"`) || !strings.Contains(w.states[n-1], `"word":"applied"`) {
			t.Errorf("watcher %d was told the states %q", i, w.states)
		}
	}
	if first := watchers[0].states; len(first) < 3 || !strings.Contains(first[0], `"status":"waiting"`) || !strings.Contains(first[1], `"status":"running"`) {
		t.Errorf("who was there from the beginning was told %q", first)
	}
	if status, header, text := ask(t, "GET", s.url+"/run/r4/output.txt", nil, nil); status != 200 || text != p.text.String() || header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("as text it is %d, %d bytes, %v", status, len(text), header)
	}
	if status, _, text := ask(t, "HEAD", s.url+"/run/r4/output.txt", nil, nil); status != 200 || text != "" {
		t.Errorf("its head is %d %q", status, text)
	}
	if _, _, text := ask(t, "GET", s.url+"/run/r4/output.txt?from=4", nil, nil); text != p.text.String()[4:] {
		t.Errorf("from 4 on there are %d bytes", len(text))
	}
	var late watcher
	if err := follow(ctx, s.url+"/run/r4/output?from=-20", "", late.take); err != nil || !late.ended || late.text.String() != p.text.String()[p.text.Len()-20:] {
		t.Errorf("of the end there is %q, %v", late.text.String(), err)
	}
	if err := follow(ctx, s.url+"/run/r4/output", "999999999", late.take); err != nil {
		t.Errorf("from beyond the end: %v", err)
	}
}

// TestStreamsEnd with the server, and one that nobody reads holds nobody up.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	p := &printed{seen: look(t, "cluster"), run: "r4"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopping, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	o := web.Options{Engine: &desk{}, Log: discard, Watchers: 3}
	showing(p.seen)(&o)
	go func() { over <- web.Serve(stopping, l, web.New(o), discard) }()
	url := "http://" + l.Addr().String()
	// Two ask for much and read nothing.
	p.add(t, strings.Repeat(strings.Repeat("y", 999)+"\n", 8000))
	for range 2 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /run/r4/output HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	var w watcher
	ended := make(chan error, 1)
	begun := make(chan bool)
	go func() {
		ended <- follow(context.Background(), url+"/run/r4/output", "", func(e event) bool {
			if over := w.take(e); over || w.text.Len() == p.text.Len() {
				begun <- over
			}
			return false
		})
	}()
	select {
	case <-begun:
	case <-time.After(time.Minute):
		t.Fatal("who reads gets nothing")
	}
	// There may be three. The two have been let in by now, or this one is the third.
	busy := 0
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := follow(ctx, url+"/run/r4/output", "", func(event) bool { return true }); err != nil && strings.Contains(err.Error(), "429") {
			busy++
		}
		cancel()
	}
	if busy == 0 {
		t.Error("there is no limit of who may watch")
	}
	began := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the stream ends with %v", err)
	}
	if err := <-over; err != nil {
		t.Errorf("Serve ends with %v", err)
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("to stop took %s", took)
	}
}

// TestOutputOnThePage is its end, as text and nothing else.
func TestOutputOnThePage(t *testing.T) {
	t.Parallel()
	p := &printed{seen: look(t, "cluster"), run: "r4"}
	s := serve(t, showing(p.seen))
	_, _, text := ask(t, "GET", s.url+"/run/r3", nil, nil)
	for _, want := range []string{`data-output="/run/r3/output" data-from="74018"`, "The end of 74 kB.", `href="/run/r3/output.txt"`, "Still creating... &amp; on\n</pre>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of a run does not say %q:\n%s", want, text)
		}
	}
	if _, _, text := ask(t, "GET", s.url+"/run/r1", nil, nil); !strings.Contains(text, "\n$ terraform plan\n&lt;b&gt;Plan: 1 to add&lt;/b&gt;\nend\n</pre>") || strings.Contains(text, "data-output") || strings.Contains(text, "The end of") {
		t.Errorf("the page of a run that has ended is\n%s", text)
	}
	if _, _, text := ask(t, "GET", s.url+"/run/r2", nil, nil); strings.Contains(text, `id="output"`) {
		t.Errorf("the page of a run that has printed nothing is\n%s", text)
	}
	p.add(t, "<script>alert(1)</script>")
	p.add(t, strings.Repeat("<&\"'>", 40_000))
	if _, header, text := ask(t, "GET", s.url+"/run/r4", nil, nil); !strings.Contains(text, "The end of 200 kB.") || !strings.HasSuffix(text[:strings.Index(text, "</pre>")], "&lt;&amp;&#34;&#39;&gt;") {
		t.Errorf("a page with a long line is\n%s", text)
	} else {
		wholesome(t, "/run/r4", header, text)
	}
	p.fail = fmt.Errorf("no %s", canary)
	if status, _, text := ask(t, "GET", s.url+"/run/r4/output", nil, nil); status != http.StatusServiceUnavailable || strings.Contains(text, canary) {
		t.Errorf("without a database it is %d %s", status, text)
	}
}

func (s *seen) Output(ctx context.Context, sight engine.Sight, id string, from int64, most int) (engine.OutputView, error) {
	if s.fail != nil {
		return engine.OutputView{}, s.fail
	}
	return s.Views.Output(ctx, sight, id, from, most)
}
