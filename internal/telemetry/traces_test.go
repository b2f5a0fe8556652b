package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

// receiver is a collector on loopback that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	spans map[string]*otlp.Span // by name
	raw   bytes.Buffer
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{spans: map[string]*otlp.Span{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil {
			t.Errorf("the collector was sent what it cannot read: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.paths = append(r.paths, req.URL.Path)
		r.raw.Write(body)
		for _, of := range sent.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, span := range scope.Spans {
					r.spans[span.Name] = span
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	tracer, err := telemetry.NewTracer(t.Context(), telemetry.TracerOptions{
		Endpoint: r.URL, Version: "1.2.3", Redactor: telemetry.NewRedactor(canary),
	})
	if err != nil {
		t.Fatal(err)
	}
	forge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer forge.Close()

	ctx, event := tracer.Start(t.Context(), "event", slog.String("kind", "push"), slog.Int("change", 7), slog.Bool("draft", false))
	parent := tracer.Parent(ctx)
	event.End(nil)
	// Another job, perhaps in another process, goes on with it.
	ctx, run := tracer.Start(tracer.WithParent(context.Background(), parent), "run")
	end := time.Now()
	tracer.Record(ctx, "terraform plan", end.Add(-3*time.Second), end)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, forge.URL+"/repos/acme/live?token="+canary, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+canary)
	client := &http.Client{Transport: tracer.Transport("github", nil)}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	run.Set(slog.String("note", "with "+canary), slog.Any("err", errors.New(canary)))
	run.End(fmt.Errorf("provider says %s", canary))
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range []string{"event", "run", "terraform plan", "forge call"} {
		if r.spans[name] == nil {
			t.Fatalf("no span %q arrived, only %v at %v", name, r.spans, r.paths)
		}
	}
	if r.paths[0] != "/v1/traces" {
		t.Errorf("spans were sent to %s, want /v1/traces", r.paths[0])
	}
	for name, above := range map[string]string{"run": "event", "terraform plan": "run", "forge call": "run"} {
		if !bytes.Equal(r.spans[name].ParentSpanId, r.spans[above].SpanId) || !bytes.Equal(r.spans[name].TraceId, r.spans[above].TraceId) {
			t.Errorf("span %q is no part of %q", name, above)
		}
	}
	if s := r.spans["terraform plan"]; s.EndTimeUnixNano-s.StartTimeUnixNano != uint64(3*time.Second) {
		t.Errorf("a recorded span of 3 s took %d ns", s.EndTimeUnixNano-s.StartTimeUnixNano)
	}
	if s := r.spans["run"].Status; s.GetCode() != otlp.Status_STATUS_CODE_ERROR || s.GetMessage() != "provider says "+telemetry.Hidden {
		t.Errorf("the failed run has status %v", s)
	}
	if got := fmt.Sprint(r.spans["forge call"].Attributes); !strings.Contains(got, "418") || !strings.Contains(got, "/repos/acme/live") {
		t.Errorf("the forge call says %s, want its path and its status", got)
	}
	if bytes.Contains(r.raw.Bytes(), []byte(canary)) {
		t.Error("a secret was sent to the collector")
	}
}

func TestTracesOnlyWhenWanted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		endpoint string
		env      map[string]string
		want     bool
	}{
		"nothing said":      {},
		"by configuration":  {endpoint: "http://127.0.0.1:1", want: true},
		"by the variable":   {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, want: true},
		"for traces only":   {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, want: true},
		"disabled":          {endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_SDK_DISABLED": "TRUE"}},
		"no trace exporter": {endpoint: "http://127.0.0.1:1", env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}},
	} {
		tracer, err := telemetry.NewTracer(t.Context(), telemetry.TracerOptions{Endpoint: c.endpoint, Getenv: func(k string) string { return c.env[k] }})
		if err != nil || (tracer != nil) != c.want {
			t.Errorf("%s: tracer %v, err %v; want one: %v", name, tracer != nil, err, c.want)
		}
		_ = tracer.Close(t.Context())
	}
	_, err := telemetry.NewTracer(t.Context(), telemetry.TracerOptions{Endpoint: "user:" + canary + "@collector"})
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a wrong address: %v, want an error without it", err)
	}
}

// TestCollectorGone: a collector that never answers holds up neither the work nor the end.
func TestCollectorGone(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	tracer, err := telemetry.NewTracer(t.Context(), telemetry.TracerOptions{Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		_, span := tracer.Start(t.Context(), "event")
		span.End(nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := tracer.Close(ctx); err == nil {
		t.Error("the last spans were lost and Close says nothing")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("Close took %s, though its context ended after 200 ms", took)
	}
}

func TestNothingIsTracedOnNil(t *testing.T) {
	t.Parallel()
	var tracer *telemetry.Tracer
	ctx, span := tracer.Start(t.Context(), "event")
	span.Set(slog.String("a", "b"))
	span.End(errors.New("no"))
	tracer.Record(ctx, "phase", time.Now(), time.Now())
	if got := tracer.Parent(tracer.WithParent(ctx, "00-1-2-01")); got != "" {
		t.Errorf("nobody traces, and the parent is %q", got)
	}
	if got := tracer.Transport("github", http.DefaultTransport); got != http.DefaultTransport {
		t.Error("nobody traces, and the transport is another")
	}
	if err := tracer.Close(ctx); err != nil {
		t.Error(err)
	}
}
