package planstore

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// benchKey is a key that no real store uses.
const benchKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// BenchmarkSeal seals in one goroutine. Wanted: at least 500 MB/s on one core. MB/s/core is what was sealed for each second of
// a core that the process has used, wherever: what the garbage collector does on another core beside it counts.
//
// "stream" is the seal alone. "plan" is what [Store.Put] does of it to a plan file, from reading it to the last byte that the
// bucket gets: hash, spool (a large one rests in a temporary file, sealed), and seal.
func BenchmarkSeal(b *testing.B) {
	keys, err := openKeys(Options{Key: benchKey})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 64<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	measure := func(name string, seal func(ctx context.Context) (content, func(), error)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			rounds, before := 0, cpuTime(b)
			for b.Loop() {
				c, done, err := seal(b.Context())
				if err == nil {
					err = c.writeTo(io.Discard)
					done()
				}
				if err != nil {
					b.Fatal(err)
				}
				rounds++
			}
			used := cpuTime(b) - before
			b.ReportMetric(float64(rounds)*float64(len(data))/1e6/used.Seconds(), "MB/s/core")
		})
	}
	measure("stream", func(ctx context.Context) (content, func(), error) {
		c, err := keys.sealStream(ctx, header{Kind: "plan"}, int64(len(data)), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		return c, func() {}, err
	})
	measure("plan", func(ctx context.Context) (content, func(), error) {
		file, err := readPart(partPlan, bytes.NewReader(data))
		if err != nil {
			return content{}, nil, err
		}
		c, err := keys.seal(ctx, header{Kind: "plan"}, Plan{}, []part{file})
		return c, file.close, err
	})
}

// BenchmarkVerify10000 reads 10,000 plans in a directory. Wanted: under 10 seconds.
func BenchmarkVerify10000(b *testing.B) {
	const plans = 10_000
	s, err := Open(b.Context(), Options{Location: b.TempDir(), Key: benchKey, Repository: "repo"})
	if err != nil {
		b.Fatal(err)
	}
	for range plans {
		if _, err := s.Put(b.Context(), Plan{Workspace: "a"}, strings.NewReader("plan"), strings.NewReader("{}")); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if v, err := s.VerifyAll(b.Context()); err != nil || len(v.Plans) != plans {
			b.Fatalf("%d are whole, %v", len(v.Plans), err)
		}
	}
}
