package planstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
)

func TestDirectoryIsPrivate(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "state", "plans")
	s := open(t, planstore.Options{Location: "file://" + root})
	put(t, s, planstore.Plan{Workspace: "a"})
	if _, err := s.KeepState(t.Context(), "a", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(filepath.Dir(root), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		seen++
		return nil
	})
	if err != nil || seen < 8 {
		t.Errorf("walked %d entries, %v", seen, err)
	}
}

// A writer is killed at any moment, over and over. Every plan that it said was stored is there and whole, and so is every
// plan that is listed besides.
func TestKilledWritersLeaveOnlyWholePlans(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stored := make(map[string]bool)
	for range 30 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "PLANSTORE_TEST_ROLE=writer", "LOCATION="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rand.IntN(3) {
			if !lines.Scan() {
				t.Fatalf("the writer ended by itself: %v", cmd.Wait())
			}
			stored[lines.Text()] = true
		}
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			stored[lines.Text()] = true
		}
		_ = cmd.Wait() // it was killed
	}
	s := open(t, planstore.Options{Location: dir})
	plans, err := s.List(t.Context())
	if err != nil {
		t.Errorf("list: %v", err)
	}
	for _, p := range plans {
		if err := s.Verify(t.Context(), p.ID); err != nil {
			t.Errorf("verify: %v", err)
		}
		delete(stored, p.ID)
	}
	for id := range stored {
		t.Errorf("the writer stored %s, and it is not there", id)
	}
	left := 0
	for _, path := range objects(t, dir) {
		if strings.HasPrefix(filepath.Base(path), ".tmp-") {
			left++
		}
	}
	t.Logf("%d plans, %d leftovers of killed writers", len(plans), left)
}

// writeUntilKilled puts plans, and prints the id of each that is stored.
func writeUntilKilled() error {
	s, err := planstore.Open(contextForChild(), planstore.Options{Location: os.Getenv("LOCATION"), Key: key1, Repository: "repo"})
	if err != nil {
		return err
	}
	file := randomBytes(1 << 20)
	for {
		p, err := s.Put(contextForChild(), planstore.Plan{Workspace: "a"}, bytes.NewReader(file), strings.NewReader("{}"))
		if err != nil {
			return err
		}
		fmt.Println(p.ID)
	}
}

func TestLeftoversAreInvisibleAndCleared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	put(t, s, planstore.Plan{Workspace: "a"})
	object := objects(t, dir)[0]
	old, recent := filepath.Join(filepath.Dir(object), ".tmp-1.sealed"), filepath.Join(filepath.Dir(object), ".tmp-2.sealed")
	for _, path := range []string{old, recent} {
		write(t, path, read(t, object)[:100])
	}
	write(t, filepath.Join(filepath.Dir(object), "notes.txt"), []byte("not ours"))
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(object, past, past); err != nil {
		t.Fatal(err)
	}
	s = open(t, planstore.Options{Location: dir})
	if plans, err := s.List(t.Context()); err != nil || len(plans) != 1 {
		t.Errorf("list: %v, %v; want the one plan", plans, err)
	}
	var names []string
	for _, path := range objects(t, dir) {
		names = append(names, filepath.Base(path))
	}
	// A recent one may belong to a writer at work.
	want := []string{".tmp-2.sealed", filepath.Base(object), "notes.txt"}
	if !slices.Equal(names, want) {
		t.Errorf("in the directory lie %q, want %q", names, want)
	}
}

// A disk that is full while a plan is stored: the error says so, nothing half-written stays, and older plans are intact.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, how := range fullDisks {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "PLANSTORE_TEST_ROLE=fulldisk", "LOCATION="+t.TempDir(), "FULL_DISK="+how.name)
			if how.prepare != nil {
				how.prepare(cmd)
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("with a full disk: %v\n%s", err, out)
			}
			if !strings.Contains(string(out), "tried "+how.name) {
				t.Errorf("no disk was filled: %s", out)
			}
		})
	}
}

