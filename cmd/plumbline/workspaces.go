package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) workspacesCommand() *cli.Command {
	return &cli.Command{
		Name:      "workspaces",
		Usage:     "list the workspaces of a checkout, or those a change touches and why",
		ArgsUsage: "[NAME...]",
		Description: "Without --affected the checkout is read as it is on disk. With it, only Git's objects are read.\n\n" +
			"Examples:\n" +
			"   plumbline workspaces\n" +
			"   plumbline workspaces --affected origin/main...HEAD\n" +
			"   plumbline workspaces --affected v1.2..v1.3 --json\n\n" +
			"Exit status: 0; 1 on an error, also when a directory could not be read as Terraform.",
		Flags: []cli.Flag{
			affectedFlag(),
			jsonFlag(),
		},
		Action: p.workspaces,
	}
}

func affectedFlag() cli.Flag {
	return &cli.StringFlag{Name: "affected", Usage: "only the workspaces that differ between two commits: `BASE..HEAD`, or BASE...HEAD for what HEAD has changed since they parted"}
}

func (p *program) workspaces(c *cli.Context) error {
	co, err := p.openCheckout(c)
	if err != nil {
		return err
	}
	defer co.close()
	var set *workspaces.Set
	var list []*workspaces.Workspace
	if c.IsSet("affected") && c.String("affected") == "" {
		return errNoRange
	}
	if r := c.String("affected"); r != "" {
		list, set, _, err = co.affected(c.Context, r)
	} else if set, err = co.discover(c.Context); err == nil {
		list = set.Workspaces
	}
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		named, err := co.named(set, c.Args().Slice())
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(slices.Clone(list), func(w *workspaces.Workspace) bool {
			return !slices.ContainsFunc(named, func(n *workspaces.Workspace) bool { return n.Name == w.Name })
		})
	}
	p.warn(set.Problems)
	for _, w := range list {
		for _, warning := range w.Warnings {
			fmt.Fprintf(p.stderr, "warning: %s\n", printable(warning))
		}
	}
	if c.Bool("json") {
		if list == nil {
			list = []*workspaces.Workspace{}
		}
		err = p.printJSON(list)
	} else {
		err = table(p.stdout, workspaceRows(list, c.IsSet("affected")))
	}
	if err != nil {
		return err
	}
	for _, problem := range set.Problems {
		if problem.IsError() {
			return status(exitError)
		}
	}
	return nil
}

func workspaceRows(list []*workspaces.Workspace, affected bool) [][]string {
	if affected {
		rows := [][]string{{"WORKSPACE", "REASON"}}
		for _, w := range list {
			name := w.Name
			for _, reason := range w.Reasons {
				rows = append(rows, []string{name, reason})
				name = ""
			}
		}
		return rows
	}
	rows := [][]string{{"WORKSPACE", "DIRECTORY", "DEPENDS ON", "LOCAL MODULES"}}
	for _, w := range list {
		dir := w.Dir
		if w.Workspace != "default" {
			dir += " @" + w.Workspace
		}
		rows = append(rows, []string{w.Name, dir, strings.Join(w.DependsOn, ", "), strings.Join(w.Modules, ", ")})
	}
	return rows
}
