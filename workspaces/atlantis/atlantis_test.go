package atlantis_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/plumbline-dev/plumbline/workspaces"
	"github.com/plumbline-dev/plumbline/workspaces/atlantis"
)

var update = flag.Bool("update", false, "write what the tests should find")

// TestMigrate compares the migration of each testdata/*.txtar with what stands in it: plumbline.yaml and notes, or error.
// Files under repo/ are the repository.
func TestMigrate(t *testing.T) {
	for _, path := range cases(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data, opts := input(archive)
			out, notes, err := atlantis.Migrate(data, opts)
			got := map[string]string{}
			if err != nil {
				got["error"] = err.Error() + "\n"
			} else {
				got["plumbline.yaml"] = string(out)
				got["notes"] = ""
				for _, n := range notes {
					got["notes"] += fmt.Sprintf("%d: %s: %s\n", n.Line, n.Key, n.Text)
				}
				checkResult(t, out, notes)
			}
			want := map[string]string{}
			var kept []txtar.File
			for _, f := range archive.Files {
				switch f.Name {
				case "error", "plumbline.yaml", "notes":
					want[f.Name] = string(f.Data)
				default:
					kept = append(kept, f)
				}
			}
			if *update {
				for _, name := range []string{"plumbline.yaml", "notes", "error"} {
					if text, ok := got[name]; ok {
						kept = append(kept, txtar.File{Name: name, Data: []byte(text)})
					}
				}
				archive.Files = kept
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if strings.Contains(got["plumbline.yaml"]+got["notes"], "CANARY") {
				t.Error("a value that may be a secret was copied")
			}
		})
	}
}

func cases(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d cases in testdata, want at least 10: %v", len(paths), err)
	}
	return paths
}

func input(archive *txtar.Archive) (data []byte, opts atlantis.Options) {
	repo := fstest.MapFS{}
	for _, f := range archive.Files {
		if f.Name == "atlantis.yaml" {
			data = f.Data
		}
		if name, ok := strings.CutPrefix(f.Name, "repo/"); ok {
			repo[name] = &fstest.MapFile{Data: f.Data}
		}
	}
	if len(repo) > 0 {
		opts.FS = fs.FS(repo)
	}
	return data, opts
}

// checkResult holds a result to what is promised of all of them.
func checkResult(t *testing.T, out []byte, notes []atlantis.Note) {
	t.Helper()
	c, problems := workspaces.ParseConfig("plumbline.yaml", out)
	for _, p := range problems {
		t.Errorf("the result has a problem: %s\n%s", p.Error(), out)
	}
	if c.Defaults.Apply != "on-comment" {
		t.Errorf("apply is %q, want on-comment as in Atlantis", c.Defaults.Apply)
	}
	for _, n := range notes {
		if n.Text == "" || n.Key == "" || strings.ContainsAny(n.Text+n.Key, "\n\r\u0085\u2028") {
			t.Errorf("note %+v is not one line of text", n)
		}
		if !bytes.Contains(out, []byte(fmt.Sprintf("# atlantis.yaml:%d: ", n.Line))) {
			t.Errorf("note %+v is no comment of the result:\n%s", n, out)
		}
	}
	if cycle := findCycle(c); cycle != "" {
		t.Errorf("the result has the cycle %s:\n%s", cycle, out)
	}
}

// findCycle returns a workspace that waits for itself, and tells of names that no entry has.
func findCycle(c *workspaces.Config) string {
	waits := map[string][]string{}
	for _, e := range c.Workspaces {
		name := e.Name
		if name == "" {
			name = e.Dir
			if e.Workspace != "" {
				name += "@" + e.Workspace
			}
		}
		waits[name] = e.DependsOn
	}
	state := map[string]int{}
	var visit func(string) string
	visit = func(name string) string {
		if _, known := waits[name]; !known {
			return "of the unknown name " + name
		}
		switch state[name] {
		case 1:
			return name
		case 2:
			return ""
		}
		state[name] = 1
		for _, next := range waits[name] {
			if found := visit(next); found != "" {
				return found
			}
		}
		state[name] = 2
		return ""
	}
	for name := range waits {
		if found := visit(name); found != "" {
			return found
		}
	}
	return ""
}

func TestMigrateRefusesFilesThatAreNoText(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"empty":        {"", "atlantis.yaml: the file has no version (Atlantis needs version: 3 in its first line)"},
		"not UTF-8":    {"version: 3\n# \xff", "atlantis.yaml: the file is not UTF-8 (save it as UTF-8)"},
		"too large":    {strings.Repeat("#", 4<<20+1), "atlantis.yaml: the file is 4194305 bytes long; at most 4194304 are read"},
		"self-alias":   {"version: 3\nprojects: &p [*p]\n", "atlantis.yaml: the file stands for more than 1048576 values, or an alias contains itself (use fewer aliases)"},
		"alias bomb":   {bomb(), "atlantis.yaml: the file stands for more than 1048576 values, or an alias contains itself (use fewer aliases)"},
		"lines of CRs": {"version: 3\r\nprojects:\r\n- name: x\r\n", "atlantis.yaml:3: project 1 has no dir (name its directory)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := atlantis.Migrate([]byte(c.data), atlantis.Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("error = %v\nwant    %s", err, c.want)
			}
		})
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("version: 3\nx0: &x0 [a]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// TestMigrateLargeGroups holds the result to a sane size where every pair of two groups would be a dependency.
func TestMigrateLargeGroups(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 3\nprojects:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "- {dir: d%d, execution_order_group: %d}\n", i, i%2)
	}
	out, notes, err := atlantis.Migrate([]byte(b.String()), atlantis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, out, notes)
	if len(notes) != 1 || !strings.Contains(notes[0].Text, "not translated") || bytes.Contains(out, []byte("depends_on:")) {
		t.Errorf("notes = %+v, want one that says that groups were not translated", notes)
	}
}

func FuzzMigrate(f *testing.F) {
	for _, path := range cases(f) {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		data, _ := input(archive)
		f.Add(data)
	}
	repo := fstest.MapFS{"a/main.tf": &fstest.MapFile{}, "a/env/default.tfvars": &fstest.MapFile{}, "b/c/main.tf": &fstest.MapFile{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, opts := range []atlantis.Options{{}, {FS: repo}} {
			out, notes, err := atlantis.Migrate(data, opts)
			if err != nil {
				if strings.Contains(err.Error(), "mistake of this program") {
					t.Error(err)
				}
				continue
			}
			checkResult(t, out, notes)
			again, _, err := atlantis.Migrate(data, opts)
			if err != nil || !bytes.Equal(out, again) {
				t.Errorf("the second time: %v\n%s\nthe first time:\n%s", err, again, out)
			}
		}
	})
}