// fillDisk stores plans on a small disk until it is full, in a process of its own.
func fillDisk() error {
	dir := os.Getenv("LOCATION")
	i := slices.IndexFunc(fullDisks, func(how fullDisk) bool { return how.name == os.Getenv("FULL_DISK") })
	how := fullDisks[i]
	if how.mount != nil {
		if err := how.mount(dir); err != nil {
			return fmt.Errorf("make a small disk: %w", err)
		}
	}
	ctx := contextForChild()
	s, err := planstore.Open(ctx, planstore.Options{Location: dir, Key: key1, Repository: "repo"})
	if err != nil {
		return err
	}
	older, err := s.Put(ctx, planstore.Plan{Workspace: "a"}, strings.NewReader("small"), strings.NewReader("{}"))
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, planstore.Plan{Workspace: "a"}, bytes.NewReader(randomBytes(1<<20)), strings.NewReader("{}"))
	fmt.Println("tried", how.name, "and got", err)
	if !errors.Is(err, how.want) || !strings.Contains(err.Error(), "the disk is full (free space") || !strings.Contains(err.Error(), dir) {
		return fmt.Errorf("put says %w; want %w, the place and what to do", err, how.want)
	}
	if _, err := s.KeepState(ctx, "a", bytes.NewReader(randomBytes(1<<20))); !errors.Is(err, how.want) {
		return fmt.Errorf("keep says %w; want %w", err, how.want)
	}
	if err := s.WritePlanFile(ctx, older.ID, filepath.Join(dir, "plan")); err != nil {
		return fmt.Errorf("a small file after that: %w", err)
	}
	var names []string
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, entry.Name())
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(names) != 2 {
		return fmt.Errorf("in the directory lie %q; want the older plan and the small file", names)
	}
	latest, err := s.Latest(ctx, "a")
	if err != nil || latest.ID != older.ID {
		return fmt.Errorf("the latest plan is %q, %w; want the older one", latest.ID, err)
	}
	return s.Verify(ctx, older.ID)
}

// fullDisk is a way to run out of space.
type fullDisk struct {
	name    string
	want    error
	prepare func(*exec.Cmd)        // in the parent; nil for nothing
	mount   func(dir string) error // in the child; nil for nothing
}

// contextForChild is the context of processes that tests start: they end with their work, or are killed.
func contextForChild() context.Context { return context.Background() }

// What somebody else put among our objects is told, and left alone by everything.
func TestForeignObjectsAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	p := put(t, s, planstore.Plan{Workspace: "a"})
	beside := filepath.Dir(objects(t, dir)[0])
	note, fake := filepath.Join(beside, "README.txt"), filepath.Join(beside, "20990101-000000000-aaaaaaaaaaaaaaaa.sealed")
	write(t, note, []byte("not ours"))
	write(t, fake, []byte("not sealed"))
	v, err := s.VerifyAll(t.Context())
	if len(v.Plans) != 1 || v.Plans[0] != p.ID || len(v.Foreign) != 1 || v.Foreign[0] != note {
		t.Errorf("verify finds %+v; want the plan, and %s as foreign", v, note)
	}
	if !is(err, planstore.Tampered) || !strings.Contains(err.Error(), "it does not begin like anything that plumbline stores") {
		t.Errorf("of what only looks like ours verify says %v", err)
	}
	if _, err := s.Latest(t.Context(), "a"); !is(err, planstore.Tampered) {
		t.Errorf("the newest, which is not ours, gives %v", err)
	}
	if _, err := s.Prune(t.Context(), planstore.PruneOptions{Broken: true, OlderThan: 1, Newest: true}); err != nil {
		t.Errorf("prune: %v", err)
	}
	if got := objects(t, dir); len(got) != 1 || got[0] != note {
		t.Errorf("after pruning all there are %v; want the foreign file", got)
	}
}
