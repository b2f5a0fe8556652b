// Package drift says what has changed behind Git's back, why, and whether it may be corrected.
//
// A [Finding] begins as one entry of a Terraform plan that was made to look, not to apply. [Find] reads the plan together
// with the [Facts] of the last apply and gives each finding a class (how much hangs on it), a cause (why the plan is not
// empty), and its attributes, each with a cause of its own. [Decide] then holds the findings against a [Policy] and returns
// a [Verdict]: for every finding whether it may be corrected, and the reason in plain words. The caller makes a plan that
// targets [Verdict.Targets]; [Verdict.Check] compares that plan with the verdict, resource by resource and attribute by
// attribute, and names whatever goes beyond it. Only a plan that passes may be applied.
//
// Everything here is pure: no clock, no files, no Terraform. The rule throughout is that doubt is not permission. Only a
// finding that is `outside` through and through can be corrected; whatever cannot be told apart is reported and held.
// Values that Terraform marks as sensitive are named and never shown, nor are they part of any key.
//
// The fields of plan JSON are read as https://developer.hashicorp.com/terraform/internals/json-format describes them.
package drift

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Facts are the circumstances of a plan or an apply, as its receipt has them.
type Facts struct {
	// Commit is the commit that the files are of, and Dirty says that there were changes beside it.
	Commit string
	Dirty  bool
	// InputsDigest is the digest of the files that the workspace reads. It serves best without the lock file and without
	// the versions of Terraform and its providers, which are compared on their own: otherwise an upgrade can be told from
	// a change in Git only where the commit is the same and nothing is dirty.
	InputsDigest string
	// Engine is "terraform" or "tofu".
	Engine string
	// TerraformVersion is the engine's version. In [Input.Current] it may be left empty: the plan says it too.
	TerraformVersion string
	// Providers are the versions in use by full address, such as registry.terraform.io/hashicorp/aws.
	Providers map[string]string
	// Serial and Lineage are those of the state: after the apply for a baseline, read by the plan for the current facts.
	Serial  uint64
	Lineage string
	// Partial says, of a baseline, that the apply left something undone, because it failed midway or was targeted while
	// there was more to do. What such an apply did not touch counts as not applied.
	Partial bool
}

// Input is what [Find] looks at.
type Input struct {
	// Plan is a plan of everything, not a targeted one. Nil finds nothing.
	Plan *tfjson.Plan
	// Baseline are the facts of the last apply. Nil means that none is on record, or none that says anything about the
	// state as it is: then only what Terraform itself calls drift is outside, and all the rest counts as unapplied.
	Baseline *Facts
	// Current are the facts of Plan.
	Current Facts
	// Perpetual are keys of findings that a plan showed right after a clean apply: noise of a provider.
	Perpetual []string
	// Supposed are keys of findings that may be noise: they were there right after the last apply, and only another apply
	// will tell. They are held with that doubt.
	Supposed []string
	// Classes sets the class of resource types, by name or by a pattern with *, before the built-in table.
	Classes map[string]Class
}

// Finding is one resource, or one output, for which the plan is not empty.
type Finding struct {
	// Address is the resource instance as Terraform writes it, or output.NAME for an output of the root module.
	Address string `json:"address"`
	// Deposed is the key of a deposed object of that instance, when the finding is about that object.
	Deposed string `json:"deposed,omitempty"`
	// Type and Name are those of the resource; "output" and the name for an output.
	Type         string `json:"type"`
	Name         string `json:"name"`
	ProviderName string `json:"provider_name,omitempty"`
	Class        Class  `json:"class"`
	Cause        Cause  `json:"cause"`
	// Actions are what an apply of the whole plan would do, in the words create, update, replace, delete, forget, move,
	// import, or no-op: a replace is one word in whichever order it destroys and creates, and a move or an import comes
	// before what is done besides. The last one decides about the ladder. [no-op] is drift that nothing would correct.
	Actions []string `json:"actions"`
	// Outside is what happened to the real object: "deleted", "changed", or "" if nothing did.
	Outside string `json:"outside,omitempty"`
	// Attributes are what differs. None for what is created with no record of how it was, or deleted.
	Attributes []Attribute `json:"attributes,omitempty"`
	// Follows are the addresses of findings that drag this one along. Several instances of one resource appear as that
	// resource, without keys; so they do in Needs.
	Follows []string `json:"follows,omitempty"`
	// Needs are the addresses of findings that this resource depends on: Terraform takes them along when it is asked to
	// correct this one.
	Needs []string `json:"needs,omitempty"`
	// Outputs are the names of root outputs that change with this resource.
	Outputs []string `json:"outputs,omitempty"`
	// Detail says in plain words what happened.
	Detail string `json:"detail"`
	// Agreed says that what was changed outside is what the configuration asks for by now: there is nothing to do or to know.
	Agreed bool `json:"agreed,omitempty"`
	// Doubt says why an outside finding is not certain enough to be corrected; empty if it is.
	Doubt string `json:"doubt,omitempty"`
	// Who are traces of who changed it, the newest first. [Find] finds none: the caller asks, where there is somebody to ask.
	Who []Trace `json:"who,omitempty"`
	// Key identifies the finding over time: address, last action and attribute paths, but no values.
	Key string `json:"key"`

	// wanted holds a digest of each value that the plan would set, by path, for Verdict.Check. It is nil for findings that
	// [Find] did not make.
	wanted map[string]string
}

