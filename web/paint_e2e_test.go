//go:build e2e

package web_test

import (
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/browsertest"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/web"
)

// BenchmarkFirstPaint is how long somebody waits who opens the page of 10,000 workspaces for the first time, in milliseconds:
// paint is until the browser shows something (1500 are allowed), answer how much of it the server takes (300). Medians of as
// many new windows as there are iterations.
func BenchmarkFirstPaint(b *testing.B) {
	server := httptest.NewServer(web.New(web.Options{Engine: &desk{}, Views: many(b), Log: slog.New(slog.DiscardHandler)}))
	defer server.Close()
	browser := browsertest.Start(b, parts.Chromium(b), parts.AxeCore(b))
	var paints, answers []float64
	for b.Loop() {
		tab := browser.Tab(b, browsertest.Look{})
		tab.Go(server.URL + "/")
		const painted = `performance.getEntriesByName('first-contentful-paint')`
		tab.Await("the first paint", painted+`.length > 0`)
		var paint, answer float64
		tab.Value(painted+`[0].startTime`, &paint)
		tab.Value(`((n) => n.responseStart - n.requestStart)(performance.getEntriesByType('navigation')[0])`, &answer)
		paints, answers = append(paints, paint), append(answers, answer)
	}
	slices.Sort(paints)
	slices.Sort(answers)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(paints[len(paints)/2], "paint-ms")
	b.ReportMetric(answers[len(answers)/2], "answer-ms")
}
