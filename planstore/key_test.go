package planstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
)

func TestKeyFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir, keyFile := t.TempDir(), filepath.Join(t.TempDir(), "new", "plan.key")
	first := open(t, planstore.Options{Location: dir, KeyFile: keyFile})
	info, err := os.Stat(keyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file has mode %v, %v; want 0600", info.Mode(), err)
	}
	p := put(t, first, planstore.Plan{Workspace: "a"})
	if err := open(t, planstore.Options{Location: dir, KeyFile: keyFile}).Verify(t.Context(), p.ID); err != nil {
		t.Errorf("with the same key file: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(keyFile)); err != nil || len(left) != 1 {
		t.Errorf("beside the key file lie %v, %v", left, err)
	}
	other := open(t, planstore.Options{Location: dir, KeyFile: filepath.Join(t.TempDir(), "key")})
	if err := other.Verify(t.Context(), p.ID); !is(err, planstore.OtherKey) {
		t.Errorf("with another key file: %v, want the other key named", err)
	}
}

// Processes that all find no key file must end with one key.
func TestRacingProcessesAgreeOnAKey(t *testing.T) {
	t.Parallel()
	keyFile := filepath.Join(t.TempDir(), "plan.key")
	location := t.TempDir()
	const processes = 12
	var children []*exec.Cmd
	for range processes {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "PLANSTORE_TEST_ROLE=makekey", "LOCATION="+location, "KEY_FILE="+keyFile)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process that opens the store: %v", err)
		}
	}
	plans, err := open(t, planstore.Options{Location: location, KeyFile: keyFile}).List(t.Context())
	if err != nil || len(plans) != processes {
		t.Errorf("%d plans can be read, %v; want %d", len(plans), err, processes)
	}
}

// makeKey opens a store and puts a plan, in another process.
func makeKey() error {
	return putOne(planstore.Options{Location: os.Getenv("LOCATION"), KeyFile: os.Getenv("KEY_FILE"), Repository: "repo"})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir, keyFile := t.TempDir(), filepath.Join(t.TempDir(), "key")
	write(t, keyFile, []byte(key1+"\n"))
	options := planstore.Options{Location: dir, KeyFile: keyFile}
	old := put(t, open(t, options), planstore.Plan{Workspace: "a"})
	before := fingerprint(t, open(t, options), plan(t, replace))

	write(t, keyFile, []byte("# new since January\n"+key2+"\r\n\n  # old\n"+key1+"\n"))
	both := open(t, options)
	fresh := put(t, both, planstore.Plan{Workspace: "a"})
	for _, p := range []planstore.Plan{old, fresh} {
		if err := both.Verify(t.Context(), p.ID); err != nil {
			t.Errorf("with both keys: %v", err)
		}
	}
	if after := fingerprint(t, both, plan(t, replace)); after != before {
		t.Errorf("a new first key changes the fingerprint from %s to %s", before, after)
	}

	write(t, keyFile, []byte(key2))
	only := open(t, options)
	if err := only.Verify(t.Context(), fresh.ID); err != nil {
		t.Errorf("the new plan with the new key alone: %v", err)
	}
	if err := only.Verify(t.Context(), old.ID); !is(err, planstore.OtherKey) {
		t.Errorf("the old plan with the new key alone: %v, want the other key named", err)
	}
	// A key given directly may rotate as well, and goes before a file.
	given := open(t, planstore.Options{Location: dir, Key: key2 + ", " + key1, KeyFile: filepath.Join(dir, "missing", "key")})
	if err := given.Verify(t.Context(), old.ID); err != nil {
		t.Errorf("the old plan with keys given directly: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
		t.Error("a key file was made though a key was given")
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		write(t, path, []byte(text))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	group, world := file("group", key1, 0o640), file("world", key1, 0o604)
	for _, c := range []struct {
		options planstore.Options
		want    string
	}{
		{planstore.Options{}, "there is no key: give one, or the path of a key file"},
		{planstore.Options{KeyFile: group}, "others than its owner may use it (mode 0640): run `chmod 600 " + group + "`"},
		{planstore.Options{KeyFile: world}, "run `chmod 600 " + world + "`"},
		{planstore.Options{KeyFile: dir}, "it is not a regular file"},
		{planstore.Options{KeyFile: file("empty", "", 0o600)}, "holds no key"},
		{planstore.Options{KeyFile: file("comment", "# "+key1, 0o600)}, "holds no key"},
		{planstore.Options{KeyFile: file("short", key1+"\nY2FuYXJ5\n", 0o600)}, "line 2: the key has 6 bytes, expected 32"},
		{planstore.Options{KeyFile: file("text", "\ncanary!canary!", 0o600)}, "line 2: not a key"},
		{planstore.Options{KeyFile: file("large", strings.Repeat("canary", 20_000), 0o600)}, "it has 120000 bytes"},
		{planstore.Options{KeyFile: filepath.Join(group, "key")}, "not a directory"},
		{planstore.Options{Key: "canary"}, "the key given, line 1: "},
	} {
		c.options.Location, c.options.Repository = t.TempDir(), "repo"
		_, err := planstore.Open(t.Context(), c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.options, err, c.want)
			continue
		}
		if text := err.Error(); strings.Contains(text, "canary") || strings.Contains(text, key1[:6]) || strings.Contains(text, "Y2Fu") {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}

func putOne(o planstore.Options) error {
	s, err := planstore.Open(contextForChild(), o)
	if err != nil {
		return err
	}
	p, err := s.Put(contextForChild(), planstore.Plan{Workspace: "a"}, strings.NewReader("file"), strings.NewReader("{}"))
	if err == nil {
		fmt.Println(p.ID)
	}
	return err
}

func TestDerivedKeysFollowFromTheStores(t *testing.T) {
	t.Parallel()
	const one, two = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	derive := func(key, purpose string) []string {
		t.Helper()
		keys, err := planstore.DeriveKeys(planstore.Options{Key: key}, purpose)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, k := range keys {
			if len(k) != 32 {
				t.Errorf("a key of %d bytes, want 32", len(k))
			}
			all = append(all, string(k))
		}
		return all
	}
	both := derive(one+"\n"+two, "audit")
	if again := derive(one, "audit"); len(both) != 2 || both[0] != again[0] || both[1] != derive(two, "audit")[0] {
		t.Error("the keys do not follow from the store's, one for each")
	}
	if both[0] == both[1] || both[0] == derive(one, "another")[0] {
		t.Error("two purposes or two keys have one derived key")
	}
	if _, err := planstore.DeriveKeys(planstore.Options{}, "audit"); err == nil || !strings.Contains(err.Error(), "for audit: there is no key") {
		t.Errorf("without a key: %v", err)
	}
}
