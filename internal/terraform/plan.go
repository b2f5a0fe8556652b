package terraform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// PlanOptions are the settings of one plan.
type PlanOptions struct {
	// Out is the absolute path that the plan file is written to, with mode 0600. It holds secrets in clear. Required;
	// nothing is left there when planning fails.
	Out string
	// Targets limits the plan to these addresses; empty means all.
	Targets []string
}

// Plan writes a plan to o.Out and reports whether it holds changes. When Terraform says that the data directory must be
// initialised, init is run, and the plan once more. The state lock is not taken: should an apply come between, the serial
// tells, and Terraform refuses the plan as stale.
//
// Errors: *Interrupted, *MissingError, *BusyError; others carry Terraform's own diagnosis.
func (d *Dir) Plan(ctx context.Context, o PlanOptions) (changes bool, err error) {
	if o.Out == "" {
		return false, errors.New("plan: no file to write to was given")
	}
	changes, stderr, err := d.plan(ctx, o)
	if err != nil && ctx.Err() == nil && needsInit(stderr) {
		d.log().Info("terraform asks for init", "dir", d.opts.Dir)
		if _, initErr := d.init(ctx, true); initErr != nil {
			return false, initErr
		}
		changes, _, err = d.plan(ctx, o)
	}
	return changes, err
}

// plan is one attempt.
func (d *Dir) plan(ctx context.Context, o PlanOptions) (changes bool, stderr string, err error) {
	if err := d.busy(); err != nil {
		return false, "", err
	}
	unlock, err := lockDir(ctx, d.opts.DataDir, false)
	if err != nil {
		return false, "", d.gaveUp(ctx, "plan", err)
	}
	defer unlock()
	// Terraform keeps the mode of a file that exists.
	f, err := os.OpenFile(o.Out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return false, "", fmt.Errorf("write plan: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return false, "", fmt.Errorf("write plan: %w", err)
	}

	opts := []tfexec.PlanOption{tfexec.Out(o.Out), tfexec.Lock(false)}
	for _, f := range d.opts.VarFiles {
		opts = append(opts, tfexec.VarFile(f))
	}
	for _, t := range o.Targets {
		opts = append(opts, tfexec.Target(t))
	}
	head := &capped{limit: maxStderr}
	x, err := d.exec(d.shown(head))
	if err != nil {
		return false, "", err
	}
	d.announce("plan")
	err = x.call(ctx, func(ctx context.Context) (err error) {
		changes, err = x.Plan(ctx, opts...)
		return err
	})
	d.said(x.stderr.String())
	if err == nil {
		return changes, "", nil
	}
	// Terraform writes a plan file even for some plans that failed. It can only mislead.
	if rmErr := os.Remove(o.Out); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	stderr = x.stderr.String()
	return false, stderr, d.failed(ctx, "plan", err, stderr, head.String())
}
