package terraform

import (
	"bytes"
	"context"
	"fmt"

	tfjson "github.com/hashicorp/terraform-json"
)

// Show returns a plan file as JSON, and decoded. The JSON holds secrets in clear. It reads no state and no real object,
// but starts the providers, whose schemas it needs.
func (d *Dir) Show(ctx context.Context, planFile string) ([]byte, *tfjson.Plan, error) {
	unlock, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return nil, nil, d.gaveUp(ctx, "show", err)
	}
	defer unlock()
	var out bytes.Buffer
	if _, err := d.run(ctx, "show", &out, "show", "-json", "-no-color", planFile); err != nil {
		return nil, nil, err
	}
	raw := bytes.TrimSpace(out.Bytes())
	plan, err := ParsePlan(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read what %s show printed: %w", d.opts.Binary.Engine, err)
	}
	return raw, plan, nil
}
