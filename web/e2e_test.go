//go:build e2e

package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestEveryExampleIsTaken sends each webhook that GitHub published as an example, and each cut short.
func TestEveryExampleIsTaken(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(parts.GitHubWebhooks(t))
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	s := serve(t, nil)
	total := 0
	for _, event := range events {
		for i, payload := range event.Examples {
			total++
			if status, _, answer := ask(t, "POST", s.url+"/webhook/github", signed(event.Name, payload), bytes.NewReader(payload)); status != http.StatusAccepted {
				t.Errorf("%s example %d is answered with %d %s, want 202", event.Name, i, status, answer)
			}
			half := payload[:len(payload)/2]
			if status, _, answer := ask(t, "POST", s.url+"/webhook/github", signed(event.Name, half), bytes.NewReader(half)); status >= 500 {
				t.Errorf("half of %s example %d is answered with %d %s, want no 5xx", event.Name, i, status, answer)
			}
		}
	}
	if total < 150 {
		t.Errorf("there are %d examples, want at least 150", total)
	}
	if len(s.kinds()) == 0 {
		t.Error("no example became an event")
	}
}
