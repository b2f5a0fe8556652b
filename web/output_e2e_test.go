//go:build e2e

package web_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/browsertest"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web"
)

// printer is a run that prints as many numbered lines as it is told to.
type printer struct {
	*seen
	lines atomic.Int64
	ended atomic.Bool
}

// printedLine is how long each of its lines is, in bytes.
const printedLine = 64

func (p *printer) Output(_ context.Context, _ engine.Sight, _ string, from int64, most int) (engine.OutputView, error) {
	o := engine.OutputView{Status: engine.Running}
	if p.ended.Load() { // before the lines are counted: none come after it
		o.Status = engine.Applied
	}
	o.Total = p.lines.Load() * printedLine
	if from < 0 {
		from = max(o.Total+from, 0)
	}
	o.From = min(from, o.Total)
	o.Next = min(o.From+int64(most), o.Total)
	first := o.From / printedLine
	var text strings.Builder
	for n := first; n*printedLine < o.Next; n++ {
		fmt.Fprintf(&text, "%08d %s\n", n, strings.Repeat("<", printedLine-10))
	}
	if o.Next > o.From {
		o.Text = text.String()[o.From-first*printedLine : o.Next-first*printedLine]
	}
	return o, nil
}

// print prints so many lines, some at a time.
func (p *printer) print(lines, some int64) {
	for end := p.lines.Load() + lines; p.lines.Load() < end; time.Sleep(5 * time.Millisecond) {
		p.lines.Add(min(some, end-p.lines.Load()))
	}
}

// wire is a connection to a server that can be cut.
type wire struct {
	address string
	mu      sync.Mutex
	cut     bool
	open    map[net.Conn]bool
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: l.Addr().String(), open: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = l.Close()
		w.set(true)
	})
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(from, to)
		}
	}()
	return w
}

func (w *wire) carry(from net.Conn, address string) {
	defer from.Close()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.open[from], w.open[to] = true, true
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(to, from) // until one of them is closed
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, from)
	delete(w.open, to)
}

// set cuts the wire, amid whatever goes through it, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.open {
			_ = c.Close()
		}
	}
}

// watch opens the page of a run that prints, behind a wire.
func watch(t *testing.T) (*printer, *wire, *browsertest.Tab) {
	t.Helper()
	p := &printer{seen: look(t, "cluster")}
	p.lines.Store(100)
	handler := web.New(web.Options{Engine: &desk{}, Views: p, Log: discard})
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections)
	w := startWire(t, server.Listener.Addr().String())
	tab := browsertest.Start(t, parts.Chromium(t), parts.AxeCore(t)).Tab(t, browsertest.Look{})
	tab.Go("http://" + w.address + "/run/r3")
	tab.Shows("00000099")
	return p, w, tab
}

// printedOf are the numbers of the lines on the page: the first, the last, and how many follow their predecessor.
const printedOf = `((n) => [n[0], n.at(-1), n.filter((v, i) => i > 0 && v === n[i - 1] + 1).length])(document.querySelector('.log').textContent.match(/\d{8}/g).map(Number))`

// TestOutputAfterALostConnection: nothing is lost, and nothing comes twice.
func TestOutputAfterALostConnection(t *testing.T) {
	t.Parallel()
	p, w, tab := watch(t)
	p.print(200, 7)
	tab.Shows("00000299")
	for range 3 {
		w.set(true)
		p.print(200, 13)
		tab.Await("word that the connection is lost", `document.querySelector('.log').dataset.lost`)
		w.set(false)
		p.print(200, 9)
		tab.Await("the newest line", fmt.Sprintf(`document.querySelector('.log').textContent.includes('%08d')`, p.lines.Load()-1))
		if !tab.Is(`!document.querySelector('.log').dataset.lost`) {
			t.Error("the page still says that the connection is lost")
		}
	}
	p.ended.Store(true)
	tab.Await("word of the end", `document.querySelector('[data-note]')?.textContent.includes('ended')`)
	var got [3]int
	tab.Value(printedOf, &got)
	if last := int(p.lines.Load()) - 1; got[1] != last || got[2] != last-got[0] || got[0] > 99 {
		t.Errorf("the page has the lines %d to %d, of which %d follow the one before; want all up to %d", got[0], got[1], got[2], last)
	}
}

// TestWatchingForTooLong: where one must sign in again the page says so, and does not go on asking.
func TestWatchingForTooLong(t *testing.T) {
	t.Parallel()
	d := openDoor(t, look(t, "cluster"), nil)
	d.oidc.Silent("viewer")
	tab := browsertest.Start(t, parts.Chromium(t), parts.AxeCore(t)).Tab(t, browsertest.Look{})
	tab.Allow(d.oidc.URL)
	tab.Go(d.url + "/sign-in/oidc?to=/run/r3")
	tab.Await("the stream", `document.querySelector('[data-note]')?.textContent === 'live'`)
	d.pass(2 * time.Hour)
	tab.Do(`window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`) // it connects anew
	tab.Await("word that one must sign in", `document.querySelector('[data-note]').textContent.includes('sign in again')`)
}

// TestLargeOutputLeavesTheBrowserAlone: of 50 MB it keeps the end, and answers all the while.
func TestLargeOutputLeavesTheBrowserAlone(t *testing.T) {
	t.Parallel()
	p, _, tab := watch(t)
	before := tab.Heap()
	const lines = 50_000_000 / printedLine
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		p.print(lines, 2000)
	}()
	asked, slowest := 0, time.Duration(0)
	for done := false; !done; asked++ {
		select {
		case <-printed:
			done = true
		default:
		}
		start := time.Now()
		tab.Press("?")
		tab.Await("the help", `document.getElementById('help').open`)
		tab.Press(browsertest.Escape)
		tab.Await("the end of the help", `!document.getElementById('help').open`)
		slowest = max(slowest, time.Since(start))
	}
	p.ended.Store(true)
	tab.Await("the last line", fmt.Sprintf(`document.querySelector('.log').textContent.includes('%08d')`, p.lines.Load()-1))
	var got [3]int
	tab.Value(printedOf, &got)
	if got[2] != got[1]-got[0] && got[2] < 1000 {
		t.Errorf("the page has the lines %d to %d, of which %d follow the one before", got[0], got[1], got[2])
	}
	var kept int
	tab.Value(`document.querySelector('.log').textContent.length`, &kept)
	grown := tab.Heap() - before
	t.Logf("of 50 MB it keeps %d kB; the heap has grown by %d kB; help opened and closed %d times, in %s at most", kept/1000, grown/1000, asked, slowest)
	if kept > 8_000_000 || grown > 30_000_000 {
		t.Errorf("of 50 MB the page keeps %d bytes, and its heap has grown by %d; want at most 8 and 30 MB", kept, grown)
	}
}