// Attribute is one place in a resource that differs.
type Attribute struct {
	// Path is written as in configuration: tags.env, rule[0].port. A list or set whose elements cannot be told apart
	// without the provider's schema is one attribute.
	Path string `json:"path"`
	// Before is what is real now and After what the configuration asks for, as JSON on one line, long ones cut. Two
	// exceptions: when nothing would be corrected (no-op), Before is what the state recorded and After what is real; and
	// when a deleted object is created again, Before is what the state recorded. Both are "(sensitive)" for sensitive values.
	Before string `json:"before"`
	After  string `json:"after"`
	// Sensitive values are named, never shown.
	Sensitive bool `json:"sensitive,omitempty"`
	// Unknown says that After will be known only after the apply.
	Unknown bool  `json:"unknown,omitempty"`
	Cause   Cause `json:"cause"`
	// Consequence says that the provider computes this one: it changes because the others do, and has their cause.
	Consequence bool `json:"consequence,omitempty"`
}

// Action is the word that decides about the ladder: the last of Actions, "no-op" if there is none.
func (f Finding) Action() string {
	if len(f.Actions) == 0 {
		return "no-op"
	}
	return f.Actions[len(f.Actions)-1]
}

// Find lists the findings of a plan, in the order of the plan, outputs last. An empty plan has none.
func Find(in Input) []Finding {
	if in.Plan == nil {
		return nil
	}
	s := newSweep(in)
	var findings []Finding
	for _, i := range s.items {
		s.explain(i)
		s.describe(i)
	}
	s.outputs()
	for _, i := range s.items {
		slices.Sort(i.Outputs)
		i.Outputs = slices.Compact(i.Outputs)
		findings = append(findings, i.Finding)
	}
	return findings
}

// item is a finding in the making.
type item struct {
	Finding
	change   *tfjson.ResourceChange // what is planned; nil if nothing is
	drift    *tfjson.ResourceChange // what Terraform found; nil if nothing
	deferred string                 // why Terraform put the change off
	config   string                 // address in the configuration, without instance keys
	deltas   []delta                // beside Attributes
	answered bool                   // the plan is the provider's answer to what was changed outside
	state    explained
}

type explained int

const (
	notYet explained = iota
	underWay
	done
)

// planned reports whether an apply would do anything.
func (i *item) planned() bool { return i.Action() != "no-op" }

// sweep is what one call of Find works on.
type sweep struct {
	in            Input
	configuration *configuration
	items         []*item
	byConfig      map[string][]*item         // by address without instance keys
	recorded      map[string][]string        // dependencies in the state, likewise
	pending       map[string]bool            // data sources that are read only during the apply, likewise
	relevantData  bool                       // Terraform says that a data source contributes to the plan
	relevant      map[string]bool            // resources that do, without instance keys
	noise         map[string]map[string]bool // address → paths known as noise
	noiseKeys     map[string]bool
	supposed      map[string]map[string]bool // address → paths that may be noise
	supposedKeys  map[string]bool
	groups        map[string]reason   // what followed has answered
	needed        map[string][]string // what needs has answered
}

func newSweep(in Input) *sweep {
	s := &sweep{
		in: in, configuration: newConfiguration(in.Plan.Config),
		byConfig: map[string][]*item{}, recorded: map[string][]string{}, pending: map[string]bool{},
		relevant: map[string]bool{}, noise: map[string]map[string]bool{}, noiseKeys: map[string]bool{},
		supposed: map[string]map[string]bool{}, supposedKeys: map[string]bool{},
		groups: map[string]reason{}, needed: map[string][]string{},
	}
	if s.in.Current.TerraformVersion == "" {
		s.in.Current.TerraformVersion = in.Plan.TerraformVersion
	}
	if in.Plan.PriorState != nil && in.Plan.PriorState.Values != nil {
		s.remember(in.Plan.PriorState.Values.RootModule)
	}
	for _, attribute := range in.Plan.RelevantAttributes {
		address := withoutKeys(attribute.Resource)
		steps := split(strings.TrimPrefix(address, moduleOf(address)+"."))
		s.relevantData = s.relevantData || len(steps) > 0 && steps[0] == "data"
		s.relevant[address] = true
	}
	for _, key := range in.Perpetual {
		s.noiseKeys[key] = true
		note(s.noise, key)
	}
	for _, key := range in.Supposed {
		s.supposedKeys[key] = true
		note(s.supposed, key)
	}
	s.collect()
	return s
}

