package telemetry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/telemetry"
)

const (
	canary  = `cAnArY/pass"word+1&`
	numbers = "987654321"
)

// key has the shape of a private key and is none.
var key = "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("Q0FOQVJZ", 8) + "\n" + strings.Repeat("TElORVRX", 8) + "\n-----END PRIVATE KEY-----\n"

// spill is a value that shows a secret in each of the ways in which a value may be written.
type spill struct{ Secret string }

func (s spill) LogValue() slog.Value { return slog.StringValue("resolved " + s.Secret) }

type plain struct {
	Name   string
	Secret string `json:"s"`
}

// shy shows its secret as JSON only.
type shy struct{ secret string }

func (s shy) String() string               { return "shy" }
func (s shy) MarshalJSON() ([]byte, error) { return json.Marshal(s.secret) }

func TestLogHidesSecrets(t *testing.T) {
	t.Parallel()
	redactor := telemetry.NewRedactor(canary, numbers, key, "abc", "")
	secret := errors.New("refused " + canary)
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log, err := telemetry.NewLog(&out, telemetry.LogOptions{Format: format, Redactor: redactor})
			if err != nil {
				t.Fatal(err)
			}
			log.Info("message with " + canary)
			log.Info("attrs", "string", "a "+canary+" b", "number", 987654321, "bytes", []byte(canary), canary, "as a key")
			log.Info("errors", "err", fmt.Errorf("doing: %w", secret), "joined", errors.Join(errors.New("x"), secret))
			log.Info("values", "resolver", spill{canary}, "struct", plain{"n", canary}, "pointer", &plain{"n", canary},
				"map", map[string]string{"k": canary}, "shy", shy{canary})
			log.Info("group", slog.Group("g", "in", canary, slog.Group("h", "deep", secret)))
			log.With("with", canary).WithGroup("w-"+canary).Warn("later", "in", canary)
			log.Info("forms", "query", url.QueryEscape(canary), "path", url.PathEscape(canary), "json", inJSON(canary),
				"quoted", fmt.Sprintf("%q", canary), "base64", base64.StdEncoding.EncodeToString([]byte(canary)))
			log.Info("key", "key", key, "line", strings.Repeat("TElORVRX", 8))
			got := out.String()
			for _, leak := range []string{
				canary, inJSON(canary), url.QueryEscape(canary), "cAnArY", "Q0FOQVJZ", "TElORVRX", numbers,
				base64.StdEncoding.EncodeToString([]byte(canary)),
			} {
				if strings.Contains(got, leak) {
					t.Errorf("%q is in the log:\n%s", leak, got)
				}
			}
			if !strings.Contains(got, "message with "+telemetry.Hidden) || !strings.Contains(got, "refused "+telemetry.Hidden) {
				t.Errorf("what is around a secret is gone:\n%s", got)
			}
		})
	}
}

// TestLogLeavesTheRest: what holds no secret keeps its shape, so that JSON stays structured.
func TestLogLeavesTheRest(t *testing.T) {
	t.Parallel()
	var out, same bytes.Buffer
	hiding, err := telemetry.NewLog(&out, telemetry.LogOptions{Format: "json", Redactor: telemetry.NewRedactor(canary)})
	if err != nil {
		t.Fatal(err)
	}
	open, err := telemetry.NewLog(&same, telemetry.LogOptions{Format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range []*slog.Logger{hiding, open} {
		at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		record := slog.NewRecord(at, slog.LevelInfo, "hello", 0)
		record.Add("n", 7, "d", time.Second, "at", at, "b", true, "f", 1.5, "nil", nil, "s", plain{"n", "open"},
			slog.Group("g", "list", []string{"a", "b"}), "err", errors.New("plain"))
		if err := log.Handler().Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != same.String() {
		t.Errorf("with a redactor:\n%swithout:\n%s", out.String(), same.String())
	}
}

func TestLogRefusesAFormat(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.NewLog(&bytes.Buffer{}, telemetry.LogOptions{Format: "xml"}); err == nil || !strings.Contains(err.Error(), "text or json") {
		t.Errorf("format xml: %v, want an error that names the formats", err)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLog(&out, telemetry.LogOptions{Level: slog.LevelWarn, Redactor: telemetry.NewRedactor(canary)})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("at level warn the log says %q", got)
	}
}

func inJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can be written
	}
	return string(text[1 : len(text)-1])
}
