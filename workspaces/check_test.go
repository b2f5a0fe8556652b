package workspaces_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func check(t testing.TB, fsys fs.FS) []string {
	t.Helper()
	found, err := workspaces.Check(t.Context(), fsys, workspaces.Options{})
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return problems(found)
}

// TestCheckFindsEveryMistakeAtOnce has a file with mistakes of its own and
// others that only the repository shows.
func TestCheckFindsEveryMistakeAtOnce(t *testing.T) {
	const (
		goneFix = "correct dir, or remove the entry if the directory is gone for good"
		missing = "does not exist (correct the path, which is relative to the workspace's directory, or add the file)"
	)
	fsys := tree(t, `
-- plumbline.yaml --
unknown: 1
workspaces:
  - name: elsewhere
    dir: ../x
  - name: missing
    dir: gone
  - dir: a
    apply: sometimes
    var_files:
      - here.tfvars
      - absent.tfvars
    backend_config:
      - absent.tfbackend
    depends_on:
      - b
      - nobody
      - off
      - missing
      - elsewhere
      - a
  - dir: b
    depends_on: [a]
  - dir: off
    enabled: false
  - dir: c
    name: same
  - dir: d
    name: same
  - dir: e
    name: f
-- a/main.tf --
`+resource+"-- a/here.tfvars --\n-- b/main.tf --\n"+resource+"-- c/main.tf --\n"+resource+"-- d/main.tf --\n"+resource+
		"-- e/main.tf --\n"+resource+"-- f/main.tf --\n"+resource+"-- off/main.tf --\n"+resource+"-- z/main.tf --\nresource {\n")
	got := check(t, fsys)
	broken := ""
	for i, p := range got {
		if strings.HasPrefix(p, "error z/main.tf:1: Terraform cannot read the file") {
			broken, got = p, append(got[:i:i], got[i+1:]...)
			break
		}
	}
	if broken == "" {
		t.Error("the broken file is missing")
	}
	equal(t, "problems", got, []string{
		`error plumbline.yaml:1: unknown key "unknown" in the file's top level (known keys are version, discover, drafts, merge, push, defaults, workspaces, ignore, classes)`,
		`error plumbline.yaml:4: dir is "../x", which may leave the repository (give the path from the repository's root, without ..)`,
		`error plumbline.yaml:6: there is no directory "gone" (` + goneFix + `)`,
		`error plumbline.yaml:8: apply is "sometimes" (write on-merge, on-comment or never)`,
		`warning plumbline.yaml:11: the var file "absent.tfvars" of workspace "a" ` + missing,
		`warning plumbline.yaml:13: the backend file "absent.tfbackend" of workspace "a" ` + missing,
		`error plumbline.yaml:15: depends_on goes round in a circle: a → b → a (let one of them not depend on the next)`,
		`error plumbline.yaml:16: workspace "a" depends on "nobody", which is no workspace (name a workspace that is found and enabled; see plumbline workspaces)`,
		`error plumbline.yaml:17: workspace "a" depends on "off", which is disabled in line 24 (remove it from depends_on, or enable it)`,
		`error plumbline.yaml:18: workspace "a" depends on "missing", which has a mistake in line 6 (correct that first)`,
		`error plumbline.yaml:19: workspace "a" depends on "elsewhere", which has a mistake in line 4 (correct that first)`,
		`error plumbline.yaml:20: the workspace "a" depends on itself (remove it from its depends_on)`,
		`error plumbline.yaml:28: the name "same" is given twice, first on line 26 (give one of them another name)`,
		`error plumbline.yaml:30: two workspaces have the name "f": that of "e" and that of "f" (give one of them a name of its own)`,
	})
}

func TestCheckNamesLinesOfDefaultsAndAnchors(t *testing.T) {
	equal(t, "problems", check(t, tree(t, `
-- plumbline.yaml --
defaults:
  var_files:
    - absent.tfvars
workspaces:
  - &common
    dir: a
    depends_on:
      - nobody
  - <<: *common
    workspace: x
-- a/main.tf --
`+resource)), []string{
		`warning plumbline.yaml:3: the var file "absent.tfvars" of workspace "a" does not exist (correct the path, which is relative to the workspace's directory, or add the file)`,
		`warning plumbline.yaml:3: the var file "absent.tfvars" of workspace "a@x" does not exist (correct the path, which is relative to the workspace's directory, or add the file)`,
		`error plumbline.yaml:8: workspace "a" depends on "nobody", which is no workspace (name a workspace that is found and enabled; see plumbline workspaces)`,
		`error plumbline.yaml:8: workspace "a@x" depends on "nobody", which is no workspace (name a workspace that is found and enabled; see plumbline workspaces)`,
	})
}

