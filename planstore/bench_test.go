package planstore

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// benchKey is a key that no real store uses.
const benchKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// BenchmarkSeal seals on one core. Wanted: at least 500 MB/s.
func BenchmarkSeal(b *testing.B) {
	keys, err := openKeys(Options{Key: benchKey})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("plumbline!"), 6<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c, err := keys.sealStream(b.Context(), header{Kind: "plan"}, int64(len(data)), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		if err == nil {
			err = c.writeTo(io.Discard)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
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
