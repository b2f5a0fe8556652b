// Package adopt writes into the configuration what was changed outside, where
// reality is right and Git is to follow.
//
// [Edit] takes the findings of a sweep and the plan that they are from. For
// each attribute that was changed outside it goes from the resource's address
// to the block that declares it, through the calls of local modules, and to the
// expression that sets it. If that is a literal, or a reference that leads to
// one, it is replaced by what is real; of a list, a map or nested blocks only
// those elements are touched that differ. A resource that was deleted outside
// becomes a removed block. All other bytes of the files stay as they are,
// comments and layout included; only a file that was formatted before is
// formatted again.
//
// What cannot be expressed is listed with the reason: a [Left]. Nothing is
// guessed at. A literal that serves several instances is changed only if all of
// them changed alike, a file that another workspace reads is not touched, and
// sensitive values are never written.
//
// The package is pure: it reads an [io/fs.FS] and returns what the files are to
// be. Whether that is right only a plan can prove; the caller makes it.
package adopt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/plumbline-dev/plumbline/drift"
)

// Input is what [Edit] looks at.
type Input struct {
	// Files is the tree that the configuration is in, Dir the slash path of the
	// root module in it.
	Files fs.FS
	Dir   string
	// Plan is the plan that Findings are from.
	Plan     *tfjson.Plan
	Findings []drift.Finding
	// Addresses chooses among the findings; none means all. A resource stands
	// for its instances, and a module for all that is in it.
	Addresses []string
	// Engine is "terraform" or "tofu", which decides what files are read.
	Engine string
	// VarFiles are the files of values that Terraform is given, as slash paths
	// relative to Dir.
	VarFiles []string
	// Shared are the directories and files that other workspaces read as well,
	// with the names of those workspaces.
	Shared map[string][]string
	// Refused are places that are not to be adopted, with the reason: a plan
	// has shown that writing them does not help.
	Refused []Left
}

// Place is one attribute of a resource. Attribute is "" for the resource as a
// whole.
type Place struct {
	Address   string `json:"address"`
	Attribute string `json:"attribute,omitempty"`
}

// Adopted is a place that the configuration now agrees with.
type Adopted struct {
	Place
	// Files are those that were edited for it.
	Files []string `json:"files"`
}

// Left is a place that could not be adopted. Why is a clause without a capital
// and a full stop, and holds no values.
type Left struct {
	Place
	Why string `json:"why"`
}

// Edits are what comes of [Edit].
type Edits struct {
	// Files are those that change, as they are to be, by slash path.
	Files   map[string][]byte
	Adopted []Adopted
	Left    []Left
}

// wish is one place that is to be adopted, and what it takes.
type wish struct {
	Place
	instance *instance
	steps    []step
	edits    []edit
}

type editor struct {
	tree
	changes map[string]*tfjson.ResourceChange
	order   []string
	wishes  []wish
	left    []Left
}

// Edit works out how the configuration has to change so that it agrees with
// what was changed outside. The same input always gives the same output.
func Edit(in Input) Edits {
	e := &editor{
		tree:    tree{in: in, dirs: map[string][]*file{}, files: map[string]*file{}},
		changes: map[string]*tfjson.ResourceChange{},
	}
	if in.Plan != nil {
		for _, rc := range in.Plan.ResourceChanges {
			if rc != nil && rc.Change != nil && rc.DeposedKey == "" && rc.Mode == tfjson.ManagedResourceMode {
				e.changes[rc.Address] = rc
				e.order = append(e.order, rc.Address)
			}
		}
	}
	found := slices.Clone(in.Findings)
	slices.SortStableFunc(found, func(a, b drift.Finding) int { return cmp.Compare(a.Address, b.Address) })
	for _, f := range found {
		if Chosen(f.Address, in.Addresses) && f.Deposed == "" {
			e.finding(f)
		}
	}
	for _, address := range in.Addresses {
		e.answer(address)
	}
	return e.write()
}

