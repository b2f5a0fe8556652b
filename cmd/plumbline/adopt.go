package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/drift/adopt"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) adoptCommand() *cli.Command {
	return &cli.Command{
		Name:      "adopt",
		Usage:     "write what was changed outside into the configuration, where reality is right",
		ArgsUsage: "NAME [ADDRESS...]",
		Description: "For what was changed outside, and is set by a literal, the real value is written into the file that sets it;\n" +
			"a resource that was deleted outside becomes a removed block. Then a plan proves that the finding is gone and that\n" +
			"nothing else has come up; if it does not, every file is put back. What cannot be written is listed with the reason.\n\n" +
			"Addresses choose resources (with all their instances) and modules; without them all that was changed outside is\n" +
			"adopted, but not what an ignore rule covers. Changes that are not committed are kept. Nothing is applied.\n\n" +
			"Examples:\n" +
			"   plumbline drift adopt clusters/prod\n" +
			"   plumbline drift adopt --dry-run clusters/prod aws_instance.web module.dns\n\n" +
			"Exit status: 0 all was adopted, or there was nothing to adopt; 2 something is left; 1 error.",
		Flags: append(runFlags(),
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be written, and put the files back after the proof"},
			jsonFlag(),
		),
		Action: p.adopt,
	}
}

func (p *program) adopt(c *cli.Context) error {
	if c.NArg() == 0 {
		return errors.New("say which workspace's drift to adopt: plumbline drift adopt NAME [ADDRESS...] (`plumbline workspaces` lists them)")
	}
	co, set, err := p.openSet(c)
	if err != nil {
		return err
	}
	defer co.close()
	w, err := co.one(set, c.Args().First())
	if err != nil {
		return err
	}
	show := p.progress()
	defer show.end()
	run, _, err := p.openRunner(c, co, set, show.observe)
	if err != nil {
		return err
	}
	res := run.Adopt(c.Context, w, runner.AdoptOptions{Addresses: c.Args().Tail(), Keep: !c.Bool("dry-run")})
	show.end()

	if res.Status == runner.Failed || res.Adoption == nil {
		if res.Err == nil {
			res.Err = runner.ErrNotStarted
		}
		return fmt.Errorf("adopt the drift of %s: %w", w.Name, res.Err)
	}
	if c.Bool("json") {
		err = p.printJSON(newAdoptJSON(res, c.Bool("dry-run")))
	} else {
		err = p.printAdoption(res, c.Bool("dry-run"))
	}
	if err != nil {
		return err
	}
	if res.Status != runner.Unchanged {
		return status(exitChanges)
	}
	return nil
}

// one picks the one workspace that a name or a directory stands for.
func (co *checkout) one(set *workspaces.Set, name string) (*workspaces.Workspace, error) {
	selected, err := co.named(set, []string{name})
	if err != nil {
		return nil, err
	}
	if len(selected) != 1 {
		var names []string
		for _, w := range selected {
			names = append(names, w.Name)
		}
		return nil, fmt.Errorf("%s stands for several workspaces, and this takes one at a time: %s", name, strings.Join(names, ", "))
	}
	return selected[0], nil
}

func (p *program) printAdoption(res runner.Result, dryRun bool) error {
	a := res.Adoption
	var out strings.Builder
	verb := "adopted"
	if dryRun {
		verb = "would adopt"
	}
	for _, place := range a.Adopted {
		where := strings.Join(place.Files, ", ")
		if where == "" {
			where = "the files say so already"
		}
		fmt.Fprintf(&out, "%s %s (%s)\n", verb, placeText(place.Place), where)
	}
	for _, left := range a.Left {
		fmt.Fprintf(&out, "left %s: %s\n", placeText(left.Place), left.Why)
	}
	if a.Refused != nil {
		fmt.Fprintf(&out, "nothing was adopted: %v\n", a.Refused)
	}
	if len(a.Adopted)+len(a.Left) == 0 && a.Refused == nil {
		fmt.Fprintf(&out, "%s: nothing to adopt\n", res.Workspace.Name)
	}
	for _, note := range res.Notes {
		fmt.Fprintf(&out, "%s\n", note)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Files)) {
		fmt.Fprintf(&out, "\n%s", fileDiff(a, name))
	}
	text := out.String()
	for _, secret := range p.secrets() {
		text = strings.ReplaceAll(text, secret, "(secret)")
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(strings.ReplaceAll(strings.TrimSuffix(lines[i], "\r"), "\t", "    "))
	}
	if _, err := fmt.Fprint(p.stdout, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

func placeText(place adopt.Place) string {
	return strings.TrimSpace(place.Address + " " + place.Attribute)
}

func fileDiff(a *runner.Adoption, name string) string {
	return strings.TrimPrefix(string(diff.Diff("a/"+name, a.Before[name], "b/"+name, a.Files[name])), "diff a/"+name+" b/"+name+"\n")
}

// adoptJSON is what --json prints. Sensitive values are never in it, because
// they are never written.
type adoptJSON struct {
	Workspace string          `json:"workspace"`
	DryRun    bool            `json:"dry_run"`
	Adopted   []adopt.Adopted `json:"adopted"`
	Left      []adopt.Left    `json:"left"`
	Refused   string          `json:"refused,omitempty"`
	Files     []adoptFileJSON `json:"files"`
	Notes     []string        `json:"notes"`
}

type adoptFileJSON struct {
	Path string `json:"path"`
	Diff string `json:"diff"`
}

func newAdoptJSON(res runner.Result, dryRun bool) adoptJSON {
	a := res.Adoption
	j := adoptJSON{
		Workspace: res.Workspace.Name, DryRun: dryRun, Adopted: slices.Concat([]adopt.Adopted{}, a.Adopted),
		Left: slices.Concat([]adopt.Left{}, a.Left), Files: []adoptFileJSON{}, Notes: slices.Concat([]string{}, res.Notes),
	}
	if a.Refused != nil {
		j.Refused = strings.TrimSpace(a.Refused.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(a.Files)) {
		j.Files = append(j.Files, adoptFileJSON{Path: name, Diff: fileDiff(a, name)})
	}
	return j
}
