package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) planCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "plan workspaces, store the plans, print the comment a pull request would get",
		ArgsUsage: "[NAME...]",
		Description: "Plans the named workspaces; without names, those in and under the current directory. Every plan is\n" +
			"sealed and stored, so that `plumbline apply` can apply just what was read here.\n\n" +
			"Examples:\n" +
			"   plumbline plan\n" +
			"   plumbline plan clusters/prod network/prod\n" +
			"   plumbline plan --affected origin/main...HEAD > comment.md\n\n" +
			"Exit status: 0 no changes; 2 changes; 1 error.",
		Flags: append(runFlags(),
			affectedFlag(),
			&cli.BoolFlag{Name: "all", Usage: "plan every workspace of the repository"},
			jsonFlag(),
		),
		Action: p.plan,
	}
}

func (p *program) plan(c *cli.Context) error {
	co, set, err := p.openSet(c)
	if err != nil {
		return err
	}
	defer co.close()
	selected, base, err := p.selectForPlan(c, co, set)
	if err != nil {
		return err
	}
	show := p.progress()
	defer show.end()
	run, _, err := p.openRunner(c, co, set, show.observe)
	if err != nil {
		return err
	}
	results := run.Plan(c.Context, selected)
	show.end()

	err = p.printResults(c, co, results, runner.ReportOptions{Kind: prcomment.KindPlan, Base: base, Problems: set.Problems})
	if err != nil {
		return err
	}
	return planStatus(results, concerning(set.Problems, selected, c.NArg() > 0))
}

// selectForPlan returns what to plan, and what it was compared with.
func (p *program) selectForPlan(c *cli.Context, co *checkout, set *workspaces.Set) ([]*workspaces.Workspace, string, error) {
	commits := c.String("affected")
	if c.IsSet("affected") && commits == "" {
		return nil, "", errNoRange
	}
	if commits == "" {
		selected, err := co.choose(set, c.Args().Slice(), c.Bool("all"))
		return selected, "", err
	}
	if c.NArg() > 0 || c.Bool("all") {
		return nil, "", fmt.Errorf("--affected says which workspaces to plan: leave out the names and --all")
	}
	touched, _, head, err := co.affected(c.Context, commits)
	if err != nil {
		return nil, "", err
	}
	if head != co.head.Commit {
		return nil, "", fmt.Errorf("--affected %s ends at %.8s, but %.8s is checked out, and Terraform runs in the checkout: check out the end of the range first", commits, head, co.head.Commit)
	}
	// The reasons are the commits', the settings those of the checkout, which
	// is what Terraform runs in.
	for i, w := range touched {
		if mine, ok := set.Get(w.Name); ok {
			copied := *mine
			copied.Reasons = w.Reasons
			touched[i] = &copied
		}
	}
	base, _, _ := strings.Cut(commits, "..")
	return touched, base, nil
}

// errNoRange is what an unset variable in a CI job leads to. Planning all, or
// nothing, would both be wrong.
var errNoRange = errors.New("--affected is empty: give it BASE..HEAD")

// printResults prints what came of a run, as JSON or as a report, whose
// options it completes.
func (p *program) printResults(c *cli.Context, co *checkout, results []runner.Result, o runner.ReportOptions) error {
	if c.Bool("json") {
		return p.printJSON(resultsJSON(results))
	}
	o.Commit, o.Dirty, o.At, o.Secrets = co.head.Commit, co.dirty, time.Now(), p.secrets()
	return p.printReport(runner.Report(results, o))
}

// printReport prints the pages of a report as they would be posted; on a
// terminal, as they would look.
func (p *program) printReport(rep prcomment.Report) error {
	pages := prcomment.Render(rep, 0)
	if isTerminal(p.stdout) {
		return p.showMarkdown(p.stdout, pages)
	}
	for i, page := range pages {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		if _, err := fmt.Fprintln(p.stdout, strings.TrimRight(page, "\n")); err != nil {
			return fmt.Errorf("print the comment: %w", err)
		}
	}
	return nil
}

// concerning returns the problems that decide a command's status: all of them,
// unless workspaces were named; then a mistake elsewhere is only told.
func concerning(problems []workspaces.Problem, selected []*workspaces.Workspace, named bool) []workspaces.Problem {
	if !named {
		return problems
	}
	var mine []workspaces.Problem
	for _, problem := range problems {
		dir := path.Dir(problem.File)
		for _, w := range selected {
			if problem.Workspace == w.Name || dir == w.Dir || slices.Contains(w.Modules, dir) {
				mine = append(mine, problem)
				break
			}
		}
	}
	return mine
}

func planStatus(results []runner.Result, problems []workspaces.Problem) error {
	code := exitOK
	for _, r := range results {
		switch r.Status {
		case runner.Planned:
			code = max(code, exitChanges)
		case runner.Failed, runner.Skipped:
			return status(exitError)
		}
	}
	for _, problem := range problems {
		if problem.IsError() {
			return status(exitError)
		}
	}
	if code != exitOK {
		return status(code)
	}
	return nil
}

// resultJSON is what --json prints of one workspace. Plans stay in the store:
// they hold secrets.
type resultJSON struct {
	Workspace   string            `json:"workspace"`
	Dir         string            `json:"dir"`
	Status      runner.Status     `json:"status"`
	Reasons     []string          `json:"reasons"`
	Plan        string            `json:"plan,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	Commit      string            `json:"commit,omitempty"`
	Counts      *planstore.Counts `json:"counts,omitempty"`
	Error       string            `json:"error,omitempty"`
	Held        *heldJSON         `json:"held,omitempty"`
	Drift       *driftJSON        `json:"drift,omitempty"`
	Notes       []string          `json:"notes"`
	StateKept   string            `json:"state_kept,omitempty"`
	Seconds     float64           `json:"seconds"`
}

type heldJSON struct {
	Reason      string   `json:"reason"`
	Differences []string `json:"differences"`
	Next        string   `json:"next"`
}

func resultsJSON(results []runner.Result) []resultJSON {
	list := make([]resultJSON, 0, len(results))
	for _, r := range results {
		j := resultJSON{
			Workspace:   r.Workspace.Name,
			Dir:         r.Workspace.Dir,
			Status:      r.Status,
			Reasons:     orEmpty(r.Workspace.Reasons),
			Plan:        r.Receipt.ID,
			Fingerprint: r.Receipt.Fingerprint,
			Commit:      r.Receipt.Commit,
			Notes:       orEmpty(r.Notes),
			StateKept:   r.Kept,
			Seconds:     r.Elapsed.Round(time.Millisecond).Seconds(),
		}
		if r.Receipt.Workspace != "" {
			j.Counts = &r.Receipt.Counts
		}
		if r.Err != nil {
			j.Error = r.Err.Error()
		}
		if h := r.Hold; h != nil {
			j.Held = &heldJSON{h.Reason, orEmpty(h.Differences), h.Next}
		}
		if r.Drift != nil {
			j.Drift = newDriftJSON(r.Drift)
		}
		list = append(list, j)
	}
	return list
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
