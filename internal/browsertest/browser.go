// Package browsertest has tests look at pages with a real browser, as people do who have keys, colours, a phone, or no
// script.
//
// The life of a Browser: Start runs Chromium without a screen, for one test and those below it. Tab opens a window of its
// own, with no cookie or cache of another one, as somebody with a certain Look sees it. The test then goes somewhere, presses
// keys, and awaits what the page becomes. Whatever a page complains of is remembered, and so is every request to a host that
// it has no business with; the test asks for it with Complaints.
//
// It knows nothing of Plumbline. Every wait ends in a failure that shows the page as it is then.
package browsertest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience is how long something may take in a browser. Only a failure takes it.
const patience = time.Minute

// Browser is a running Chromium.
type Browser struct {
	ctx context.Context
	axe string // the script
}

// Start runs the program until the test ends. axe is the file of axe-core.
func Start(t testing.TB, program, axe string) *Browser {
	t.Helper()
	text, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("read axe-core: %v", err)
	}
	parent, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(program),
		chromedp.Headless,
		chromedp.NoSandbox, // it is root who runs tests in a container; all that is looked at is our own
		chromedp.NoFirstRun,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), // it is 64 MB in a container
		// A page that asks another host must not find one.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.WSURLReadTimeout(patience),
	)
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // it is asked to close, and waited for; its profile goes with it
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return &Browser{ctx: ctx, axe: string(text)}
}
