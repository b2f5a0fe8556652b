package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TracerOptions say where spans go.
type TracerOptions struct {
	// Endpoint is the root of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318. If it is "", the
	// environment decides.
	Endpoint string
	// Getenv reads the variables that OpenTelemetry has names for: OTEL_EXPORTER_OTLP_ENDPOINT or
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT turn traces on, OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER=none turn them off.
	// nil means that none is set. The exporter itself reads the others, such as OTEL_EXPORTER_OTLP_HEADERS.
	Getenv func(string) string
	// Version is this binary's.
	Version string
	// Redactor knows what must not be in a span; nil hides nothing.
	Redactor *Redactor
	// Log is told when the collector does not take spans; nil for nobody.
	Log *slog.Logger
}

// Tracer sends spans to a collector. A nil *Tracer sends none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	redactor *Redactor
}

// NewTracer makes a Tracer, or returns nil if traces are not wanted. It does not wait for the collector, which may come
// and go: spans that it does not take are dropped.
func NewTracer(ctx context.Context, o TracerOptions) (*Tracer, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	var options []otlptracehttp.Option
	switch {
	case o.Endpoint != "":
		root, err := url.Parse(o.Endpoint)
		if err != nil || root.Host == "" || (root.Scheme != "http" && root.Scheme != "https") {
			// Not the address itself: it may hold a password.
			return nil, errors.New("traces: want the collector's address as http://HOST:4318 or https://…")
		}
		options = append(options, otlptracehttp.WithEndpointURL(root.JoinPath("v1", "traces").String()))
	case getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	who, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		attribute.String("service.name", "plumbline"), attribute.String("service.version", o.Version),
	))
	if err != nil {
		return nil, fmt.Errorf("traces: describe this process: %w", err)
	}
	// The library has only one place to complain at, and by itself writes to stderr.
	otel.SetErrorHandler(&complaints{log: o.Log})
	t := &Tracer{
		provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who)),
		redactor: o.Redactor,
	}
	t.tracer = t.provider.Tracer("github.com/plumbline-dev/plumbline")
	return t, nil
}

// Close sends what has not been sent yet, for as long as ctx lasts.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Start begins a span, as a part of the one in ctx if there is one. What is started with the context that it returns is
// a part of this one. The span must be ended.
func (t *Tracer) Start(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(t.attributes(attrs)...))
	return ctx, &Span{t: t, span: span}
}

// Record tells of something that is over already, as a part of the span in ctx.
func (t *Tracer) Record(ctx context.Context, name string, start, end time.Time, attrs ...slog.Attr) {
	if t == nil {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithAttributes(t.attributes(attrs)...))
	span.End(trace.WithTimestamp(end))
}

// Span is something that takes time. A nil *Span is none.
type Span struct {
	t    *Tracer
	span trace.Span
}

// Set adds what became known since the span was started.
func (s *Span) Set(attrs ...slog.Attr) {
	if s != nil {
		s.span.SetAttributes(s.t.attributes(attrs)...)
	}
}

// End ends the span. An error marks it as failed.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, s.t.redactor.String(err.Error()))
	}
	s.span.End()
}

// Parent names the span in ctx in one short word, for whoever goes on with its work later or elsewhere. It is "" if there
// is none. The word is a W3C traceparent.
func (t *Tracer) Parent(ctx context.Context) string {
	if t == nil {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// WithParent goes on with the work of the span that Parent named. A word that names none is ignored.
func (t *Tracer) WithParent(ctx context.Context, parent string) context.Context {
	if t == nil || parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
}

// Transport makes a span of each request to a forge's API that goes through it. The request's query, headers and body are
// not told.
func (t *Tracer) Transport(forge string, next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	if t == nil {
		return next
	}
	return &tracing{t, forge, next}
}

type tracing struct {
	t     *Tracer
	forge string
	next  http.RoundTripper
}

func (t *tracing) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, span := t.t.Start(req.Context(), "forge call", slog.String("forge", t.forge),
		slog.String("http.request.method", req.Method), slog.String("server.address", req.URL.Host), slog.String("url.path", req.URL.Path))
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err == nil {
		span.Set(slog.Int("http.response.status_code", resp.StatusCode))
	}
	span.End(err)
	return resp, err
}

// attributes translates, hiding secrets.
func (t *Tracer) attributes(attrs []slog.Attr) []attribute.KeyValue {
	var all []attribute.KeyValue
	for _, a := range attrs {
		value := t.redactor.value(a.Value)
		switch value.Kind() {
		case slog.KindInt64:
			all = append(all, attribute.Int64(a.Key, value.Int64()))
		case slog.KindBool:
			all = append(all, attribute.Bool(a.Key, value.Bool()))
		default:
			all = append(all, attribute.String(a.Key, value.String()))
		}
	}
	return all
}

// complaints passes on that spans are lost, but not every few seconds for as long as a collector is gone.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64 // Unix seconds
}

func (c *complaints) Handle(err error) {
	if c.log == nil {
		return
	}
	now, last := time.Now().Unix(), c.last.Load()
	if now-last >= 300 && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces are not taken", "error", err)
	}
}
