package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Look is how somebody looks at pages. The zero value is a wide window in light colours, with scripts.
type Look struct {
	Dark     bool
	Width    int // in CSS pixels; 0 means Wide
	NoScript bool
}

// Widths of windows: a small phone and a usual screen.
const (
	Narrow = 360
	Wide   = 1440
)

func (l Look) String() string {
	colours := "light"
	if l.Dark {
		colours = "dark"
	}
	text := fmt.Sprintf("%s-%d", colours, l.width())
	if l.NoScript {
		text += "-noscript"
	}
	return text
}

func (l Look) width() int {
	if l.Width == 0 {
		return Wide
	}
	return l.Width
}

// Tab is a window with one page in it.
type Tab struct {
	t    testing.TB
	ctx  context.Context
	axe  string
	look Look

	mu         sync.Mutex
	hosts      []string // that may be asked
	complaints []string
}

// Tab opens a window. It is closed when the test ends.
func (b *Browser) Tab(t testing.TB, look Look) *Tab {
	t.Helper()
	p := &Tab{t: t, axe: b.axe, look: look}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	colours := "light"
	if look.Dark {
		colours = "dark"
	}
	narrow := look.width() < 800
	height := int64(900)
	if narrow {
		height = 740
	}
	// The first of a context starts the tab, and must not have a deadline: the tab would end with it.
	err := chromedp.Do(p.ctx,
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: int64(look.width()), Height: height, DeviceScaleFactor: 1, Mobile: narrow}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}}),
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: look.NoScript}),
	)
	if err != nil {
		t.Fatalf("open a window: %v", err)
	}
	return p
}

// command makes an action of a command of the protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// listen is told what happens in the tab. It must not wait for anything.
func (p *Tab) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var args []string
			for _, a := range e.Args {
				args = append(args, string(a.Value)+a.Description)
			}
			p.complain("the console has an error: %s", strings.Join(args, " "))
		}
	case *runtime.EventExceptionThrown:
		p.complain("a script fails: %v", &chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails})
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			p.complain("the browser has an error: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.mu.Lock()
		defer p.mu.Unlock()
		u, err := url.Parse(e.Request.URL)
		// Its own icons, of a calendar for instance, a browser draws from data: nobody is asked.
		if err != nil || u.Scheme != "data" && (u.Scheme != "http" || !slices.Contains(p.hosts, u.Host)) {
			p.complaints = append(p.complaints, "it asks for "+e.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		p.complain("a dialog says %s", e.Message)
		go func() {
			_ = chromedp.Do(p.ctx, command(page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}))
		}()
	}
}

func (p *Tab) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
}

// Complaints returns what went wrong since it was asked the last time: errors in the console, scripts that fail, what the
// policy forbids, and requests to hosts that the test has neither gone to nor allowed.
func (p *Tab) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.complaints
	p.complaints = nil
	return all
}

// Allow says that pages may ask the host of an address, too.
func (p *Tab) Allow(address string) {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.hosts, u.Host) {
		p.hosts = append(p.hosts, u.Host)
	}
}

// do does something within the patience.
func (p *Tab) do(what string, action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// evaluate works an expression out in the page.
func evaluate[T any](p *Tab, expression string, options ...chromedp.EvaluateOption) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, options...))
}

// Go goes to an address, waits until it is loaded, and returns the status of its answer.
func (p *Tab) Go(address string) (status int) {
	p.t.Helper()
	p.Allow(address)
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, chromedp.Navigate(address))
	if err != nil {
		p.t.Fatalf("go to %s: %v", address, err)
	}
	if answer == nil {
		return 0
	}
	return int(answer.Status)
}

// Back is the button of the browser. The page that it goes to may come as it was left, without being loaded.
func (p *Tab) Back() {
	p.t.Helper()
	p.do("go back", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
		if err != nil {
			return err
		}
		entry := history.Entries[history.CurrentIndex-1]
		_, err = cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry.ID})
		return err
	}))
}

// Keys of Press that are no characters.
const (
	Tabulator = "\t"
	Enter     = "\r"
	Escape    = "\x1b"
	Space     = " "
)