// Chosen reports whether an address is one of those that were asked for, an
// instance of one, or lies in one that is a module. None means all.
func Chosen(address string, wanted []string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		rest, ok := strings.CutPrefix(address, w)
		return ok && (rest == "" || rest[0] == '[' || rest[0] == '.')
	})
}

func (e *editor) leave(p Place, why error) {
	e.left = append(e.left, Left{Place: p, Why: why.Error()})
}

// refused is why a plan has shown that a place is better left.
func (e *editor) refused(p Place) error {
	for _, l := range e.in.Refused {
		if l.Place == p {
			return errors.New(l.Why)
		}
	}
	return nil
}

// finding makes wishes of one finding.
func (e *editor) finding(f drift.Finding) {
	rc := e.changes[f.Address]
	if rc == nil || f.Action() == "no-op" {
		return // nothing in the configuration stands against what is real
	}
	if f.Outside == "deleted" && f.Action() == "create" {
		if f.Cause == drift.CauseOutside {
			e.deleted(Place{Address: f.Address}, rc)
		}
		return
	}
	if len(f.Follows) > 0 && f.Outside == "" {
		return // it goes as those go that it follows
	}
	for _, a := range f.Attributes {
		if a.Cause == drift.CauseOutside && !a.Consequence {
			e.attribute(Place{Address: f.Address, Attribute: a.Path}, rc, a)
		}
	}
}

// answer says of an address that was asked for, and of which nothing can be
// adopted, what is the matter with it.
func (e *editor) answer(address string) {
	wanted := []string{address}
	for _, w := range e.wishes {
		if Chosen(w.Address, wanted) {
			return
		}
	}
	for _, l := range e.left {
		if Chosen(l.Address, wanted) {
			return
		}
	}
	why := errors.New("nothing has changed there")
	for _, f := range e.in.Findings {
		switch {
		case !Chosen(f.Address, wanted):
		case f.Action() == "no-op":
			why = errors.New("nothing in the configuration stands against what is real")
		case f.Action() == "forget":
			why = errors.New("the next apply takes it out of the state")
		case len(f.Follows) > 0 && f.Outside == "":
			why = fmt.Errorf("it only changes because %s does", strings.Join(f.Follows, ", "))
		default:
			why = fmt.Errorf("its cause is %s: only what was changed outside can be adopted", f.Cause)
		}
	}
	e.leave(Place{Address: address}, why)
}

// attribute makes a wish of one attribute, or says why it cannot be one.
func (e *editor) attribute(p Place, rc *tfjson.ResourceChange, a drift.Attribute) {
	w, err := e.wish(p, rc, a)
	if err != nil {
		e.leave(p, err)
		return
	}
	e.wishes = append(e.wishes, w)
}

func (e *editor) wish(p Place, rc *tfjson.ResourceChange, a drift.Attribute) (w wish, err error) {
	if err := e.refused(p); err != nil {
		return w, err
	}
	if a.Unknown {
		return w, errors.New("what the configuration asks for is known only after an apply, so it is not a literal")
	}
	steps, ok := parsePath(a.Path)
	if !ok || steps[0].isIndex {
		return w, errors.New("its path cannot be read")
	}
	if a.Sensitive && e.secret(rc, steps) {
		return w, errors.New("its value is sensitive and is not written into files")
	}
	in, err := e.instance(rc)
	if err != nil {
		return w, err
	}
	if _, err = e.editsFor(in, [][]step{steps}); err != nil {
		return w, err
	}
	if in, err = e.alike(in, steps); err != nil {
		return w, err
	}
	w = wish{Place: p, instance: in, steps: steps}
	w.edits, err = e.editsFor(in, [][]step{steps})
	return w, err
}

// editsFor are the edits that adopt some places of one resource.
func (e *editor) editsFor(in *instance, places [][]step) ([]edit, error) {
	was, ok := in.rc.Change.After.(map[string]any)
	if !ok {
		return nil, errors.New("the plan does not say what the configuration asks for")
	}
	var now any = was
	for _, steps := range places {
		now = with(now, steps, lookup(in.rc.Change.Before, steps))
	}
	return e.body(in.module, in.file, in.block, was, now.(map[string]any))
}

