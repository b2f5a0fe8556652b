package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/api"
)

func (p *program) standingCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show what a server's workspaces want somebody for, and how many are in which state",
		ArgsUsage: " ",
		Description: "Asks a server that runs, over its API: docs/web.md tells how to get a token.\n\n" +
			"Examples:\n" +
			"   plumbline status\n" +
			"   plumbline status --server https://plumbline.example.com --json\n\n" +
			"Exit status: 0 nothing wants anybody; 2 something does; 1 on an error.",
		Flags:  append(serverFlags(), jsonFlag()),
		Action: p.standing,
	}
}

func (p *program) standing(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("status takes no argument %q (see `plumbline status --help`)", c.Args().First())
	}
	p.idle.Store(true)
	a, err := p.client(c)
	if err != nil {
		return err
	}
	var s api.Status
	if _, _, err := a.get(c.Context, apiAddress("/status"), "", &s); err != nil {
		return err
	}
	if c.Bool("json") {
		err = p.printJSON(s)
	} else {
		err = p.printStanding(s)
	}
	if err == nil && len(s.Wanting)+len(s.Problems) > 0 {
		return status(exitChanges)
	}
	return err
}

func (p *program) printStanding(s api.Status) error {
	var states []string
	for _, state := range engine.WorkspaceStates() {
		if n := s.States[strings.ReplaceAll(string(state), " ", "_")]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	if s.Overdue > 0 {
		states = append(states, fmt.Sprintf("%d overdue", s.Overdue))
	}
	fmt.Fprintln(p.stdout, listing(counts(s.Workspaces, "workspace"), states))
	var queue []string
	if s.Retries > 0 {
		queue = append(queue, fmt.Sprintf("%d tried again", s.Retries))
	}
	if s.FindingCount > 0 {
		queue = append(queue, counts(s.FindingCount, "finding"))
	}
	fmt.Fprintln(p.stdout, strings.Join(append([]string{counts(s.Running, "run") + " running", fmt.Sprintf("%d waiting", s.Waiting)}, queue...), ", "))
	for _, pause := range s.Pauses {
		fmt.Fprintf(p.stdout, "paused: %s\n", pauseText(pause))
	}
	for _, r := range s.Problems {
		fmt.Fprintf(p.stdout, "nothing can be done with %s: %s\n", printable(r.ID), printable(r.Problem))
	}
	if len(s.Wanting) == 0 {
		return nil
	}
	fmt.Fprintln(p.stdout)
	rows := [][]string{{"WORKSPACE", "REPOSITORY", "STATE", "FINDINGS", "CHECKED", "APPLIED", "REMARK"}}
	for _, w := range s.Wanting {
		remark := ""
		switch {
		case w.Overdue:
			remark = "overdue"
		case w.Class != "":
			remark = w.Class
		case w.Paused:
			remark = "paused"
		}
		rows = append(rows, []string{
			w.Name, w.Repository, strings.ReplaceAll(w.State, "_", " "), strconv.Itoa(w.FindingCount), momentText(w.CheckedAt.Time), momentText(w.AppliedAt.Time), remark,
		})
	}
	if err := table(p.stdout, rows); err != nil {
		return err
	}
	if s.MoreWanting > 0 {
		fmt.Fprintf(p.stdout, "and %d more\n", s.MoreWanting)
	}
	return nil
}

// listing is a count, and after a colon what it is made of.
func listing(count string, parts []string) string {
	if len(parts) == 0 {
		return count
	}
	return count + ": " + strings.Join(parts, ", ")
}

// counts is a number of things in words.
func counts(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}

func pauseText(pause api.Pause) string {
	e := engine.Pause{Repository: engine.RepoID(pause.Repository), Workspace: pause.Workspace, Until: pause.Until.Time, Reason: pause.Reason, Actor: pause.Actor, At: pause.At.Time}
	return scopeText(e) + " " + printable(e.String())
}