// Press presses keys, one after the other.
func (p *Tab) Press(keys string) {
	p.t.Helper()
	for _, key := range keys {
		p.press(key, 0)
	}
}

// PressBack is the tabulator with the shift key.
func (p *Tab) PressBack() {
	p.t.Helper()
	p.press('\t', chromedp.ModifierShift)
}

// press sends what a key types together with the key, as keyboards do: a page that takes the key keeps it from being typed.
func (p *Tab) press(key rune, modifier chromedp.Modifier) {
	p.t.Helper()
	events := kb.Encode(key)
	down, up := events[0], events[len(events)-1]
	if len(events) == 3 {
		down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
	}
	down.Modifiers |= int64(modifier)
	up.Modifiers |= int64(modifier)
	for _, event := range []*input.DispatchKeyEventParams{down, up} {
		p.do(fmt.Sprintf("press %q", key), command(input.DispatchKeyEvent, *event))
	}
}

// Value works an expression out in the page, into out as JSON would.
func (p *Tab) Value(expression string, out any) {
	p.t.Helper()
	text, err := evaluate[string](p, "JSON.stringify("+expression+")")
	if err == nil {
		err = json.Unmarshal([]byte(text), out)
	}
	if err != nil {
		p.t.Fatalf("ask the page for %s: %v", expression, err)
	}
}

// Text works an expression out in the page, as a text.
func (p *Tab) Text(expression string) string {
	p.t.Helper()
	text, err := evaluate[string](p, "String("+expression+")")
	if err != nil {
		p.t.Fatalf("ask the page for %s: %v", expression, err)
	}
	return text
}

// Is reports whether an expression is true in the page.
func (p *Tab) Is(expression string) bool {
	p.t.Helper()
	var is bool
	p.Value("Boolean("+expression+")", &is)
	return is
}

// Do does something in the page, such as a click.
func (p *Tab) Do(statement string) {
	p.t.Helper()
	if _, err := evaluate[bool](p, "(() => { "+statement+"; return true })()"); err != nil {
		p.t.Fatalf("do %s in the page: %v", statement, err)
	}
}

// Await waits until an expression is true. While another page is loaded it is not.
func (p *Tab) Await(what, expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		so, err := evaluate[bool](p, "Boolean("+expression+")")
		if err == nil && so {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s (%v); at %s stands:\n%.3000s", what, err, p.Text("location.href"), p.Text("document.body.innerText"))
		}
	}
}

// AwaitAddress waits for a page that is loaded, by its path and query.
func (p *Tab) AwaitAddress(path string) {
	p.t.Helper()
	p.Await("the page "+path, fmt.Sprintf("location.pathname + location.search === %q && document.readyState === 'complete'", path))
}

// Shows waits until a text stands on the page.
func (p *Tab) Shows(text string) {
	p.t.Helper()
	p.Await("the text "+text, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// Picture writes the whole page as a PNG.
func (p *Tab) Picture(file string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatalf("take a picture: %v", err)
	}
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Heap is how much memory the scripts of the page hold, in bytes, garbage excepted.
func (p *Tab) Heap() int {
	p.t.Helper()
	var held int
	p.do("weigh the page", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			return err
		}
		usage, err := cdp.Call(ctx, t, runtime.GetHeapUsage, cdp.Empty{})
		held = int(usage.UsedSize)
		return err
	}))
	return held
}

// Violations returns what axe-core finds on the page as it is.
func (p *Tab) Violations() []string {
	p.t.Helper()
	if _, err := evaluate[bool](p, p.axe+"\n;true"); err != nil {
		p.t.Fatalf("load axe-core: %v", err)
	}
	found, err := evaluate[[]string](p, `axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations.map((v) =>
		v.id + ' (' + v.impact + '): ' + v.help + v.nodes.slice(0, 4).map((n) => '\n    ' + n.html.slice(0, 300) + '\n    ' + n.failureSummary.replaceAll('\n', '\n    ')).join('')))`, chromedp.EvalAwaitPromise)
	if err != nil {
		p.t.Fatalf("run axe-core: %v", err)
	}
	return found
}