// alike makes sure that all instances which one literal serves changed in the
// same way, and returns the first of them to stand for all.
func (e *editor) alike(in *instance, steps []step) (*instance, error) {
	where := e.origin(in, steps[0].name)
	var first *instance
	for _, address := range e.order {
		rc := e.changes[address]
		if rc.Type != in.rc.Type || rc.Name != in.rc.Name {
			continue
		}
		other, err := e.instance(rc)
		if err != nil || other.block != in.block || e.origin(other, steps[0].name) != where {
			continue
		}
		if rc.Change.Actions.Delete() {
			continue // it has no place in the configuration any more
		}
		if rc.Change.Before == nil || !equal(lookup(rc.Change.Before, steps), lookup(in.rc.Change.Before, steps)) {
			return nil, fmt.Errorf("the same configuration serves %s, which is not like it", rc.Address)
		}
		if first == nil {
			first = other
		}
	}
	return cmp.Or(first, in), nil
}

// origin is the expression that sets an attribute, wherever that is; that of
// nested blocks and of what is not set is the resource's own block.
func (e *editor) origin(in *instance, attribute string) any {
	if a := in.block.Body.Attributes[attribute]; a != nil {
		return e.follow(spot{module: in.module, file: in.file, expr: a.Expr}).expr
	}
	return in.block
}

// write puts the wishes together. What cannot be written together is left.
func (e *editor) write() Edits {
	type group struct {
		instance *instance
		places   [][]step
		wishes   []wish
	}
	var groups []*group
	var whole []wish
	for _, w := range e.wishes {
		if w.Attribute == "" {
			whole = append(whole, w)
			continue
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return g.instance.rc == w.instance.rc })
		if i < 0 {
			i, groups = len(groups), append(groups, &group{instance: w.instance})
		}
		groups[i].wishes = append(groups[i].wishes, w)
		if !slices.ContainsFunc(groups[i].places, func(s []step) bool { return slices.Equal(s, w.steps) }) {
			groups[i].places = append(groups[i].places, w.steps)
		}
	}
	out := Edits{Files: map[string][]byte{}}
	var all []edit
	add := func(edits []edit, wishes []wish) {
		together := slices.Clone(all)
		for _, one := range edits {
			if !slices.Contains(all, one) { // another address may lead to the same literal
				together = append(together, one)
			}
		}
		files, err := applyAll(together)
		for _, w := range wishes {
			if err != nil {
				e.leave(w.Place, err)
				continue
			}
			out.Adopted = append(out.Adopted, Adopted{Place: w.Place, Files: filesOf(w.edits)})
		}
		if err == nil {
			all, out.Files = together, files
		}
	}
	for _, g := range groups {
		edits, err := e.editsFor(g.instance, g.places)
		if err != nil {
			for _, w := range g.wishes {
				e.leave(w.Place, err)
			}
			continue
		}
		add(edits, g.wishes)
	}
	for _, w := range whole {
		add(w.edits, []wish{w})
	}
	byPlace := func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Attribute, b.Attribute))
	}
	slices.SortStableFunc(out.Adopted, func(a, b Adopted) int { return byPlace(a.Place, b.Place) })
	slices.SortStableFunc(e.left, func(a, b Left) int { return byPlace(a.Place, b.Place) })
	out.Left = e.left
	return out
}

// applyAll makes all edits, file by file. A file that stays the same is left out.
func applyAll(edits []edit) (map[string][]byte, error) {
	byFile := map[*file][]edit{}
	for _, one := range edits {
		byFile[one.file] = append(byFile[one.file], one)
	}
	files := map[string][]byte{}
	for f, edits := range byFile {
		result, err := f.apply(edits)
		if err != nil {
			return nil, err
		}
		if string(result) != string(f.src) {
			files[f.name] = result
		}
	}
	return files, nil
}

func filesOf(edits []edit) []string {
	names := []string{}
	for _, one := range edits {
		names = append(names, one.file.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
