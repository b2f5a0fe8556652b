//go:build unix

package web_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/web"
)

// BenchmarkWatchers has 500 people follow one output over HTTP, while a run prints as busy ones do: 20 lines, three times a
// second. It reports how many cores that takes, those of the 500 clients included, and checks that each gets all of it.
func BenchmarkWatchers(b *testing.B) {
	const watching, seconds = 500, 10
	for b.Loop() {
		p := &printed{seen: look(b, "cluster"), run: "r4"}
		p.end(b, "running")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		over := make(chan error, 1)
		o := web.Options{Engine: &desk{}, Log: discard}
		showing(p.seen)(&o)
		go func() { over <- web.Serve(ctx, l, web.New(o), discard) }()
		http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = watching
		var wg sync.WaitGroup
		var ready, got atomic.Int64
		for range watching {
			wg.Go(func() {
				seen := false
				err := follow(ctx, "http://"+l.Addr().String()+"/run/r4/output", "", func(e event) bool {
					if !seen {
						seen = true
						ready.Add(1)
					}
					if e.kind == "" {
						got.Add(int64(strings.Count(e.data, `\n`)))
					}
					return e.kind == "end"
				})
				if err != nil {
					b.Errorf("a watcher: %v", err)
				}
			})
		}
		for ready.Load() < watching {
			time.Sleep(50 * time.Millisecond)
		}
		began, before := time.Now(), cpuTime(b)
		lines := 0
		for time.Since(began) < seconds*time.Second {
			var text strings.Builder
			for range 20 {
				lines++
				fmt.Fprintf(&text, "module.network.toy_bucket.logs[%d]: Still creating... [%ds elapsed]\n", lines, lines/60)
			}
			p.add(b, text.String())
			time.Sleep(300 * time.Millisecond)
		}
		p.end(b, "applied")
		wg.Wait()
		b.ReportMetric((cpuTime(b)-before).Seconds()/time.Since(began).Seconds(), "cores")
		b.ReportMetric(float64(lines), "lines/watcher")
		if want := int64(lines) * watching; got.Load() != want {
			b.Errorf("%d lines came, want %d", got.Load(), want)
		}
		stop()
		if err := <-over; err != nil {
			b.Error(err)
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