// note takes the attributes of a finding's key into a table by address.
func note(table map[string]map[string]bool, key string) {
	address, paths := parseKey(key)
	if table[address] == nil {
		table[address] = map[string]bool{}
	}
	for _, path := range paths {
		table[address][path] = true
	}
}

// remember keeps the dependencies that the state records.
func (s *sweep) remember(m *tfjson.StateModule) {
	if m == nil {
		return
	}
	for _, r := range m.Resources {
		if r != nil {
			address := withoutKeys(r.Address)
			s.recorded[address] = append(s.recorded[address], r.DependsOn...)
		}
	}
	for _, child := range m.ChildModules {
		s.remember(child)
	}
}

// collect makes an item of every entry of the plan that says anything.
func (s *sweep) collect() {
	drifted := map[string]*tfjson.ResourceChange{}
	var order []string
	for _, rc := range s.in.Plan.ResourceDrift {
		if rc != nil && rc.Change != nil && rc.Mode != tfjson.DataResourceMode && drifted[rc.Address] == nil {
			drifted[rc.Address] = rc
			order = append(order, rc.Address)
		}
	}
	seen := map[string]bool{}
	for _, rc := range s.in.Plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		if rc.Mode == tfjson.DataResourceMode {
			s.pending[withoutKeys(rc.Address)] = rc.Change.Actions.Read()
			continue
		}
		i := &item{change: rc}
		if rc.DeposedKey == "" {
			seen[rc.Address] = true
			i.drift = drifted[rc.Address]
		}
		s.add(i, rc)
	}
	for _, deferred := range s.in.Plan.DeferredChanges {
		if deferred == nil || deferred.ResourceChange == nil || deferred.ResourceChange.Change == nil {
			continue
		}
		rc := deferred.ResourceChange
		if rc.Mode == tfjson.DataResourceMode {
			s.pending[withoutKeys(rc.Address)] = true
			continue
		}
		seen[rc.Address] = true
		s.add(&item{change: rc, drift: drifted[rc.Address], deferred: cmp.Or(deferred.Reason, "unknown")}, rc)
	}
	for _, address := range order {
		if !seen[address] {
			s.add(&item{drift: drifted[address]}, drifted[address])
		}
	}
}

// add completes an item and keeps it if there is anything to tell.
func (s *sweep) add(i *item, rc *tfjson.ResourceChange) {
	i.Address, i.Deposed, i.Type, i.Name = rc.Address, rc.DeposedKey, rc.Type, rc.Name
	i.ProviderName = rc.ProviderName
	i.Actions = actions(i.change)
	i.config = withoutKeys(rc.Address)
	if i.drift != nil {
		i.Outside = "changed"
		if i.drift.Change.Actions.Delete() {
			i.Outside = "deleted"
		} else if i.drift.Change.Actions.NoOp() {
			i.Outside = "" // a refresh-only plan lists what was only moved
		}
	}
	s.compare(i)
	i.Agreed = !i.planned() && i.Outside == "changed" && s.agreed(i)
	if !i.planned() && (i.Outside == "" || i.Outside == "changed" && len(i.deltas) == 0) {
		return
	}
	i.Class = classOf(rc, s.in.Classes)
	s.items = append(s.items, i)
	s.byConfig[i.config] = append(s.byConfig[i.config], i)
}

// agreed reports whether all that was changed outside, and is not changed back, is what the configuration asks for by a
// literal: Git and reality agree, and only the state has not heard of it. Where something else stands, a plan cannot tell
// that from ignore_changes.
func (s *sweep) agreed(i *item) bool {
	set := false
	for _, d := range i.deltas {
		e := s.expression(i, d)
		switch {
		case e == nil && !zero(d.before) && !zero(d.after): // what the API computes changes along, such as an etag
		case len(d.steps) > 0 && constant(e) && e.ConstantValue != nil && same(d.steps[1:].lookup(e.ConstantValue), d.after):
			set = true
		default:
			return false
		}
	}
	return set
}

// actions translates what is planned for a resource.
func actions(rc *tfjson.ResourceChange) []string {
	if rc == nil {
		return []string{"no-op"}
	}
	var words []string
	if rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address {
		words = append(words, "move")
	}
	if rc.Change.Importing != nil {
		words = append(words, "import")
	}
	planned := rc.Change.Actions
	contains := func(a tfjson.Action) bool { return slices.Contains(planned, a) }
	switch {
	case contains(tfjson.ActionCreate) && len(planned) > 1:
		words = append(words, "replace") // with delete in either order, or with forget
	case contains(tfjson.ActionDelete):
		words = append(words, "delete")
	case contains(tfjson.ActionForget):
		words = append(words, "forget")
	case contains(tfjson.ActionCreate):
		words = append(words, "create")
	case contains(tfjson.ActionUpdate):
		words = append(words, "update")
	case len(planned) == 0 || contains(tfjson.ActionNoop) || contains(tfjson.ActionRead):
	default:
		words = append(words, "delete") // a word of a later Terraform: the worst is assumed
	}
	if len(words) == 0 {
		words = append(words, "no-op")
	}
	return words
}

