package runner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/drift/adopt"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// AdoptOptions say what of a workspace's drift is written into its files.
type AdoptOptions struct {
	// Addresses chooses resources and modules; none means all that was changed
	// outside and that no rule ignores.
	Addresses []string
	// Keep leaves the edited files in Root. Otherwise they are there only while
	// the plan is made that proves them.
	Keep bool
}

// Adoption is what came of writing a workspace's drift into its files.
type Adoption struct {
	// Before and Files are the files that change, as they were and as they are
	// to be, by slash path from the checkout's root. Files is empty when
	// nothing is adopted.
	Before, Files map[string][]byte
	Adopted       []adopt.Adopted
	Left          []adopt.Left
	// Refused is why nothing was adopted although something could be written:
	// the plan that was to prove it did not. Everything was put back.
	Refused error
}

// proofs is how often an edit is tried: what a plan shows to be in vain is left
// out the next time.
const proofs = 3

// Adopt writes what was changed outside into the workspace's files, and proves
// with a plan that those findings are gone and that nothing new has come up.
// If the plan says otherwise, every file is put back.
//
// Result.Drift is what was found before. The files are edited in Root, because a plan depends on where it is made. A
// file that is there and in Files must be the same in both.
func (r *Runner) Adopt(ctx context.Context, w *workspaces.Workspace, o AdoptOptions) Result {
	results := r.each(ctx, []*workspaces.Workspace{w}, func(ctx context.Context, w *workspaces.Workspace, _ []Result) Result {
		return r.adopt(ctx, w, o)
	})
	return results[0]
}

func (r *Runner) adopt(ctx context.Context, w *workspaces.Workspace, o AdoptOptions) Result {
	policy, classes, err := driftPolicy(w, DriftOptions{})
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	s, err := r.prepare(ctx, w)
	if err != nil {
		return Result{Status: Failed, Err: err}
	}
	defer s.close()
	res := Result{Status: Unchanged, Notes: slices.Clone(s.notes)}
	fail := func(err error) Result {
		res.Status, res.Err = Failed, err
		return res
	}
	applied, known, err := r.lastApplied(ctx, w.Name)
	if err != nil {
		return fail(err)
	}
	look := func() (*made, []drift.Finding, error) {
		m, err := r.planAt(ctx, s, planOptions{Purpose: planstore.PurposePlan, Read: true})
		if err != nil {
			return nil, nil, err
		}
		return m, drift.Find(r.against(m, applied, known, classes)), nil
	}
	m, found, err := look()
	if err != nil {
		return fail(err)
	}
	in := adopt.Input{
		Files: r.opts.Files, Dir: w.Dir, Plan: m.plan, Addresses: o.Addresses,
		Engine: w.Engine, VarFiles: w.VarFiles, Shared: sharedWith(r.opts.Set.Workspaces, w),
	}
	verdict := drift.Decide(found, policy, r.opts.Now())
	for _, j := range verdict.Findings {
		if !j.Ignored || len(o.Addresses) > 0 {
			in.Findings = append(in.Findings, j.Finding)
		}
	}
	a := &Adoption{}
	res.Receipt, res.Plan, res.Adoption = m.receipt, m.plan, a
	res.Drift = &DriftResult{Verdict: verdict, Remaining: remaining(verdict)}
	for range proofs {
		edits := adopt.Edit(in)
		a.Adopted, a.Left, a.Files = edits.Adopted, edits.Left, edits.Files
		if len(edits.Files) == 0 {
			break
		}
		vain, err := r.prove(ctx, s, a, o.Keep, found, look, &res)
		if err != nil {
			a.Refused, a.Adopted, a.Files, a.Before = err, nil, nil, nil
			if ctx.Err() != nil {
				return fail(err)
			}
			break
		}
		if len(vain) == 0 {
			break
		}
		in.Refused = append(in.Refused, vain...)
		a.Adopted, a.Files, a.Before = nil, nil, nil
		a.Left = append(a.Left, vain...)
	}
	if len(a.Left) > 0 || a.Refused != nil {
		res.Status = Drifted
	}
	return res
}

