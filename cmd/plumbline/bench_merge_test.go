package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// BenchmarkMerge measures how long after the webhook of a merge Terraform touches the first resource, beside a bare
//
//	terraform apply PLANFILE
//
// in a directory that is warm. What counts is later-ms, the difference of the medians: at most 150 is wanted.
func BenchmarkMerge(b *testing.B) {
	s := startServing(b, buildPlumbline(b), 1, "drift: { every: off }")
	loop := newLoop(b, s)
	var ours, bare []time.Duration
	for version := 1; b.Loop(); version++ {
		// The loop has files of its own, or each would undo what the other has made.
		outs := [2]string{filepath.Join(s.dir, "out"), filepath.Join(s.dir, "loop-out")}
		files := s.files(1, version)
		for name, text := range files {
			files[name] = strings.ReplaceAll(text, outs[0], outs[1])
		}
		loop.write(b, files)
		loop.plan(b)
		cmd := exec.Command("terraform", "apply", "-input=false", "tf.plan")
		cmd.Dir, cmd.Env = filepath.Join(loop.dir, s.names(1)[0]), loop.environ
		before := touched(outs[1])
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, awaitTouch(b, outs[1], before).Sub(start))
		if err := cmd.Wait(); err != nil {
			b.Fatalf("terraform apply: %v", err)
		}

		pull := s.world.Open(b, world.Alice, fmt.Sprint("v", version), s.files(1, version))
		s.awaitPlan(b, pull, 1)
		earlier := s.deliveries(b)
		before = touched(outs[0])
		pull.Merge(b, forge.Squash)
		at := awaitTouch(b, outs[0], before)
		ours = append(ours, at.Sub(s.toldAt(b, earlier)))
		s.world.AwaitStatus(b, pull.Merged, "plumbline", forge.Success)
	}
	s.stop(b)
	b.ReportMetric(0, "ns/op")
	compare(b, "touch", ours, bare)
	b.ReportMetric(1000*(median(ours)-median(bare)).Seconds(), "later-ms")
}

// touched says how the files in a directory are.
func touched(dir string) string {
	var all strings.Builder
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&all, e.Name(), info.ModTime().UnixNano())
		}
	}
	return all.String()
}

func awaitTouch(b *testing.B, dir, before string) time.Time {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if touched(dir) != before {
			return time.Now()
		}
		if time.Now().After(deadline) {
			b.Fatalf("nothing in %s was touched within a minute", dir)
		}
	}
}
