package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// ground is what a decision about two commits rests on.
type ground struct {
	Base, Commit string          // what is compared, and whose files are run
	BaseSet, Set *workspaces.Set // of both; Set is under the rules of BaseSet
	Affected     []*workspaces.Workspace
	Notes        []string // sentences for the report
	// Scratch is a ground without a base that can be read: Set is under its own rules, and nothing counts as allowed that
	// nobody has looked at.
	Scratch bool
}

// brokenError says that a commit has no workspaces because its plumbline.yaml cannot be used.
type brokenError struct {
	base     bool // the base branch's, not the change's
	mends    bool // it is the base branch's, and the change's can be used
	branch   string
	problems []workspaces.Problem
}

func (b *brokenError) Error() string {
	return fmt.Sprintf("%s of %s cannot be used: %v", workspaces.ConfigFile, b.branch, b.problems)
}

// survey looks at what a change brings: what differs between two commits that the mirror has.
func (h *errand) survey(ctx context.Context, branch, base, commit string) (ground, error) {
	c, err := h.clone(ctx, h.repo)
	if err != nil {
		return ground{Base: base, Commit: commit}, err
	}
	return h.surveyBy(ctx, c, c.guarded, branch, base, base, commit)
}

// surveyBy looks at what differs between from and commit, with the workspaces of commit under the rules of base.
func (h *errand) surveyBy(ctx context.Context, c *clone, guarded func(context.Context, string, string) (*workspaces.Set, []workspaces.Guarded, error), branch, base, from, commit string) (ground, error) {
	g := ground{Base: base, Commit: commit}
	set, asked, err := guarded(ctx, base, commit)
	if problems := workspaces.Problems(err); len(problems) > 0 {
		b := &brokenError{base: errors.As(err, new(*brokenBaseError)), branch: branch, problems: problems}
		if b.base {
			_, err := c.set(ctx, commit)
			b.mends = err == nil
		}
		return g, b
	}
	if err != nil {
		return g, err
	}
	g.Set = set
	if g.BaseSet, err = c.set(ctx, base); err != nil {
		return g, err
	}
	for _, rule := range asked {
		g.Notes = append(g.Notes, sentence(names(rule.Workspaces)+": "+rule.String()))
	}
	changed, err := c.changed(ctx, from, commit)
	if err != nil {
		return g, err
	}
	g.Affected = workspaces.Affected(g.BaseSet, g.Set, changed)
	for _, problem := range g.Set.Problems {
		if problem.Workspace != "" && slices.ContainsFunc(g.Affected, func(w *workspaces.Workspace) bool { return w.Name == problem.Workspace }) {
			g.Notes = append(g.Notes, sentence(problem.Error()))
		}
	}
	return g, nil
}

// lay lays the ground of an open change: its head merged into the tip of its base branch. A notice that waits says why
// there is none.
func (h *errand) lay(ctx context.Context, c forge.Change) (ground, Notice, error) {
	mirror, err := h.clone(ctx, h.repo)
	if err != nil {
		return ground{}, Notice{}, err
	}
	tip, err := mirror.fetchChange(ctx, c)
	if err != nil {
		return ground{}, Notice{}, err
	}
	merged, err := mirror.mergeChange(ctx, c.Number, tip, c.Head.Commit)
	if err != nil {
		return ground{}, Notice{}, err
	}
	if merged.Commit == "" {
		return ground{Base: tip}, conflict(c.Base.Branch, merged.Conflicts), nil
	}
	g, err := h.survey(ctx, c.Base.Branch, tip, merged.Commit)
	var broken *brokenError
	if errors.As(err, &broken) {
		return ground{Base: tip}, broken.notice(), nil
	}
	return g, Notice{}, err
}

// atTip fetches a branch and returns the commit at its tip with its workspaces.
func (h *errand) atTip(ctx context.Context, branch string) (string, *workspaces.Set, error) {
	c, err := h.clone(ctx, h.repo)
	if err != nil {
		return "", nil, err
	}
	tip, err := c.fetchBranch(ctx, branch)
	if err != nil {
		return "", nil, err
	}
	set, err := c.set(ctx, tip)
	if len(workspaces.Problems(err)) > 0 {
		err = &refusal{why: fmt.Sprintf("`%s` of %s has mistakes: %v", workspaces.ConfigFile, codeName(branch), err), noted: "plumbline.yaml of the branch has mistakes"}
	}
	return tip, set, err
}

