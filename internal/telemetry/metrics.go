package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what happens, for Prometheus. Its methods may be called by many goroutines at once. A nil *Metrics
// counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	levels   *levels

	events       *prometheus.CounterVec
	runs         *prometheus.CounterVec
	runSeconds   *prometheus.HistogramVec
	terraform    *prometheus.CounterVec
	comment      prometheus.Histogram
	calls        *prometheus.CounterVec
	callSeconds  *prometheus.HistogramVec
	rateLimit    *prometheus.GaugeVec
	requests     *prometheus.CounterVec
	requestTimes *prometheus.HistogramVec

	words bounds
}

// NewMetrics makes the metrics of one process. version is this binary's.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		levels:   newLevels(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_events_total",
			Help: "Events that were accepted, by forge, by the way they came (webhook or poll), and by kind.",
		}, []string{"forge", "source", "kind"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_runs_total",
			Help: "Runs of one workspace that ended, by kind and status.",
		}, []string{"kind", "status"}),
		runSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "plumbline_run_seconds",
			Help:    "How long runs took from being claimed to their end.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		}, []string{"kind"}),
		terraform: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_run_terraform_seconds_total",
			Help: "Time in which Terraform ran, which is a part of plumbline_run_seconds_sum.",
		}, []string{"kind"}),
		comment: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "plumbline_event_to_comment_seconds",
			Help:    "From an event on the forge to the comment that answers it.",
			Buckets: []float64{1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_forge_requests_total",
			Help: "Requests to a forge's API that got an answer, by method and status.",
		}, []string{"forge", "method", "status"}),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "plumbline_forge_request_seconds",
			Help:    "How long a forge took to answer.",
			Buckets: []float64{.05, .1, .2, .3, .5, 1, 2, 5, 10, 30},
		}, []string{"forge"}),
		rateLimit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "plumbline_forge_rate_limit_remaining",
			Help: "What is left of a forge's rate limit, as of its last answer.",
		}, []string{"forge", "resource"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_http_requests_total",
			Help: "Requests that were answered, by route and status.",
		}, []string{"route", "status"}),
		requestTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "plumbline_http_request_seconds",
			Help:    "How long it took to answer a request, its body's way here included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "plumbline_build_info", Help: "Always 1; the labels say which binary this is.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(
		build, m.levels, m.events, m.runs, m.runSeconds, m.terraform, m.comment,
		m.calls, m.callSeconds, m.rateLimit, m.requests, m.requestTimes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// EventAccepted counts an event that was written down. source is "webhook" or "poll".
func (m *Metrics) EventAccepted(forge, source, kind string) {
	if m == nil {
		return
	}
	m.events.WithLabelValues(m.words.of("forge", forge), m.words.of("source", source), m.words.of("kind", kind)).Inc()
}

// RunEnded counts a run that came to its end, how long it took, and for how much of that Terraform ran.
func (m *Metrics) RunEnded(kind, status string, total, terraform time.Duration) {
	if m == nil {
		return
	}
	kind = m.words.of("run", kind)
	m.runs.WithLabelValues(kind, m.words.of("status", status)).Inc()
	m.runSeconds.WithLabelValues(kind).Observe(max(0, total.Seconds()))
	m.terraform.WithLabelValues(kind).Add(max(0, terraform.Seconds()))
}

// Commented counts a comment that answers an event which happened so long ago by the forge's clock. A clock that is ahead
// of ours makes that zero.
func (m *Metrics) Commented(after time.Duration) {
	if m == nil {
		return
	}
	m.comment.Observe(max(0, after.Seconds()))
}

// ForgeCalled counts an answer of a forge. resource and remaining are the rate limit that the call counted against and
// what is left of it; a negative remaining means that the forge did not say.
func (m *Metrics) ForgeCalled(forge, method string, status int, took time.Duration, resource string, remaining int) {
	if m == nil {
		return
	}
	forge = m.words.of("forge", forge)
	m.calls.WithLabelValues(forge, m.words.of("method", method), statusLabel(status)).Inc()
	m.callSeconds.WithLabelValues(forge).Observe(took.Seconds())
	if remaining >= 0 {
		m.rateLimit.WithLabelValues(forge, m.words.of("resource", resource)).Set(float64(remaining))
	}
}

// Answered counts a request that came in. route is the pattern that it matched, never its path.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	route = m.words.of("route", route)
	m.requests.WithLabelValues(route, statusLabel(status)).Inc()
	m.requestTimes.WithLabelValues(route).Observe(took.Seconds())
}

// statusLabel keeps to what HTTP knows, whatever a server answered.
func statusLabel(status int) string {
	if status < 100 || status > 599 {
		return other
	}
	return strconv.Itoa(status)
}

// other is the label of whatever came after maxWords others.
const other = "other"

// maxWords is how many values a label may have.
const maxWords = 40

// bounds keeps the number of each label's values bounded: words that come from outside, such as the name that a forge
// gives to a rate limit, must not fill the memory of whoever collects them.
type bounds struct {
	mu   sync.Mutex
	seen map[string]map[string]bool
}

