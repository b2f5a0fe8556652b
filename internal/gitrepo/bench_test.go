package gitrepo_test

import (
	"bytes"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// bare times the two git commands that reading a whole commit is compared with:
// listing it, and reading the same blobs.
func bare(b *testing.B, dir, commit string) (listing, reading time.Duration) {
	b.Helper()
	start := time.Now()
	cmd := exec.Command("git", "ls-tree", "-r", commit)
	cmd.Dir = dir
	list, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	listing = time.Since(start)
	var ids bytes.Buffer
	for line := range strings.Lines(string(list)) {
		ids.WriteString(strings.Fields(line)[2] + "\n")
	}
	start = time.Now()
	cmd = exec.Command("git", "cat-file", "--batch")
	cmd.Dir, cmd.Stdin = dir, &ids
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return listing, time.Since(start)
}

// walk visits every file and returns how many there are.
func walk(b *testing.B, fsys fs.FS, visit func(name string)) int {
	b.Helper()
	n := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
			visit(name)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkTreeRead opens a commit of 15,600 files, walks it and reads every
// file, cold, as discovery does. x-git is the ratio to "git ls-tree -r" plus
// "git cat-file --batch" in the same run.
func BenchmarkTreeRead(b *testing.B) {
	dir, commit, _ := monorepo(b)
	var git time.Duration
	for b.Loop() {
		b.StopTimer()
		listing, reading := bare(b, dir, commit)
		git += listing + reading
		b.StartTimer()
		t, err := open(b, dir).Tree(b.Context(), commit)
		if err != nil {
			b.Fatal(err)
		}
		if err := t.PrefetchFunc(func(string) bool { return true }); err != nil {
			b.Fatal(err)
		}
		n := walk(b, t, func(name string) {
			if _, err := t.ReadFile(name); err != nil {
				b.Fatal(err)
			}
		})
		if n != 15600 {
			b.Fatalf("read %d files", n)
		}
		if err := t.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(git), "x-git")
	b.ReportMetric(float64(git.Milliseconds())/float64(b.N), "git-ms/op")
}

// BenchmarkTreeWalk only walks. x-git is the ratio to "git ls-tree -r".
func BenchmarkTreeWalk(b *testing.B) {
	dir, commit, _ := monorepo(b)
	var git time.Duration
	for b.Loop() {
		b.StopTimer()
		listing, _ := bare(b, dir, commit)
		git += listing
		b.StartTimer()
		t, err := open(b, dir).Tree(b.Context(), commit)
		if err != nil {
			b.Fatal(err)
		}
		walk(b, t, func(string) {})
		if err := t.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(git), "x-git")
	b.ReportMetric(float64(git.Milliseconds())/float64(b.N), "git-ms/op")
}

// BenchmarkTreeSecond opens the next commit, in which one file changed, as
// someone does who remembers the ids of all directories: directories with a
// known id are not entered.
func BenchmarkTreeSecond(b *testing.B) {
	dir, first, second := monorepo(b)
	known := map[string]bool{}
	remember, err := open(b, dir).Tree(b.Context(), first)
	if err != nil {
		b.Fatal(err)
	}
	hash := func(fsys interface{ Hash(string) (string, error) }, name string) string {
		id, err := fsys.Hash(name)
		if err != nil {
			b.Fatal(err)
		}
		return id
	}
	err = fs.WalkDir(remember, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			known[hash(remember, name)] = true
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := remember.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		t, err := open(b, dir).Tree(b.Context(), second)
		if err != nil {
			b.Fatal(err)
		}
		read := 0
		err = fs.WalkDir(t, ".", func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && known[hash(t, name)]:
				return fs.SkipDir
			case !d.IsDir():
				read++
				_, err = t.ReadFile(name)
			}
			return err
		})
		if err != nil || read != 3 {
			b.Fatalf("read %d files: %v", read, err)
		}
		if err := t.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDiff compares two commits of 15,600 files, one of them changed.
func BenchmarkDiff(b *testing.B) {
	dir, first, second := monorepo(b)
	r := open(b, dir)
	for b.Loop() {
		changes, err := r.Diff(b.Context(), first, second)
		if err != nil || len(changes) != 1 {
			b.Fatalf("got %v, %v", changes, err)
		}
	}
}

// BenchmarkOpen finds a repository.
func BenchmarkOpen(b *testing.B) {
	dir, _, _ := monorepo(b)
	for b.Loop() {
		open(b, dir)
	}
}

// BenchmarkResolve resolves a branch.
func BenchmarkResolve(b *testing.B) {
	dir, _, _ := monorepo(b)
	r := open(b, dir)
	for b.Loop() {
		if _, err := r.Resolve(b.Context(), "main"); err != nil {
			b.Fatal(err)
		}
	}
}
