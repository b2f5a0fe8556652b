package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// BenchmarkMonorepo pushes to one workspace of a repository of 5,000, with 100,000 files and 1,000 commits, and compares the
// time from the webhook of the pull request to its comment with one `git fetch` of it and a bare plan of that workspace. What
// counts are push/loop (at most 1.3 is wanted), and kB/pull, what an open pull request takes on the server's disk beside
// what its workspace needs (at most 1000).
func BenchmarkMonorepo(b *testing.B) {
	const filesEach = 20
	n, commits := sized(b, "PLUMBLINE_BENCH_WORKSPACES", 5000), sized(b, "PLUMBLINE_BENCH_COMMITS", 1000)
	s := startServingMore(b, buildPlumbline(b), n, "drift: { every: off }", func(s *serving, files map[string]string) {
		for i, name := range s.names(n) {
			for j := 1; j < filesEach; j++ {
				files[fmt.Sprintf("%s/notes/%d.md", name, j)] = fmt.Sprintf("# Note %d of %s\n\nIt is number %d.\n", j, name, i)
			}
		}
	}, func(s *serving) {
		for i := range commits {
			s.world.Forge.Commit(b, s.world.Repo, "main", "", map[string]string{"history.md": fmt.Sprintf("# %d\n", i)})
		}
	})
	loop := newLoop(b, s)
	mirror := filepath.Join(b.TempDir(), "mirror.git")
	git := func(args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	url := fmt.Sprintf("http://bench:%s@%s/%s.git", s.world.GitHub.Token, strings.TrimPrefix(s.world.GitHub.URL, "http://"), s.world.Repo)
	git("clone", "--quiet", "--bare", url, mirror)

	var ours, theirs []time.Duration
	var grown int64
	for i := 0; b.Loop(); i++ {
		name := s.names(n)[(i*7919)%n]
		files := map[string]string{name + "/main.tf": s.files(n, i+1)[name+"/main.tf"]}
		before := diskUse(b, filepath.Join(s.dir, "data", "repos"))
		earlier := s.deliveries(b)
		pull := s.world.Open(b, world.Alice, fmt.Sprint("change", i), files)
		s.awaitPlan(b, pull, 1)
		ours = append(ours, s.sinceTold(b, earlier))
		grown += diskUse(b, filepath.Join(s.dir, "data", "repos")) - before

		start := time.Now()
		git("-C", mirror, "fetch", "--quiet", url, fmt.Sprintf("refs/pull/%d/head", pull.Number))
		fetched := time.Since(start)
		if err := os.RemoveAll(loop.dir); err != nil {
			b.Fatal(err)
		}
		loop.write(b, files)
		theirs = append(theirs, fetched+loop.plan(b))
	}
	s.stop(b)
	b.ReportMetric(0, "ns/op")
	compare(b, "push", ours, theirs)
	b.ReportMetric(float64(grown)/1000/float64(b.N), "kB/pull")
}

// diskUse is how many bytes the files in a directory have.
func diskUse(b *testing.B, dir string) int64 {
	b.Helper()
	var total int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// BenchmarkSupersede pushes to a pull request while its plans run, and compares the time from that push to its comment with
// the same when nothing runs. What counts is late/loop: at most 1 is wanted.
func BenchmarkSupersede(b *testing.B) {
	const n = 30
	s := startServing(b, buildPlumbline(b), n, "drift: { every: off }")
	var busy, idle []time.Duration
	version := 1
	pull := s.world.Open(b, world.Alice, "one", s.files(n, version))
	s.awaitPlan(b, pull, n)
	push := func() time.Duration {
		version++
		earlier := s.deliveries(b)
		pull.Push(b, s.files(n, version))
		s.awaitPlan(b, pull, n)
		return s.sinceTold(b, earlier)
	}
	for b.Loop() {
		idle = append(idle, push())
		version++
		pull.Push(b, s.files(n, version))
		time.Sleep(time.Second) // its plans run by now
		busy = append(busy, push())
	}
	s.stop(b)
	b.ReportMetric(0, "ns/op")
	compare(b, "late", busy, idle)
}