// TestCheckSaysNothingOfWhatItCannotRead: a file that is no YAML says nothing
// of what the repository lacks.
func TestCheckSaysNothingOfWhatItCannotRead(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"a newer version": {"version: 9\nworkspaces:\n  - dir: gone\n", "plumbline.yaml:1: the file is of version 9"},
		"no YAML":         {"workspaces: [\n", "plumbline.yaml"},
		"a list":          {"- dir: gone\n", "plumbline.yaml:1: the file's top level takes a mapping"},
	} {
		got := check(t, fstest.MapFS{"plumbline.yaml": {Data: []byte(c.yaml)}, "a/main.tf": {Data: []byte("resource {\n")}})
		if len(got) != 1 || !strings.HasPrefix(got[0], "error "+c.want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := check(t, refusing{fstest.MapFS{"plumbline.yaml": {}}, "plumbline.yaml"}); len(got) != 1 || !strings.Contains(got[0], "cannot be read") {
		t.Errorf("an unreadable file: got %q", got)
	}
	if got := check(t, tree(t, repository)); len(got) != 0 {
		t.Errorf("a good repository has the problems %q", got)
	}
	if got := check(t, fstest.MapFS{"a/main.tf": {Data: []byte(resource)}}); len(got) != 0 {
		t.Errorf("a repository without plumbline.yaml has the problems %q", got)
	}
	if _, err := workspaces.Check(t.Context(), unlistable{fstest.MapFS{}}, workspaces.Options{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file system that cannot be listed: got %v", err)
	}
}

// unlistable is a file system whose directories cannot be listed.
type unlistable struct{ fstest.MapFS }

func (unlistable) ReadDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestInheritedPathsStayInTheRepository: what "defaults" names may lie inside
// the repository for one directory and outside for another.
func TestInheritedPathsStayInTheRepository(t *testing.T) {
	for _, c := range []struct{ key, item string }{
		{"var_files", "../common.tfvars"},
		{"backend_config", "../common.tfbackend"},
		{"watch", "../policies/**"},
	} {
		fsys := tree(t, "-- plumbline.yaml --\ndefaults:\n  "+c.key+": [x.yaml,\n    \""+c.item+"\"]\nworkspaces:\n  - dir: .\n    workspace: w\n  - { dir: deep, workspace: w, depends_on: [.@w] }\n  - { dir: own, "+c.key+": [] }\n"+
			"-- main.tf --\n"+resource+"-- deep/main.tf --\n"+resource+"-- own/main.tf --\n"+resource+
			"-- common.tfvars --\n-- common.tfbackend --\n-- deep/x.yaml --\n")
		set := discover(t, fsys)
		equal(t, c.key+": workspaces", names(set.Workspaces), []string{"deep@w", "own"})
		equal(t, c.key+": problems", problems(set.Problems), []string{
			`error plumbline.yaml:3: ` + c.key + ` has "` + c.item + `", which leaves the repository when it is seen from "." (give ".@w" an entry with ` + c.key + ` of its own, such as [], or leave its directory out)`,
			`error plumbline.yaml:7: workspace "deep@w" depends on ".@w", which has a mistake in line 3 (correct that first)`,
		})
		if _, err := set.Select([]string{".@w"}); err == nil || err.Error() != `workspace ".@w" has a mistake in plumbline.yaml:3` {
			t.Errorf("%s: Select: got error %v", c.key, err)
		}
		bare := tree(t, "-- plumbline.yaml --\ndefaults: { "+c.key+": [\""+c.item+"\"] }\n-- main.tf --\n"+resource)
		set = discover(t, bare)
		if len(set.Workspaces) != 0 || len(set.Problems) != 1 || set.Problems[0].Workspace != "." {
			t.Errorf("%s of a directory that was found: got %q with %v", c.key, names(set.Workspaces), set.Problems)
		}
	}
}

func TestEveryIsHintedWithUnitsThatAreTaken(t *testing.T) {
	for number, want := range map[string]string{
		"15":      "give it a unit: 15m or 15h",
		"90":      "give it a unit: 90s or 90m",
		"86400":   "give it a unit: 86400s or 86400m",
		"0":       "write an interval such as 15m, or off",
		"-5":      "write an interval such as 15m, or off",
		"9999999": "give it a unit: 9999999s",
	} {
		_, found := workspaces.ParseConfig("plumbline.yaml", []byte("defaults:\n  drift: { every: "+number+" }\n"))
		if len(found) != 1 || found[0].Fix != want {
			t.Errorf("every: %s: got %v, want the fix %q", number, found, want)
		}
	}
}
