package terraform_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/terraform"
)

// shown keeps what is printed, as the runner does.
type shown struct {
	mu   sync.Mutex
	text []byte
}

func (s *shown) Hide(...string) {}

func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	return len(p), nil
}

// BenchmarkShownPlan makes a plan of 300 objects that is shown to nobody, and the same while it is shown, in turn: the machine
// is never as quick for long.
func BenchmarkShownPlan(b *testing.B) {
	dir := module(b, "main.tf", fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  count = 300\n  input = \"%0200d\"\n}\n", 0))
	o := options(b, dir)
	output := &shown{}
	var took [2]time.Duration
	dirs := [2]*terraform.Dir{open(b, o), nil}
	o.Output = output
	dirs[1] = open(b, o)
	initialise(b, dirs[0])
	file := filepath.Join(b.TempDir(), "plan")
	for b.Loop() {
		for i, d := range dirs {
			began := time.Now()
			if _, err := d.Plan(b.Context(), terraform.PlanOptions{Out: file}); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
		}
	}
	if len(output.text) < 100_000 {
		b.Errorf("only %d bytes were shown", len(output.text))
	}
	b.ReportMetric(float64(took[0].Milliseconds())/float64(b.N), "ms/hidden")
	b.ReportMetric(float64(took[1].Milliseconds())/float64(b.N), "ms/shown")
	b.ReportMetric(100*(took[1].Seconds()/took[0].Seconds()-1), "%-slower")
}
