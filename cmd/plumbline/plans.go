package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) plansCommand() *cli.Command {
	return &cli.Command{
		Name:  "plans",
		Usage: "look into the plan store, and tidy it",
		Description: "Plans are kept sealed: only who has the key can read them.\n\n" +
			"Examples:\n" +
			"   plumbline plans list\n" +
			"   plumbline plans show 20261121-090527\n" +
			"   plumbline plans verify\n" +
			"   plumbline plans prune --older-than 720h --dry-run\n" +
			"   plumbline plans rekey\n" +
			"   plumbline plans list --config server.yaml --repository acme/live",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list the stored plans, newest first",
				Description: "Exit status: 0; 1 if an entry cannot be read.\n\nExample:\n   plumbline plans list --json",
				Flags:       append(plansFlags(), &cli.BoolFlag{Name: "states", Usage: "list the states that Terraform could not save"}, jsonFlag()),
				Action:      p.plansList,
			},
			{
				Name:        "show",
				Usage:       "show one stored plan, whole; an id may be shortened",
				ArgsUsage:   "ID",
				Description: "With --state, ID is the place of a state that Terraform could not save, and the state itself is printed:\nit holds secrets, so send it to a file and remove that when it was pushed.\n\nExamples:\n   plumbline plans show 20261121-090527\n   plumbline plans show --state PLACE > recovered.tfstate",
				Flags:       append(plansFlags(), &cli.BoolFlag{Name: "state", Usage: "print a state that Terraform could not save"}, jsonFlag()),
				Action:      p.plansShow,
			},
			{
				Name:        "verify",
				Usage:       "read what is stored from end to end and say what is whole",
				ArgsUsage:   "[ID...]",
				Description: "Without an ID: all plans, records of applies and kept states of the repository.\nExit status: 0 all is whole; 1 otherwise.\n\nExample:\n   plumbline plans verify",
				Flags:       plansFlags(),
				Action:      p.plansVerify,
			},
			{
				Name:        "prune",
				Usage:       "remove old plans; the newest of each workspace stays",
				Description: "Removes plans that are older than a limit. What was applied has left the store already, and states that\nTerraform could not save are never removed.\n\nExamples:\n   plumbline plans prune\n   plumbline plans prune --older-than 24h --keep 3 --dry-run\n   plumbline plans prune --broken",
				Flags: append(plansFlags(),
					&cli.DurationFlag{Name: "older-than", Usage: "remove plans older than `DURATION`, such as 720h", Value: 30 * 24 * time.Hour},
					&cli.IntFlag{Name: "keep", Usage: "keep at least the `N` newest plans of each workspace", Value: 1},
					&cli.BoolFlag{Name: "broken", Usage: "remove entries that cannot be read, too"},
					&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be removed"},
					jsonFlag(),
				),
				Action: p.plansPrune,
			},
			{
				Name:  "rekey",
				Usage: "seal with the present key what is sealed with an older one",
				Description: "The present key is the first of --plan-kms-key or, without it, the first of the key file. The older ones must\nbe given, too, until this is done. It may be stopped and run again, and plans may be made meanwhile.\n\n" +
					"Exit status: 0; 1 if something could not be read: it stays as it is.\n\nExamples:\n   plumbline plans rekey --dry-run\n   plumbline plans rekey --plan-kms-key alias/plans",
				Flags:  append(plansFlags(), &cli.BoolFlag{Name: "dry-run", Usage: "only say how much would be sealed anew"}, jsonFlag()),
				Action: p.plansRekey,
			},
		},
	}
}

func (p *program) plansList(c *cli.Context) error {
	store, err := p.plansStore(c)
	if err != nil {
		return err
	}
	if c.Bool("states") {
		return p.statesList(c, store)
	}
	// What is broken is told after what is whole.
	plans, broken := store.List(c.Context)
	if len(plans) == 0 && broken == nil {
		p.hintAtOthers(c)
	}
	if c.Bool("json") {
		if plans == nil {
			plans = []planstore.Plan{}
		}
		err = p.printJSON(plans)
	} else {
		err = table(p.stdout, planRows(plans))
	}
	return errors.Join(err, broken)
}

func planRows(plans []planstore.Plan) [][]string {
	rows := [][]string{{"PLAN", "WORKSPACE", "MADE", "COMMIT", "CHANGES", "SERIAL"}}
	for _, plan := range plans {
		commit := plan.Commit
		if len(commit) > 8 {
			commit = commit[:8]
		}
		if plan.Dirty {
			commit += "+"
		}
		rows = append(rows, []string{
			plan.ID, plan.Workspace, plan.CreatedAt.Local().Format(time.DateTime), commit,
			counted(plan.Counts), strconv.FormatUint(plan.Serial, 10),
		})
	}
	return rows
}

