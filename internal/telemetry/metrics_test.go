package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

func TestMetricsAreWhatPrometheusReads(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("1.2.3")
	m.EventAccepted("github", "webhook", "push")
	m.RunEnded("plan", "planned", 10*time.Second, 8*time.Second)
	m.RunEnded("plan", "failed", 2*time.Second, -time.Second) // a clock that jumped
	m.Commented(3 * time.Second)
	m.Commented(-time.Hour)
	m.ForgeCalled("github", "GET", 200, 100*time.Millisecond, "core", 4999)
	m.ForgeCalled("gitea", "GET", 200, 100*time.Millisecond, "", -1)
	m.Answered("POST /webhook/{forge}", 202, time.Millisecond)
	m.OnScrape(func(context.Context) (telemetry.Levels, error) {
		return telemetry.Levels{
			Queued: map[string]int{"plan": 3}, Running: map[string]int{"apply": 1}, Held: 2, Leases: 4, Processes: 1, Events: 5,
			Depth: map[string]int{"run": 7},
		}, nil
	})
	families := scrape(t, m)
	for name, want := range map[string]float64{
		`plumbline_build_info{version="1.2.3"}`:                                     1,
		`plumbline_events_total{forge="github",kind="push",source="webhook"}`:       1,
		`plumbline_runs_total{kind="plan",status="planned"}`:                        1,
		`plumbline_runs_total{kind="plan",status="failed"}`:                         1,
		`plumbline_run_seconds{kind="plan"}`:                                        12,
		`plumbline_run_terraform_seconds_total{kind="plan"}`:                        8,
		`plumbline_event_to_comment_seconds`:                                        3,
		`plumbline_forge_requests_total{forge="github",method="GET",status="200"}`:  1,
		`plumbline_forge_rate_limit_remaining{forge="github",resource="core"}`:      4999,
		`plumbline_http_requests_total{route="POST /webhook/{forge}",status="202"}`: 1,
		`plumbline_levels_up`:                  1,
		`plumbline_runs_queued{kind="plan"}`:   3,
		`plumbline_runs_running{kind="apply"}`: 1,
		`plumbline_runs_held`:                  2,
		`plumbline_leases`:                     4,
		`plumbline_processes`:                  1,
		`plumbline_events_pending`:             5,
		`plumbline_queue_depth{kind="run"}`:    7,
		`plumbline_repository_problems`:        0,
	} {
		if got, ok := families[name]; !ok || got != want {
			t.Errorf("%s = %v (there: %v), want %v", name, got, ok, want)
		}
	}
	if _, ok := families[`plumbline_forge_rate_limit_remaining{forge="gitea",resource="none"}`]; ok {
		t.Error("a forge without limits has one in the metrics")
	}
	if _, ok := families["go_goroutines"]; !ok {
		t.Error("the metrics say nothing of the Go runtime")
	}
}

func TestLevelsAreMissingRatherThanWrong(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("dev")
	m.OnScrape(func(context.Context) (telemetry.Levels, error) {
		return telemetry.Levels{Held: 1}, errors.New("no database")
	})
	families := scrape(t, m)
	if got, ok := families["plumbline_levels_up"]; !ok || got != 0 {
		t.Errorf("plumbline_levels_up = %v (there: %v), want 0", got, ok)
	}
	if _, ok := families["plumbline_runs_held"]; ok {
		t.Error("a level is shown though the database could not be asked")
	}
}

// TestLabelsAreBounded: nobody outside can make time series without end.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("dev")
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 1000 {
				m.ForgeCalled("github", "GET", i, time.Millisecond, fmt.Sprintf("resource %d %d", w, i), i)
			}
		})
	}
	group.Wait()
	m.ForgeCalled("github", strings.Repeat("Q", 1000), 200, time.Millisecond, "", 1)
	series := 0
	for name := range scrape(t, m) {
		if strings.HasPrefix(name, "plumbline_forge_rate_limit_remaining") {
			series++
		}
		if strings.Contains(name, "QQQ") {
			t.Errorf("a method of a thousand letters became a label: %s", name[:100])
		}
	}
	if series == 0 || series > 60 {
		t.Errorf("4000 names of rate limits made %d time series, want at most 60", series)
	}
}

func TestNothingIsCountedOnNil(t *testing.T) {
	t.Parallel()
	var m *telemetry.Metrics
	m.EventAccepted("github", "poll", "push")
	m.RunEnded("plan", "planned", time.Second, time.Second)
	m.Commented(time.Second)
	m.ForgeCalled("github", "GET", 200, time.Second, "core", 1)
	m.Answered("GET /", 200, time.Second)
	m.OnScrape(nil)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusNotFound {
		t.Errorf("without metrics the handler answers %d, want 404", answer.Code)
	}
}

// scrape reads the metrics as Prometheus does and returns each series' value, or a histogram's sum.
func scrape(t *testing.T, m *telemetry.Metrics) map[string]float64 {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatalf("Prometheus cannot read the metrics: %v", err)
	}
	values := map[string]float64{}
	for name, family := range families {
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, series := range family.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			full := name
			if len(labels) > 0 {
				full += "{" + strings.Join(labels, ",") + "}"
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				values[full] = series.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				values[full] = series.GetGauge().GetValue()
			case dto.MetricType_HISTOGRAM:
				values[full] = series.GetHistogram().GetSampleSum()
			}
		}
	}
	return values
}
