package prcomment_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// tenMegabytes makes plans whose JSON is about ten megabytes long, each heavy in another way. They are parsed from JSON,
// so that values have the types and the sharing that they have in life.
func tenMegabytes(t testing.TB) map[string]*tfjson.Plan {
	t.Helper()
	const size = 10 << 20
	change := func(address, actions, before, after, sensitive string) string {
		return fmt.Sprintf(`{"address":%q,"mode":"managed","change":{"actions":[%s],"before":%s,"after":%s,"after_unknown":{},"before_sensitive":%s,"after_sensitive":%s}}`,
			address, actions, before, after, sensitive, sensitive)
	}
	plan := func(next func(i int) string) *tfjson.Plan {
		var b strings.Builder
		b.WriteString(`{"format_version":"1.2","resource_changes":[`)
		for i := 0; b.Len() < size; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(next(i))
		}
		b.WriteString(`]}`)
		return parsePlan(t, []byte(b.String()))
	}
	object := func(i int, what string) string {
		return fmt.Sprintf(`{"id":"i-%d","name":"n-%d","what":%q,"tags":{"env":"prod","owner":"platform","n":"%d"},"rules":[{"port":80,"from":"any"},{"port":443,"from":"any"}],"policy":"{\"a\":[1,2,%d]}","password":"secret-%d-%s"}`, i, i, what, i, i, i, what)
	}
	list := func(i, n int) string {
		var b strings.Builder
		b.WriteString(`{"l":[`)
		for k := range n {
			if k > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"k":%d,"v":"value %d"}`, k, k*i)
		}
		b.WriteString(`]}`)
		return b.String()
	}
	text := func(i, n int) string {
		var b strings.Builder
		for k := range n {
			fmt.Fprintf(&b, `line %d of the text %d\n`, k, k%7*i)
		}
		return `{"t":"` + b.String() + `"}`
	}
	return map[string]*tfjson.Plan{
		"resources": plan(func(i int) string {
			return change(fmt.Sprintf("module.m[%d].a_thing.x", i), `"update"`, object(i, "before"), object(i, "after"), `{"password":true}`)
		}),
		"destroys": plan(func(i int) string {
			return change(fmt.Sprintf("module.m[%d].a_thing.x", i), `"delete","create"`, object(i, "before"), object(i, "after"), `{}`)
		}),
		"list": plan(func(i int) string {
			return change("a_thing.list", `"update"`, list(i+1, 160000), list(i+2, 160000), `{}`)
		}),
		"text": plan(func(i int) string {
			return change("a_thing.text", `"update"`, text(i+1, 38000), text(i+2, 38000), `{}`)
		}),
		"string": plan(func(i int) string {
			return change("a_thing.string", `"update"`, `{"s":"`+strings.Repeat("x", size/2)+`"}`, `{"s":"`+strings.Repeat("x", size/2)+`y"}`, `{}`)
		}),
	}
}

func BenchmarkRender10MB(b *testing.B) {
	for name, plan := range tenMegabytes(b) {
		b.Run(name, func(b *testing.B) {
			report := prcomment.Report{Key: "k", Secrets: []string{"a-secret-of-the-environment"}, Workspaces: []prcomment.Workspace{
				{Name: "big", Status: prcomment.StatusPlanned, Plan: plan, PlanID: "01J"},
			}}
			b.ReportAllocs()
			var pages []string
			for b.Loop() {
				pages = prcomment.Render(report, 0)
			}
			b.StopTimer()
			b.ReportMetric(float64(len(pages)), "pages")
			b.ReportMetric(float64(peakHeap(func() { prcomment.Render(report, 0) }))/(1<<20), "peak-MB")
		})
	}
}

func BenchmarkRender200Workspaces(b *testing.B) {
	for _, s := range scenarios(b) {
		if !strings.HasPrefix(s.name, "two-hundred") {
			continue
		}
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				prcomment.Render(s.report, s.limit)
			}
		})
	}
}

// peakHeap is how much the heap grows at most while f runs, in bytes, sampled every fraction of a millisecond.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	var peak uint64
	for {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
		select {
		case <-done:
			return peak - min(peak, before.HeapAlloc)
		case <-time.After(200 * time.Microsecond):
		}
	}
}
