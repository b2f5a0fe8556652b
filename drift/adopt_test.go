package drift_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/drift/adopt"
)

// adoptConfig has a thing for each shape that a configuration can have.
const adoptConfig = `
# Scalars, and what is not set.
resource "lab_thing" "scalars" {
  name  = "scalars"
  size  = 3 # of them
  label = "a"
}

resource "lab_thing" "collections" {
  name  = "collections"
  ports = [443, 80]
  tags = {
    env = "prod" # for now
    own = "me"
  }
  settings = {
    mode = "slow"
  }
}

resource "lab_thing" "blocks" {
  name = "blocks"
  # the first
  rule {
    port = 1
    note = "one"
  }
  rule {
    port = 2
  }

  disk {
    name = "root"
    size = 10
  }
  disk {
    name = "data"
    size = 20
  }
}

resource "lab_thing" "bare" {
  name = "bare"
}

resource "lab_thing" "emptied" {
  name = "emptied"
  tags = { a = "b" }
  rule {
    port = 1
  }
}

resource "lab_thing" "moved" {
  name = "moved"
  zone = "here"
}

resource "lab_thing" "secret" {
  name   = "secret"
  secret = "correct horse"
  label  = "a"
  rule {
    port  = 1
    token = "battery"
  }
}

resource "lab_thing" "gone" {
  name = "gone"
}
`

// TestAdoptedIsClean meddles with things of every shape, adopts what was found,
// and holds that a real Terraform then has nothing left to do but what could
// not be written.
func TestAdoptedIsClean(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write("main.tf", adoptConfig)
	b.init()
	b.apply()
	baseline := b.facts()
	b.edit("scalars", func(s *stored) { s.Size, s.Label = whole(9007199254740993), text("\"${b}\" %{c}\n") })
	b.edit("collections", func(s *stored) {
		s.Ports = []int64{80, 8080, 22}
		s.Tags = map[string]string{"env": "dev", "app.io/x": "1"}
		s.Settings.Mode, s.Settings.Depth = "fast", whole(7)
	})
	b.edit("blocks", func(s *stored) {
		s.Rules = []labRule{{Port: 1, Note: text("uno")}, {Port: 2, Note: text("two")}, {Port: 3}}
		s.Disks = []labDisk{{Name: "data", Size: 21}, {Name: "root", Size: 10}}
	})
	b.edit("bare", func(s *stored) {
		s.Tags, s.Ports, s.Zone = map[string]string{"by": "hand"}, []int64{1}, text("there")
		s.Rules = []labRule{{Port: 9, Note: text("new")}}
	})
	b.edit("emptied", func(s *stored) { s.Tags, s.Rules = nil, nil })
	b.edit("moved", func(s *stored) { s.Zone = text("there") })
	b.edit("secret", func(s *stored) {
		s.Secret, s.Label = text("staple"), text("b")
		s.Rules[0].Token = text("clip")
	})
	b.lose("gone")

	plan := new(tfjson.Plan)
	plan.UseJSONNumber(true) // as the runner reads plans: no digit is lost
	if err := plan.UnmarshalJSON(b.plan()); err != nil {
		t.Fatal(err)
	}
	found := drift.Find(drift.Input{Plan: plan, Baseline: &baseline, Current: b.facts()})
	edits := adopt.Edit(adopt.Input{Files: os.DirFS(b.dir), Dir: ".", Plan: plan, Findings: found})
	var left []string
	for _, l := range edits.Left {
		left = append(left, l.Address+" "+l.Attribute)
	}
	if got, want := strings.Join(left, ", "), "lab_thing.secret rule[0].token, lab_thing.secret secret"; got != want {
		t.Errorf("left %s, want %s: %+v", got, want, edits.Left)
	}
	for name, data := range edits.Files {
		for _, secret := range []string{"staple", "clip"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%s holds a sensitive value", name)
			}
		}
		b.write(name, string(data))
	}
	for _, f := range drift.Find(drift.Input{Plan: decode(t, b.plan()), Baseline: &baseline, Current: b.facts()}) {
		if a := f.Action(); f.Address != "lab_thing.secret" && a != "no-op" && a != "forget" {
			t.Errorf("%s is still to %s: %+v", f.Address, a, f.Attributes)
		}
	}
	b.must("fmt", "-check", "-diff", "main.tf")
	if t.Failed() {
		data, _ := os.ReadFile(filepath.Join(b.dir, "main.tf"))
		t.Logf("%s", data)
	}
}
