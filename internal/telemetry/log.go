package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// LogOptions say how the log is written.
type LogOptions struct {
	// Format is "text" or "json"; "" means text.
	Format string
	// Level is the least that is written; nil means slog.LevelInfo.
	Level slog.Leveler
	// Redactor knows what must not be written; nil hides nothing.
	Redactor *Redactor
}

// NewLog makes the logger that everything else gets. It writes to w, one line an entry.
func NewLog(w io.Writer, o LogOptions) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: o.Level}
	var next slog.Handler
	switch o.Format {
	case "", "text":
		next = slog.NewTextHandler(w, options)
	case "json":
		next = slog.NewJSONHandler(w, options)
	default:
		return nil, fmt.Errorf("log format %q: want text or json", o.Format)
	}
	if o.Redactor == nil {
		return slog.New(next), nil
	}
	return slog.New(&redacting{next, o.Redactor}), nil
}

// redacting hides secrets in what it passes on: in messages, keys, values, groups of values, and errors.
type redacting struct {
	next slog.Handler
	r    *Redactor
}

func (h *redacting) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *redacting) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, h.r.String(record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.r.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h *redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &redacting{h.next.WithAttrs(h.r.attrs(attrs)), h.r}
}

func (h *redacting) WithGroup(name string) slog.Handler {
	return &redacting{h.next.WithGroup(h.r.String(name)), h.r}
}

func (r *Redactor) attrs(attrs []slog.Attr) []slog.Attr {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = r.attr(a)
	}
	return clean
}

func (r *Redactor) attr(a slog.Attr) slog.Attr {
	return slog.Attr{Key: r.String(a.Key), Value: r.value(a.Value)}
}

// value returns v as it is unless a secret is in what would be written of it.
func (r *Redactor) value(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		return slog.GroupValue(r.attrs(v.Group())...)
	case slog.KindAny:
		return r.any(v)
	default:
		// Numbers too: nobody knows what a secret looks like.
		if text := v.String(); r.String(text) != text {
			return slog.StringValue(r.String(text))
		}
		return v
	}
}

func (r *Redactor) any(v slog.Value) slog.Value {
	switch x := v.Any().(type) {
	case nil:
		return v
	case error:
		// fmt, because it survives an Error method that panics.
		return slog.StringValue(r.String(fmt.Sprintf("%v", x)))
	case []byte:
		return slog.StringValue(r.String(string(x)))
	}
	// The text format writes a value as fmt does, the other as JSON does; they may differ in what they show.
	text := fmt.Sprintf("%+v", v.Any())
	clean := r.String(text)
	if encoded, err := json.Marshal(v.Any()); clean == text && (err != nil || r.String(string(encoded)) == string(encoded)) {
		return v
	}
	return slog.StringValue(clean)
}
