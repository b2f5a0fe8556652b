package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) driftCommand() *cli.Command {
	correct := &correctFlag{}
	return &cli.Command{
		Name:      "drift",
		Usage:     "find what has changed behind Git's back, and correct what may be corrected",
		ArgsUsage: "[NAME...]",
		Description: "One sweep: plans the named workspaces again (without names, those in and under the current directory)\n" +
			"and says of each difference what it is, why it is there and whether it may be corrected.\n\n" +
			"With --correct, what plumbline.yaml allows is corrected. With --correct LADDER, at most up to that ladder,\n" +
			"and a class that plumbline.yaml does not name takes the ladder given. Each ladder allows those before it:\n" +
			"never, create, update, replace, all.\n\n" +
			"With --config, the server of that configuration is asked to look at the named workspaces now, and corrects what\n" +
			"it may.\n\n" +
			"Examples:\n" +
			"   plumbline drift\n" +
			"   plumbline drift --correct clusters/prod\n" +
			"   plumbline drift --correct update\n" +
			"   plumbline drift --config server.yaml clusters/prod\n\n" +
			"Exit status: 0 no drift, or all of it corrected; 2 drift remains; 1 error.",
		Flags: append(append(runFlags(), askFlags()...),
			&cli.GenericFlag{Name: "correct", Value: correct, Usage: "correct what plumbline.yaml allows, or at most up to `[LADDER]`: never, create, update, replace or all"},
			&cli.BoolFlag{Name: "all", Usage: "sweep every workspace of the repository"},
			jsonFlag(),
		),
		Subcommands: []*cli.Command{p.adoptCommand(), p.pauseCommand(), p.resumeCommand(), p.statusCommand()},
		Action: func(c *cli.Context) error {
			if c.String("config") != "" {
				return p.askDrift(c)
			}
			return p.drift(c, runner.DriftOptions{Correct: correct.given, AtMost: correct.atMost})
		},
	}
}

func (p *program) drift(c *cli.Context, options runner.DriftOptions) error {
	co, set, err := p.openSet(c)
	if err != nil {
		return err
	}
	defer co.close()
	selected, err := co.choose(set, c.Args().Slice(), c.Bool("all"))
	if err != nil {
		return err
	}
	show := p.progress()
	defer show.end()
	run, _, err := p.openRunner(c, co, set, show.observe)
	if err != nil {
		return err
	}
	results := run.Drift(c.Context, selected, options)
	show.end()

	if err := p.printResults(c, co, results, runner.ReportOptions{Kind: prcomment.KindDrift, Problems: set.Problems}); err != nil {
		return err
	}
	return driftStatus(results, concerning(set.Problems, selected, c.NArg() > 0))
}

func driftStatus(results []runner.Result, problems []workspaces.Problem) error {
	drifted := false
	for _, r := range results {
		switch r.Status {
		case runner.Unchanged:
		case runner.Drifted:
			drifted = true
		default:
			return status(exitError)
		}
	}
	for _, problem := range problems {
		if problem.IsError() {
			return status(exitError)
		}
	}
	if drifted {
		return status(exitChanges)
	}
	return nil
}

// correctFlag is a flag whose value may be left out: --correct, --correct=update
// or, joined before parsing, --correct update.
type correctFlag struct {
	given  bool
	atMost *drift.Ladder
}

// IsBoolFlag lets package flag accept the flag without a value.
func (f *correctFlag) IsBoolFlag() bool { return true }

func (f *correctFlag) Set(s string) error {
	switch s {
	case "true":
		f.given, f.atMost = true, nil
		return nil
	case "false":
		f.given, f.atMost = false, nil
		return nil
	}
	ladder, err := drift.ParseLadder(s)
	if err != nil {
		return err
	}
	f.given, f.atMost = true, &ladder
	return nil
}

func (f *correctFlag) String() string {
	switch {
	case f == nil || !f.given:
		return ""
	case f.atMost != nil:
		return f.atMost.String()
	}
	return "true"
}

// driftJSON is what --json prints of a sweep. It names sensitive attributes
// and never shows them.
type driftJSON struct {
	Findings  []drift.Judged `json:"findings"`
	Corrected []string       `json:"corrected"`
	Refused   string         `json:"refused,omitempty"`
	Remaining int            `json:"remaining"`
	Expired   []drift.Ignore `json:"expired_rules"`
}

func newDriftJSON(d *runner.DriftResult) *driftJSON {
	j := &driftJSON{
		Findings:  d.Verdict.Findings,
		Corrected: []string{},
		Remaining: d.Remaining,
		Expired:   d.Verdict.Expired,
	}
	if j.Findings == nil {
		j.Findings = []drift.Judged{}
	}
	if j.Expired == nil {
		j.Expired = []drift.Ignore{}
	}
	for _, f := range d.Corrected {
		j.Corrected = append(j.Corrected, f.Address)
	}
	if d.Refused != nil {
		j.Refused = strings.TrimSpace(d.Refused.Error())
	}
	return j
}