// prove writes the files, plans, and puts them back unless all is well and they
// are to be kept. In vain are those places that the plan still shows; an error
// says why none of it may stay.
func (r *Runner) prove(ctx context.Context, s *site, a *Adoption, keep bool, found []drift.Finding, look func() (*made, []drift.Finding, error), res *Result) (vain []adopt.Left, err error) {
	back, before, err := r.write(a.Files)
	a.Before = before
	proved := false
	defer func() {
		if proved && keep {
			return
		}
		if failed := back(); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	if err != nil {
		return nil, err
	}
	r.observe(s.workspace, PhaseVerify)
	_, left, err := look()
	if err != nil {
		return nil, fmt.Errorf("what was written could not be planned, and was put back: %w", err)
	}
	vain, more, outputs := compareAdopted(found, left, a.Adopted)
	if more != "" {
		return nil, fmt.Errorf("what was written was put back, because the plan would then also %s", more)
	}
	if len(vain) > 0 {
		return vain, nil
	}
	for _, name := range outputs {
		res.Notes = append(res.Notes, fmt.Sprintf("The output `%s` follows what was adopted: it changes with the next apply.", name))
	}
	proved = true
	return nil, nil
}

// compareAdopted holds the plan that was made after the edit against the one
// from before: what was adopted must be gone, and nothing may have come up.
// Outputs show what is real, so they may change.
func compareAdopted(before, after []drift.Finding, adopted []adopt.Adopted) (vain []adopt.Left, more string, outputs []string) {
	for _, f := range after {
		if f.Action() == "no-op" {
			continue
		}
		if f.Type == "output" {
			outputs = append(outputs, f.Name)
			continue
		}
		outputs = append(outputs, f.Outputs...)
		i := slices.IndexFunc(before, func(b drift.Finding) bool {
			return b.Address == f.Address && b.Deposed == f.Deposed && b.Action() != "no-op"
		})
		whole := slices.ContainsFunc(adopted, func(a adopt.Adopted) bool { return a.Address == f.Address && a.Attribute == "" })
		switch {
		case whole && f.Action() == "forget":
			continue // the next apply takes out of the state what is gone already
		case i < 0:
			return nil, f.Action() + " " + f.Address, nil
		case f.Action() != before[i].Action() && (f.Action() != "update" || before[i].Action() != "replace"):
			return nil, f.Action() + " " + f.Address + ", and not " + before[i].Action() + " it", nil
		}
		inexplicable := true // only what the provider computes is left: something else is the matter
		for _, attribute := range f.Attributes {
			if attribute.Consequence {
				continue
			}
			inexplicable = false
			if !slices.ContainsFunc(before[i].Attributes, func(b drift.Attribute) bool { return related(b.Path, attribute.Path) }) {
				return nil, "change " + attribute.Path + " of " + f.Address, nil
			}
		}
		for _, place := range adopted {
			if place.Address != f.Address {
				continue
			}
			if place.Attribute == "" || inexplicable || slices.ContainsFunc(f.Attributes, func(b drift.Attribute) bool {
				return !b.Consequence && related(b.Path, place.Attribute)
			}) {
				vain = append(vain, adopt.Left{Place: place.Place, Why: "it was written, and the plan still shows a difference"})
			}
		}
	}
	slices.Sort(outputs)
	return vain, "", slices.Compact(outputs)
}

// related reports whether one path is the other, or leads into it.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// sharedWith are the directories and files of values that other workspaces
// read, with their names. Two workspaces of one directory share all of it but
// the files that only one of them names.
func sharedWith(all []*workspaces.Workspace, w *workspaces.Workspace) map[string][]string {
	shared := map[string][]string{}
	for _, other := range all {
		if other.Name == w.Name || other.Removed {
			continue
		}
		places := append([]string{other.Dir}, other.Modules...)
		for _, name := range other.VarFiles {
			places = append(places, path.Join(other.Dir, name))
		}
		slices.Sort(places)
		for _, place := range slices.Compact(places) {
			shared[place] = append(shared[place], other.Name)
		}
	}
	return shared
}

// write puts edited files in place, and returns what puts the old ones back.
// Back heeds no cancelled context, and leaves alone what somebody else has
// changed meanwhile.
func (r *Runner) write(files map[string][]byte) (back func() error, before map[string][]byte, err error) {
	before = map[string][]byte{}
	var done []string
	modes := map[string]fs.FileMode{}
	in := func(name string) string { return filepath.Join(r.opts.Root, filepath.FromSlash(name)) }
	back = func() error {
		var failed error
		for _, name := range done {
			now, err := os.ReadFile(in(name))
			if err == nil && !bytes.Equal(now, files[name]) {
				err = errors.New("it was changed by somebody else meanwhile")
			}
			if err == nil {
				err = renameio.WriteFile(in(name), before[name], modes[name])
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("put %s back as it was: %w", name, err))
			}
		}
		return failed
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	for _, name := range names {
		info, err := os.Lstat(in(name))
		if err != nil {
			return back, before, fmt.Errorf("edit %s: %w", name, err)
		}
		read, err := fs.ReadFile(r.opts.Files, name)
		if err != nil {
			return back, before, fmt.Errorf("edit %s: %w", name, err)
		}
		now, err := os.ReadFile(in(name))
		if err != nil {
			return back, before, fmt.Errorf("edit %s: %w", name, err)
		}
		if !info.Mode().IsRegular() || !bytes.Equal(now, read) {
			return back, before, fmt.Errorf("edit %s: it is not what was read a moment ago: try again", name)
		}
		before[name], modes[name] = now, info.Mode().Perm()
		if err := renameio.WriteFile(in(name), files[name], modes[name]); err != nil {
			return back, before, fmt.Errorf("edit %s: %w", name, err)
		}
		done = append(done, name)
	}
	return back, before, nil
}
