package terraform

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// execution is one call of terraform-exec. Each has an object of its own, because where the output goes is a setting of
// the object.
type execution struct {
	*tfexec.Terraform
	// stderr holds what was printed to stderr.
	stderr *capped
	marker string
	grace  time.Duration
}

// runMarker names the environment variable that tells the processes of one execution from all others.
const runMarker = "PLUMBLINE_RUN"

// exec prepares an execution whose stdout goes to out; nil discards it.
func (d *Dir) exec(out io.Writer) (*execution, error) {
	tf, err := tfexec.NewTerraform(d.opts.Dir, d.opts.Binary.Path)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", d.opts.Binary.Engine, err)
	}
	x := &execution{Terraform: tf, stderr: &capped{limit: maxStderr}, marker: rand.Text(), grace: d.opts.Grace}
	// SetEnv refuses TF_VAR_ variables, for which terraform-exec offers -var instead. That is no substitute: it shows
	// values to everyone who can list processes, ranks above tfvars files rather than below them, and fails for a
	// variable that a module does not declare. SetEnv keeps the map that it has checked, so it is filled afterwards; a
	// test notices should that change.
	env := map[string]string{}
	if err := tf.SetEnv(env); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", d.opts.Binary.Engine, err)
	}
	maps.Copy(env, d.env)
	env[runMarker] = x.marker
	if out != nil {
		tf.SetStdout(out)
	}
	tf.SetStderr(x.stderr)
	if err := tf.SetWaitDelay(d.opts.Grace); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", d.opts.Binary.Engine, err)
	}
	return x, nil
}

// call calls terraform-exec such that it returns soon after ctx was cancelled and the grace has passed. By itself it
// kills Terraform then, but not its providers, and goes on waiting for whoever else holds Terraform's output open.
func (x *execution) call(ctx context.Context, run func(context.Context) error) error {
	if ctx.Err() != nil {
		return &stopped{cause: context.Cause(ctx), before: true}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.stderr.flood = func() { cancel(errFlood) }
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		kill := time.NewTimer(x.grace)
		select {
		case err = <-ended:
			kill.Stop()
		case <-kill.C:
			killMarked(runMarker + "=" + x.marker)
			err = <-ended
		}
	}
	if errors.Is(context.Cause(ctx), errFlood) {
		return errFlood
	}
	return err
}
