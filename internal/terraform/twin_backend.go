package terraform

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"github.com/google/renameio/v2"
	"github.com/zclconf/go-cty/cty"
)

// Where the backend is the one of our own override, init leaves a record of it: its settings, and a number that Terraform
// makes of them to notice when they have changed. The number is worked out here as well; whether it is worked out rightly is
// seen at each record that Terraform itself has written, before others are made after its example.

// hash is the number that stands for these settings in a record.
func (l *LocalBackend) hash() int {
	settings := cty.ObjectVal(map[string]cty.Value{"path": cty.StringVal(l.Path), "workspace_dir": cty.StringVal(l.WorkspaceDir)})
	return cty.TupleVal([]cty.Value{cty.StringVal("local"), settings}).Hash()
}

// backendRecord is what init has recorded here, if that is what we would have; else nil.
func (d *Dir) backendRecord() map[string]any {
	text, err := os.ReadFile(d.data("terraform.tfstate"))
	if err != nil {
		return nil
	}
	var record map[string]any
	if json.Unmarshal(text, &record) != nil {
		return nil
	}
	at, _ := record["backend"].(map[string]any)
	config, _ := at["config"].(map[string]any)
	l := d.opts.LocalBackend
	switch number, _ := at["hash"].(float64); {
	case at["type"] != "local", len(config) != 2, config["path"] != l.Path, config["workspace_dir"] != l.WorkspaceDir, int(number) != l.hash():
		d.log().Debug("what init has recorded of the backend is no example", "dir", d.opts.Dir)
		return nil
	}
	return record
}

// recordBackend records the backend of our override after the example of a record that another init has made.
func (d *Dir) recordBackend(example map[string]any) error {
	l := d.opts.LocalBackend
	record := maps.Clone(example)
	at := maps.Clone(record["backend"].(map[string]any))
	at["config"] = map[string]any{"path": l.Path, "workspace_dir": l.WorkspaceDir}
	at["hash"] = l.hash()
	record["backend"] = at
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("record the backend: %w", err)
	}
	if err := renameio.WriteFile(d.data("terraform.tfstate"), text, 0o600); err != nil {
		return fmt.Errorf("record the backend: %w", err)
	}
	return nil
}