func (b *bounds) of(label, word string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[string]map[string]bool{}
	}
	if b.seen[label] == nil {
		b.seen[label] = map[string]bool{}
	}
	known := b.seen[label]
	switch {
	case known[word]:
		return word
	case word == "":
		return "none"
	case len(word) > 64 || len(known) >= maxWords:
		return other
	}
	known[word] = true
	return word
}

// Levels is how things stand now, by the rows of the database: the same for every process that shares it.
type Levels struct {
	Queued    map[string]int // runs that wait, by kind
	Running   map[string]int // runs that are claimed, by kind
	Held      int            // applies that wait for a person
	Leases    int            // workspaces that a process keeps for itself
	Processes int            // processes with a heartbeat
	Events    int            // events that were accepted and not dealt with yet
	Problems  int            // repositories that cannot be served, as they say on the page
	Unread    int            // merges and pushes that wait for their branch's plumbline.yaml to be mended
	Depth     map[string]int // jobs in the queue, by kind
	Drift     DriftLevels
}

// DriftLevels is how it stands with drift.
type DriftLevels struct {
	Workspaces map[string]int  // workspaces that are looked at, by what was last seen: never, clean, drifted, unknown
	Findings   []DriftFindings // what differs now
	Overdue    int             // workspaces that were not looked at for twice their interval
	Paused     int             // workspaces that a pause covers
}

// DriftFindings is how many findings of a cause and a class there are.
type DriftFindings struct {
	Cause, Class string
	Number       int
}

// OnScrape has how things stand asked for whenever somebody collects the metrics. read gets a context of three seconds;
// when it fails, plumbline_levels_up is 0 and the levels are missing rather than wrong.
func (m *Metrics) OnScrape(read func(context.Context) (Levels, error)) {
	if m == nil {
		return
	}
	m.levels.mu.Lock()
	defer m.levels.mu.Unlock()
	m.levels.read = read
}

// levels is the collector behind OnScrape.
type levels struct {
	mu   sync.Mutex
	read func(context.Context) (Levels, error)

	up, queued, running, held, leases, processes, events, problems, unread, depth *prometheus.Desc
	sweeps, findings, overdue, paused                                             *prometheus.Desc
}

func newLevels() *levels {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &levels{
		up:        desc("plumbline_levels_up", "1 if the database could be asked for the other levels, else 0."),
		queued:    desc("plumbline_runs_queued", "Runs that wait for their turn, by kind.", "kind"),
		running:   desc("plumbline_runs_running", "Runs that a process has claimed, by kind.", "kind"),
		held:      desc("plumbline_runs_held", "Applies that wait for a person."),
		leases:    desc("plumbline_leases", "Workspaces that a process keeps for itself."),
		processes: desc("plumbline_processes", "Processes whose heartbeat is recent."),
		events:    desc("plumbline_events_pending", "Events that were accepted and not dealt with yet."),
		problems:  desc("plumbline_repository_problems", "Repositories that cannot be served now."),
		unread:    desc("plumbline_merges_unread", "Merges and pushes that wait for the plumbline.yaml of their branch to be mended."),
		depth:     desc("plumbline_queue_depth", "Jobs in the queue that have not begun, by kind.", "kind"),
		sweeps:    desc("plumbline_drift_workspaces", "Workspaces that are looked at for drift, by what was last seen: never, clean, drifted or unknown.", "state"),
		findings:  desc("plumbline_drift_findings", "What differs now, by cause and class.", "cause", "class"),
		overdue:   desc("plumbline_drift_overdue", "Workspaces that were not looked at for twice their interval."),
		paused:    desc("plumbline_drift_paused", "Workspaces that a pause covers."),
	}
}

func (l *levels) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.up, l.queued, l.running, l.held, l.leases, l.processes, l.events, l.problems, l.unread, l.depth,
		l.sweeps, l.findings, l.overdue, l.paused} {
		to <- d
	}
}

func (l *levels) Collect(to chan<- prometheus.Metric) {
	l.mu.Lock()
	read := l.read
	l.mu.Unlock()
	if read == nil {
		return
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	now, err := read(ctx)
	if err != nil {
		gauge(l.up, 0)
		return
	}
	gauge(l.up, 1)
	for kind, n := range now.Queued {
		gauge(l.queued, n, kind)
	}
	for kind, n := range now.Running {
		gauge(l.running, n, kind)
	}
	for kind, n := range now.Depth {
		gauge(l.depth, n, kind)
	}
	gauge(l.held, now.Held)
	gauge(l.leases, now.Leases)
	gauge(l.processes, now.Processes)
	gauge(l.events, now.Events)
	gauge(l.problems, now.Problems)
	gauge(l.unread, now.Unread)
	for state, n := range now.Drift.Workspaces {
		gauge(l.sweeps, n, state)
	}
	for _, f := range now.Drift.Findings {
		gauge(l.findings, f.Number, f.Cause, f.Class)
	}
	gauge(l.overdue, now.Drift.Overdue)
	gauge(l.paused, now.Drift.Paused)
}
