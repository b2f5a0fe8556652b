package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) applyCommand() *cli.Command {
	return &cli.Command{
		Name:      "apply",
		Usage:     "apply stored plans that are still valid, in graph order",
		ArgsUsage: "[NAME...]",
		Description: "Applies the newest stored plan of each named workspace; without names, of every workspace that has\n" +
			"one. A plan is applied as it was reviewed if the workspace's inputs and its state are still those of the\n" +
			"plan. Otherwise it is planned again and applied only if the new plan would do exactly the same; else it is\n" +
			"held, and the difference is shown.\n\n" +
			"Examples:\n" +
			"   plumbline apply\n" +
			"   plumbline apply clusters/prod\n\n" +
			"Exit status: 0; 1 error; 3 held: a plan is stale, with the reason.",
		Flags:  append(runFlags(), jsonFlag()),
		Action: p.apply,
	}
}

func (p *program) apply(c *cli.Context) error {
	co, set, err := p.openSet(c)
	if err != nil {
		return err
	}
	defer co.close()
	show := p.progress()
	defer show.end()
	run, store, err := p.openRunner(c, co, set, show.observe)
	if err != nil {
		return err
	}
	var selected []*workspaces.Workspace
	if c.NArg() > 0 {
		selected, err = co.named(set, c.Args().Slice())
	} else {
		selected, err = p.withPlans(c, set, store)
	}
	if err != nil {
		return err
	}
	if len(selected) == 0 {
		if c.Bool("json") {
			return p.printJSON([]resultJSON{})
		}
		fmt.Fprintln(p.stdout, "There is no stored plan to apply. `plumbline plan` makes one.")
		return nil
	}
	results := run.Apply(c.Context, selected)
	show.end()

	if err := p.printResults(c, co, results, runner.ReportOptions{Kind: prcomment.KindApply}); err != nil {
		return err
	}
	return applyStatus(results)
}

// withPlans returns the workspaces that have a stored plan.
func (p *program) withPlans(c *cli.Context, set *workspaces.Set, store *planstore.Store) ([]*workspaces.Workspace, error) {
	plans, err := store.List(c.Context)
	if err != nil {
		return nil, fmt.Errorf("%w\nNothing was applied. `plumbline plans verify` says more; name the workspaces to apply the others", err)
	}
	var selected []*workspaces.Workspace
	seen := map[string]bool{}
	for _, plan := range plans {
		if plan.Purpose != planstore.PurposePlan || seen[plan.Workspace] {
			continue
		}
		seen[plan.Workspace] = true
		w, ok := set.Get(plan.Workspace)
		switch {
		case ok && w.Apply == "never":
			fmt.Fprintf(p.stderr, "%s is left out: plumbline.yaml says `apply: never`\n", printable(w.Name))
		case ok:
			selected = append(selected, w)
		default:
			fmt.Fprintf(p.stderr, "warning: plan %s is of %s, which is no longer a workspace: it was left alone (`plumbline plans prune` removes old plans)\n", plan.ID, printable(plan.Workspace))
		}
	}
	return selected, nil
}

// applyStatus: an error outweighs a hold, since it may have left something
// half done.
func applyStatus(results []runner.Result) error {
	var held, failed bool
	for _, r := range results {
		switch r.Status {
		case runner.Held:
			held = true
		case runner.Failed, runner.Partly:
			failed = true
		case runner.Skipped:
			// Skipped after a hold is part of the hold; after a failure the
			// failure itself is in the list.
			if errors.Is(r.Err, runner.ErrNotStarted) {
				failed = true
			}
		}
	}
	switch {
	case failed:
		return status(exitError)
	case held:
		return status(exitHeld)
	}
	return nil
}