// conflictShort is what the status of a change with conflicts says, and how such a notice is known again.
const conflictShort = "conflicts with its base branch"

// mostListed is how many files or problems a notice lists.
const mostListed = 50

func conflict(branch string, files []string) Notice {
	listed := make([]string, 0, mostListed)
	for _, f := range files[:min(len(files), mostListed)] {
		listed = append(listed, codeName(f))
	}
	text := fmt.Sprintf("This branch conflicts with %s in %s", codeName(branch), strings.Join(listed, ", "))
	if more := len(files) - len(listed); more > 0 {
		text += fmt.Sprintf(" and %d more files", more)
	}
	return Notice{
		Waits: text + fmt.Sprintf(". Nothing is planned until that is settled: merge %s into it, or rebase it, and push.", codeName(branch)),
		State: forge.Failure, Short: conflictShort,
	}
}

func (b *brokenError) notice() Notice {
	n := Notice{State: forge.Failure, Short: workspaces.ConfigFile + " has mistakes"}
	switch {
	case b.mends:
		n.Waits = fmt.Sprintf("`%s` of %s cannot be used, so what guards its workspaces is not known and nothing is planned. This pull request mends it. "+
			"Once it is merged, what it touches is planned and held to be read, and what was merged meanwhile is caught up with:", workspaces.ConfigFile, codeName(b.branch))
		// Where this status is required, it must not keep out what would turn it green.
		n.State, n.Short, n.Mends = forge.Success, "not planned: it mends "+workspaces.ConfigFile+" of the base branch", true
	case b.base:
		n.Waits = fmt.Sprintf("`%s` of %s cannot be used, so what guards its workspaces is not known and nothing is planned. Once it is mended there, this is planned:",
			workspaces.ConfigFile, codeName(b.branch))
		n.Short = workspaces.ConfigFile + " of the base branch has mistakes"
	default:
		n.Waits = fmt.Sprintf("`%s` cannot be used, so nothing is planned:", workspaces.ConfigFile)
	}
	for i, problem := range b.problems {
		if i == mostListed {
			n.Waits += fmt.Sprintf("\nand %d more", len(b.problems)-i)
			break
		}
		n.Waits += "\n" + strings.ReplaceAll(problem.Error(), "\n", " ")
	}
	return n
}

// upstream returns, for each workspace, those of the set that it depends on, directly or through others.
func upstream(set *workspaces.Set) map[string][]string {
	before := map[string][]string{}
	for _, w := range set.Workspaces { // dependencies come first, so one pass settles it
		var all []string
		for _, name := range w.DependsOn {
			all = append(all, name)
			all = append(all, before[name]...)
		}
		slices.Sort(all)
		before[w.Name] = slices.Compact(all)
	}
	return before
}

// downstream returns the names given and those of all workspaces that depend on one of them.
func downstream(set *workspaces.Set, of []string) []string {
	moved := slices.Clone(of)
	before := upstream(set)
	for _, w := range set.Workspaces {
		if slices.ContainsFunc(before[w.Name], func(name string) bool { return slices.Contains(of, name) }) {
			moved = append(moved, w.Name)
		}
	}
	slices.Sort(moved)
	return slices.Compact(moved)
}

// codeName is a name between backticks, which reports show as code.
func codeName(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "'") + "`"
}

// names lists names for people.
func names(all []string) string {
	quoted := make([]string, 0, len(all))
	for _, name := range all {
		quoted = append(quoted, codeName(name))
	}
	if n := len(quoted); n > 20 {
		quoted = append(quoted[:20], fmt.Sprintf("%d more", n-20))
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " and " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}

// sentence ends a text with a full stop.
func sentence(text string) string {
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?:") {
		return text
	}
	return text + "."
}

// short is how a commit is named to people.
func short(commit string) string { return commit[:min(len(commit), 8)] }
