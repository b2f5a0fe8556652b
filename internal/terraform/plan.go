package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// RefreshOnly plans to bring the state up to date with the real objects, and nothing else.
	RefreshOnly bool
	// NoRefresh trusts the state and looks at no real object.
	NoRefresh bool
	// Destroy plans the removal of everything.
	Destroy bool
	// Lock takes the state lock while planning. Usually not needed: a plan that raced an apply is told by its serial.
	Lock bool
	// Output receives what Terraform prints, as it comes, a line or more at a time; nil discards it. It is not masked.
	Output io.Writer
}

// Plan writes a plan to o.Out and reports whether it holds changes. When Terraform says that the data directory must be
// initialised, init is run, and the plan once more.
//
// Errors: *LockedError (with o.Lock), *Interrupted, *MissingError, *BusyError; others carry Terraform's own diagnosis.
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

	opts := []tfexec.PlanOption{tfexec.Out(o.Out), tfexec.Lock(o.Lock), tfexec.Refresh(!o.NoRefresh), tfexec.Destroy(o.Destroy)}
	for _, f := range d.opts.VarFiles {
		opts = append(opts, tfexec.VarFile(f))
	}
	for _, t := range o.Targets {
		opts = append(opts, tfexec.Target(t))
	}
	if o.RefreshOnly {
		opts = append(opts, tfexec.RefreshOnly(true))
	}
	head := &capped{limit: maxStderr}
	out := io.Writer(head)
	if o.Output != nil {
		out = io.MultiWriter(head, tolerant{o.Output})
	}
	x, err := d.exec(out)
	if err != nil {
		return false, "", err
	}
	err = x.call(ctx, func(ctx context.Context) (err error) {
		changes, err = x.Plan(ctx, opts...)
		return err
	})
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

// tolerant is a writer whose failure does not stop Terraform: a reader that went away is no reason to break off.
type tolerant struct{ w io.Writer }

func (t tolerant) Write(p []byte) (int, error) {
	_, _ = t.w.Write(p)
	return len(p), nil
}
