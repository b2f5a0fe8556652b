package workspaces_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/plumbline-dev/plumbline/workspaces"
)

var updateConfig = flag.Bool("update-config", false, "write what plumbline.yaml's tests and schema should hold")

// configCase is one file of testdata/config: a plumbline.yaml and every problem that is found in it.
type configCase struct {
	path, name string
	archive    *txtar.Archive
	// onlyParser is set where a JSON Schema has no words for the mistake.
	onlyParser bool
}

func configCases(t testing.TB) []configCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/config/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in testdata/config: %v", err)
	}
	var cases []configCase
	for _, p := range paths {
		archive, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(archive.Files) != 2 {
			t.Fatalf("%s has %d files, want plumbline.yaml and problems", p, len(archive.Files))
		}
		cases = append(cases, configCase{
			path: p, name: strings.TrimSuffix(filepath.Base(p), ".txtar"), archive: archive,
			onlyParser: strings.Contains(string(archive.Comment), "schema: cannot say"),
		})
	}
	return cases
}

func (c configCase) yaml() []byte { return c.archive.Files[0].Data }

func list(problems []workspaces.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		if !p.IsError() {
			b.WriteString("warning: ")
		}
		fmt.Fprintln(&b, p.Error())
	}
	return b.String()
}

func TestParseConfigFindsEveryMistake(t *testing.T) {
	for _, c := range configCases(t) {
		t.Run(c.name, func(t *testing.T) {
			_, problems := workspaces.ParseConfig("plumbline.yaml", c.yaml())
			got := list(problems)
			if strings.HasPrefix(c.name, "good-") && got != "" {
				t.Errorf("a good file has problems:\n%s", got)
			}
			if strings.HasPrefix(c.name, "bad-") && got == "" {
				t.Error("a bad file has no problems")
			}
			if *updateConfig {
				c.archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(c.path, txtar.Format(c.archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(c.archive.Files[1].Data), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseConfigKeepsSecretsOutOfProblems(t *testing.T) {
	for _, c := range configCases(t) {
		_, problems := workspaces.ParseConfig("plumbline.yaml", c.yaml())
		if strings.Contains(list(problems), "CANARY") {
			t.Errorf("%s: a value that may be a secret is repeated:\n%s", c.name, list(problems))
		}
	}
}

func TestParseConfigReadsEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/config/good-every-key.txtar")
	if err != nil {
		t.Fatal(err)
	}
	c, problems := workspaces.ParseConfig("plumbline.yaml", txtar.Parse(data).Files[0].Data)
	if len(problems) > 0 {
		t.Fatal(list(problems))
	}
	no, one, two := false, 1, 2
	want := &workspaces.Config{
		Version:  1,
		Discover: &no, Drafts: "wait", Merge: "off", Push: "apply",
		Defaults: workspaces.Settings{
			Workspace: "prod", Engine: "tofu", Terraform: ">= 1.8, < 2.0", Apply: "on-comment", Approvals: &two,
			Account: "aws:123456789012/eu-west-1", VarFiles: []string{"../common.tfvars"},
			BackendConfig: []string{"bucket=states", "backend.hcl"}, Env: []string{"TF_VAR_region", "ARM_*"},
			Watch: []string{"*.yaml"},
			Drift: &workspaces.DriftSettings{
				Every:      "0 6 * * *",
				Correct:    map[string]string{"cluster": "create", "node": "all", "resource": "never"},
				MaxChanges: &one,
				Windows:    []string{"daily 22:00-06:00 UTC", "Sat,Sun 00:00-24:00 Asia/Tokyo"},
				Ignore: []workspaces.IgnoreRule{{
					Address: "*", Attributes: []string{"tags", "tags_all.*"}, Until: "2030-12-31",
					Owner: "team@example.com", Reason: "the scanner tags everything",
				}},
			},
		},
		Workspaces: []workspaces.Entry{
			{Dir: ".", Name: "all of it", Line: 29, Settings: workspaces.Settings{Workspace: "default", Enabled: &no}},
			{Dir: "with space/ünï", Line: 30, Settings: workspaces.Settings{DependsOn: []string{"all of it"}}},
			{Dir: "a/b", Line: 31, Settings: workspaces.Settings{VarFiles: []string{}, Env: []string{}}},
		},
		Ignore:  []string{"examples/**", "**/test/{a,b}", "old"},
		Classes: map[string]string{"acme_cluster": "cluster", "acme_vm_*": "node", "kubernetes_manifest/Node": "node"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestParseConfigMergesAnchors(t *testing.T) {
	data, err := os.ReadFile("testdata/config/good-anchors.txtar")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := workspaces.ParseConfig("plumbline.yaml", txtar.Parse(data).Files[0].Data)
	var got []string
	for _, e := range c.Workspaces {
		every := "-"
		if e.Drift != nil {
			every = e.Drift.Every + " node=" + e.Drift.Correct["node"]
		}
		got = append(got, e.Dir+" "+e.Workspace+" "+every)
	}
	want := []string{"a x off node=update", "b x off node=update", "c y off node=update", "d x -"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// TestParseConfigRefusesFilesThatAreNoText covers what a text file of test data cannot hold.
func TestParseConfigRefusesFilesThatAreNoText(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want string
	}{
		"not UTF-8":  {"version: 1\nignore: [\"\xff\"]\n# \xc3(\n", "plumbline.yaml:2: the line is not valid UTF-8 (save the file as UTF-8)\nplumbline.yaml:3: the line is not valid UTF-8 (save the file as UTF-8)\n"},
		"UTF-16":     {"\xff\xfev\x00", "plumbline.yaml:1: the file is UTF-16 (save it as UTF-8)\n"},
		"control":    {"version: 1\n# \x1b[31m\n", "plumbline.yaml:2: the line holds the control character U+001B (remove it)\n"},
		"NUL":        {"\x00", "plumbline.yaml:1: the line holds the control character U+0000 (remove it)\n"},
		"BOM":        {"\ufeffversion: 1\n", ""},
		"line ends":  {"version: 1\r\nworkspaces:\r\n  - dir: a\r\n    nam: b\r\n", "plumbline.yaml:4: unknown key \"nam\" in an item of workspaces (did you mean \"name\"?)\n"},
		"old ends":   {"version: 1\rignore: []\r", ""},
		"too large":  {strings.Repeat("#", 4<<20+1), "plumbline.yaml: the file is 4194305 bytes long; at most 4194304 are read (move what workspaces have in common to \"defaults\")\n"},
		"deep lists": {"ignore: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "plumbline.yaml:1: ignore takes text, not a list\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := workspaces.ParseConfig("plumbline.yaml", []byte(c.data))
			if diff := cmp.Diff(c.want, list(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseConfigBoundsAliases reads a file of a kilobyte that stands for 10^20 items.
func TestParseConfigBoundsAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("classes: &m0 { a: node }\n")
	for i := 1; i <= 20; i++ {
		prev := fmt.Sprintf("*m%d", i-1)
		fmt.Fprintf(&b, "k%d: &m%d { <<: [%s] }\n", i, i, strings.Join([]string{prev, prev, prev, prev, prev, prev, prev, prev, prev, prev}, ", "))
	}
	b.WriteString("defaults: { <<: *m20 }\n")
	_, problems := workspaces.ParseConfig("plumbline.yaml", []byte(b.String()))
	if got := list(problems); !strings.Contains(got, "stands for more than") || !strings.Contains(got, `unknown key "k1"`) {
		t.Errorf("problems of an alias bomb:\n%s", got)
	}
}

func TestParseConfigReturnsWhatItCouldRead(t *testing.T) {
	c, problems := workspaces.ParseConfig("x.yaml", []byte("workspaces:\n  - { dir: a, apply: sometimes }\n  - dir: b\n"))
	if len(problems) != 1 || problems[0].File != "x.yaml" || problems[0].Line != 2 || problems[0].Severity != workspaces.SeverityError {
		t.Fatalf("problems = %+v, want one error on line 2 of x.yaml", problems)
	}
	if len(c.Workspaces) != 2 || c.Workspaces[1].Dir != "b" {
		t.Errorf("entries = %+v, want both", c.Workspaces)
	}
}

// TestExamplesInTheDocsAreValid reads every YAML block of the guides that is a plumbline.yaml.
func TestExamplesInTheDocsAreValid(t *testing.T) {
	read := 0
	for _, guide := range []string{"../docs/plumbline.yaml.md", "../docs/migrate-from-atlantis.md", "../docs/credentials.md", "../docs/drift.md"} {
		data, err := os.ReadFile(guide)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(data), "```yaml\n") {
			if i == 0 {
				continue
			}
			example, _, _ := strings.Cut(part, "```")
			if strings.HasPrefix(example, "# server.yaml\n") { // TestGuideOfTheServer reads it
				continue
			}
			if _, problems := workspaces.ParseConfig(guide, []byte(example)); len(problems) > 0 {
				t.Errorf("%s\nhas problems:\n%s", example, list(problems))
			}
			read++
		}
	}
	if read < 8 {
		t.Errorf("read %d examples, want at least 8", read)
	}
}

// FuzzParseConfig holds ParseConfig to this: it never panics, names lines that exist, and gives the same answer twice. A
// file without errors keeps its meaning when it is written as JSON, which is YAML too.
func FuzzParseConfig(f *testing.F) {
	for _, c := range configCases(f) {
		f.Add(c.yaml())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := workspaces.ParseConfig("plumbline.yaml", data)
		if c == nil {
			t.Fatal("no config")
		}
		lines := 2 + bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
			bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029"))
		failed := false
		for _, p := range problems {
			if p.Text == "" || p.Line < 0 || p.Line > lines {
				t.Errorf("problem %+v of a file of %d lines", p, lines)
			}
			if strings.ContainsAny(p.Error(), "\n\r\x1b") {
				t.Errorf("problem %q breaks out of its line", p.Error())
			}
			failed = failed || p.IsError()
		}
		if failed {
			return
		}
		out := withoutEmpty(t, c)
		again, problems := workspaces.ParseConfig("plumbline.yaml", out)
		for _, p := range problems {
			if p.IsError() {
				t.Fatalf("%s\nhas the problem: %s", out, p.Error())
			}
		}
		outAgain := withoutEmpty(t, again)
		if !bytes.Equal(out, outAgain) {
			t.Errorf("read twice:\n%s\n%s", out, outAgain)
		}
	})
}

// withoutEmpty returns the JSON of v without keys that hold an empty text or list, which stand for keys that are not set.
func withoutEmpty(t *testing.T, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(out, &tree); err != nil {
		t.Fatal(err)
	}
	var prune func(any)
	prune = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if list, ok := value.([]any); value == "" || value == nil || ok && len(list) == 0 {
					delete(v, key)
					continue
				}
				prune(value)
			}
		case []any:
			for _, item := range v {
				prune(item)
			}
		}
	}
	prune(tree)
	out, err = json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
