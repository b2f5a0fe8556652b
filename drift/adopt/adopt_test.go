package adopt_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2/hclwrite"
	tfjson "github.com/hashicorp/terraform-json"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/drift/adopt"
)

var update = flag.Bool("update", false, "rewrite what the cases expect")

// moved is one resource of a case: what the configuration asks for and what is
// real. Real null means that it was deleted.
type moved struct {
	Address   string
	Was       map[string]any
	Real      map[string]any
	Sensitive map[string]any
	Replace   bool
}

// planOf is the plan that Terraform would make of it, in what matters here.
func planOf(t testing.TB, resources []moved) *tfjson.Plan {
	t.Helper()
	plan := &tfjson.Plan{TerraformVersion: "1.13.4"}
	for _, m := range resources {
		rc := &tfjson.ResourceChange{Address: m.Address, Mode: tfjson.ManagedResourceMode, ProviderName: "example.com/x/y"}
		steps := strings.Split(m.Address, ".")
		for len(steps) > 2 && steps[0] == "module" {
			rc.ModuleAddress = strings.TrimPrefix(rc.ModuleAddress+"."+steps[0]+"."+steps[1], ".")
			steps = steps[2:]
		}
		rc.Type = steps[0]
		rc.Name, _, _ = strings.Cut(steps[1], "[")
		found := *rc
		mask := any(map[string]any{})
		if m.Sensitive != nil {
			mask = m.Sensitive
		}
		change := &tfjson.Change{Before: m.Real, After: m.Was, AfterUnknown: map[string]any{}, BeforeSensitive: mask, AfterSensitive: mask}
		switch {
		case m.Real == nil:
			change.Before = nil
			change.Actions = tfjson.Actions{tfjson.ActionCreate}
			found.Change = &tfjson.Change{Before: m.Was, Actions: tfjson.Actions{tfjson.ActionDelete}, BeforeSensitive: mask}
		case fmt.Sprint(m.Real) == fmt.Sprint(m.Was):
			change.Actions = tfjson.Actions{tfjson.ActionNoop}
			rc.Change = change
			plan.ResourceChanges = append(plan.ResourceChanges, rc)
			continue
		default:
			change.Actions = tfjson.Actions{tfjson.ActionUpdate}
			if m.Replace {
				change.Actions = tfjson.Actions{tfjson.ActionDelete, tfjson.ActionCreate}
			}
			found.Change = &tfjson.Change{Before: m.Was, After: m.Real, Actions: tfjson.Actions{tfjson.ActionUpdate}, BeforeSensitive: mask, AfterSensitive: mask}
		}
		rc.Change = change
		plan.ResourceChanges = append(plan.ResourceChanges, rc)
		plan.ResourceDrift = append(plan.ResourceDrift, &found)
	}
	return plan
}

func findingsOf(plan *tfjson.Plan) []drift.Finding {
	facts := drift.Facts{Commit: "c", InputsDigest: "d", Engine: "terraform", TerraformVersion: "1.13.4", Serial: 1, Lineage: "l"}
	return drift.Find(drift.Input{Plan: plan, Baseline: &facts, Current: facts})
}

// settings of a case, beside its resources.
type settings struct {
	Resources []moved
	Addresses []string
	Engine    string
	VarFiles  []string
	Shared    map[string][]string
}

// TestEdit plays the cases of testdata. A case has a file case.json, the files
// of the configuration, and what is expected of them: want/NAME for each file
// that is to change, and left for what is not adopted.
//
//	go test ./drift/adopt -run 'TestEdit/list' -update
func TestEdit(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var s settings
			files := fstest.MapFS{}
			wanted := map[string]string{}
			kept := archive.Files[:0:0]
			for _, f := range archive.Files {
				if rest, ok := strings.CutPrefix(f.Name, "want/"); ok {
					wanted[rest] = string(f.Data)
					continue
				} else if f.Name == "left" {
					wanted["left"] = string(f.Data)
					continue
				}
				kept = append(kept, f)
				if f.Name != "case.json" {
					files[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
					continue
				}
				decoder := json.NewDecoder(bytes.NewReader(f.Data))
				decoder.UseNumber()
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(&s); err != nil {
					t.Fatal(err)
				}
			}
			plan := planOf(t, s.Resources)
			in := adopt.Input{
				Files: files, Dir: ".", Plan: plan, Findings: findingsOf(plan),
				Addresses: s.Addresses, Engine: s.Engine, VarFiles: s.VarFiles, Shared: s.Shared,
			}
			edits := adopt.Edit(in)
			got := map[string]string{}
			for file, data := range edits.Files {
				got[file] = string(data)
			}
			for _, l := range edits.Left {
				got["left"] += strings.TrimSpace(l.Address+" "+l.Attribute) + ": " + l.Why + "\n"
			}
			if *update {
				archive.Files = kept
				for _, file := range slices.Sorted(maps.Keys(got)) {
					prefix := "want/"
					if file == "left" {
						prefix = ""
					}
					archive.Files = append(archive.Files, txtar.File{Name: prefix + file, Data: []byte(got[file])})
				}
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, file := range slices.Sorted(maps.Keys(wanted)) {
				if got[file] != wanted[file] {
					t.Errorf("%s:\n%s\nwant:\n%s", file, got[file], wanted[file])
				}
			}
			for file, data := range got {
				if _, ok := wanted[file]; !ok {
					t.Errorf("%s was not to change:\n%s", file, data)
				}
			}
			again(t, in, edits)
		})
	}
}

// again holds that what was adopted stays formatted and is adopted only once.
func again(t *testing.T, in adopt.Input, edits adopt.Edits) {
	t.Helper()
	files := fstest.MapFS{}
	maps.Copy(files, in.Files.(fstest.MapFS))
	for name, data := range edits.Files {
		before, err := fs.ReadFile(in.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(hclwrite.Format(before), before) && !bytes.Equal(hclwrite.Format(data), data) {
			t.Errorf("%s was formatted and is not any more:\n%s", name, data)
		}
		files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	in.Files = files
	for name, data := range adopt.Edit(in).Files {
		t.Errorf("a second time changes %s again:\n%s", name, data)
	}
}