func (p *program) statesList(c *cli.Context, store *planstore.Store) error {
	states, err := store.States(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(states)
	}
	rows := [][]string{{"STATE", "WORKSPACE", "KEPT"}}
	for _, s := range states {
		rows = append(rows, []string{s.Place, s.Workspace, s.KeptAt.Local().Format(time.DateTime)})
	}
	return table(p.stdout, rows)
}

func (p *program) plansShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return fmt.Errorf("say which plan to show (`plumbline plans list` lists them)")
	}
	store, err := p.plansStore(c)
	if err != nil {
		return err
	}
	id := c.Args().First()
	if c.Bool("state") {
		state, err := store.State(c.Context, id)
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(state)
		return err
	}
	plan, err := store.Get(c.Context, id)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(plan)
	}
	raw, err := store.JSON(c.Context, plan.ID)
	if err != nil {
		return err
	}
	res := runner.Result{
		Workspace: &workspaces.Workspace{Name: plan.Workspace, Dir: plan.Dir, Workspace: plan.TerraformWorkspace},
		Status:    runner.Unchanged,
		Receipt:   plan,
	}
	if len(raw) > 0 {
		if res.Plan, err = terraform.ParsePlan(raw); err != nil {
			return fmt.Errorf("plan %s: %w", plan.ID, err)
		}
		res.Status = runner.Planned
	}
	rep := runner.Report([]runner.Result{res}, runner.ReportOptions{
		Kind:    prcomment.KindPlan,
		Title:   "Plan " + plan.ID,
		Commit:  plan.Commit,
		Dirty:   plan.Dirty,
		At:      plan.CreatedAt,
		Secrets: p.secrets(),
	})
	rep.MaxPages = 1 << 20 // the whole plan is what was asked for
	return p.printReport(rep)
}

func (p *program) plansVerify(c *cli.Context) error {
	store, err := p.plansStore(c)
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		return p.verifyAll(c, store)
	}
	var broken error
	for _, id := range c.Args().Slice() {
		if err := store.Verify(c.Context, id); err != nil {
			broken = errors.Join(broken, err)
			continue
		}
		fmt.Fprintf(p.stdout, "%s is whole\n", id)
	}
	return broken
}

// verifyAll reads the whole store. What is broken is told after what is whole.
func (p *program) verifyAll(c *cli.Context, store *planstore.Store) error {
	v, err := store.VerifyAll(c.Context)
	for _, id := range v.Plans {
		fmt.Fprintf(p.stdout, "%s is whole\n", id)
	}
	if v.Applies > 0 || v.States > 0 {
		fmt.Fprintf(p.stdout, "whole besides: %s, %s\n", plural(v.Applies, "record of an apply", "records of applies"), plural(v.States, "kept state", "kept states"))
	}
	for _, name := range v.Foreign {
		fmt.Fprintf(p.stdout, "%s is not Plumbline's: it is left alone\n", printable(name))
	}
	if len(v.Plans)+v.Applies+v.States == 0 && err == nil {
		p.hintAtOthers(c)
	}
	return err
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (p *program) plansRekey(c *cli.Context) error {
	store, err := p.plansStore(c)
	if err != nil {
		return err
	}
	did, err := store.Rekey(c.Context, c.Bool("dry-run"))
	if c.Bool("json") {
		return errors.Join(p.printJSON(struct {
			Rewritten int `json:"rewritten"`
			Current   int `json:"current"`
		}(did)), err)
	}
	verb := "sealed anew"
	if c.Bool("dry-run") {
		verb = "would seal anew"
	}
	fmt.Fprintf(p.stdout, "%s: %d; sealed with the present key already: %d\n", verb, did.Rewritten, did.Current)
	return err
}

func (p *program) plansPrune(c *cli.Context) error {
	store, err := p.plansStore(c)
	if err != nil {
		return err
	}
	if c.Duration("older-than") < 0 || c.Int("keep") < 0 {
		return fmt.Errorf("--older-than and --keep cannot be negative")
	}
	removed, err := store.Prune(c.Context, planstore.PruneOptions{
		OlderThan: c.Duration("older-than"),
		Keep:      c.Int("keep"),
		Newest:    c.Int("keep") == 0,
		Broken:    c.Bool("broken"),
		DryRun:    c.Bool("dry-run"),
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if removed == nil {
			removed = []planstore.Plan{}
		}
		return p.printJSON(removed)
	}
	verb, plural := "removed", "plans"
	if len(removed) == 1 {
		plural = "plan"
	}
	if c.Bool("dry-run") {
		verb = "would remove"
	}
	for _, plan := range removed {
		of := "of " + printable(plan.Workspace)
		if plan.Workspace == "" {
			of = "which could not be read"
		}
		fmt.Fprintf(p.stdout, "%s %s %s\n", verb, plan.ID, of)
	}
	fmt.Fprintf(p.stdout, "%s %d %s\n", verb, len(removed), plural)
	return nil
}