// compare finds what differs for an item.
func (s *sweep) compare(i *item) {
	switch {
	case i.planned() && (i.Action() == "update" || i.Action() == "replace"):
		i.deltas = changeSides(i.change.Change).diff()
	case i.planned() && i.Action() == "create" && i.Outside == "deleted":
		// Created again as it was, or otherwise than it was?
		was, will := i.drift.Change, i.change.Change
		all := sides{
			before: was.Before, after: will.After, unknown: will.AfterUnknown,
			beforeMask: was.BeforeSensitive, afterMask: will.AfterSensitive,
		}.diff()
		for _, d := range all {
			if !s.computed(i, d) {
				i.deltas = append(i.deltas, d)
			}
		}
	case !i.planned() && i.Outside == "changed":
		for _, d := range changeSides(i.drift.Change).diff() {
			if !same(d.before, d.after) {
				i.deltas = append(i.deltas, d)
			}
		}
	}
	i.wanted = wanted(i)
	for _, d := range i.deltas {
		if i.drift != nil && (d.steps.marks(i.drift.Change.BeforeSensitive) || d.steps.marks(i.drift.Change.AfterSensitive)) {
			d.sensitive = true // what only the state marks is as secret as what the plan marks
		}
		i.Attributes = append(i.Attributes, attribute(d.steps.String(), d))
	}
}

// attribute is a difference as it is shown.
func attribute(path string, d delta) Attribute {
	a := Attribute{Path: path, Before: "(sensitive)", After: "(sensitive)", Sensitive: d.sensitive, Unknown: d.unknown}
	switch {
	case d.sensitive:
	case d.unknown:
		a.Before, a.After = show(d.before), "(known after apply)"
	default:
		a.Before, a.After = show(d.before), show(d.after)
	}
	return a
}

// changeSides are the two sides of a planned or detected change.
func changeSides(c *tfjson.Change) sides {
	return sides{
		before: c.Before, after: c.After, unknown: c.AfterUnknown,
		beforeMask: c.BeforeSensitive, afterMask: c.AfterSensitive,
	}
}

// computed reports whether a difference between an object that was deleted and the one to be created in its place is only
// that the provider has not computed its part yet.
func (s *sweep) computed(i *item, d delta) bool {
	if s.expression(i, d) != nil {
		return !d.unknown && same(d.before, d.after)
	}
	return d.unknown || same(d.before, d.after) || d.after == nil && (zero(d.before) || s.settled())
}

// expression is what the configuration says of the attribute that a difference is in; nil if it says nothing.
func (s *sweep) expression(i *item, d delta) *tfjson.Expression {
	if r := s.configuration.resources[i.config]; r != nil {
		return r.Expressions[d.steps.top()]
	}
	return nil
}

// outputs attaches the outputs that change to the findings they change with, and makes findings of the others.
func (s *sweep) outputs() {
	resources := len(s.items)
	for _, name := range slices.Sorted(maps.Keys(s.in.Plan.OutputChanges)) {
		change := s.in.Plan.OutputChanges[name]
		if change == nil || len(change.Actions) == 0 || change.Actions.NoOp() {
			continue
		}
		i := &item{Finding: Finding{
			Address: "output." + name, Type: "output", Name: name, Class: ClassResource,
			Actions: actions(&tfjson.ResourceChange{Change: change}),
		}}
		var from sources
		var expression *tfjson.Expression
		if root := s.configuration.modules[""]; root != nil && root.config.Outputs[name] != nil {
			expression = root.config.Outputs[name].Expression
			from = s.configuration.trace(scope{module: root}, expression)
		}
		dragged := false
		for _, other := range s.items[:resources] {
			if from.managed[other.config] != nil || from.opaque && s.relevant[other.config] {
				other.Outputs = append(other.Outputs, name)
				dragged = true
			}
		}
		if dragged {
			continue
		}
		i.deltas = []delta{{
			before: change.Before, after: change.After, unknown: change.AfterUnknown == true || marked(change.AfterUnknown),
			sensitive: marked(change.BeforeSensitive) || marked(change.AfterSensitive),
		}}
		i.Attributes = []Attribute{attribute("value", i.deltas[0])}
		s.explainOutput(i, expression, from)
		s.describe(i)
		s.items = append(s.items, i)
	}
}
