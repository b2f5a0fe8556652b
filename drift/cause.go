package drift

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Cause says why a plan is not empty.
//
// A finding with several reasons has the cause that comes first in this order: unapplied, upgrade, data, outside,
// perpetual. So what a person has to do comes before what a machine could do, and noise hides nothing. Its attributes keep
// their own causes.
type Cause string

// The causes.
const (
	// CauseOutside: something other than Terraform changed or deleted the real object.
	CauseOutside Cause = "outside"
	// CauseUnapplied: Git has moved on since the last apply, or the last apply did not finish.
	CauseUnapplied Cause = "unapplied"
	// CauseUpgrade: the configuration is the same, but Terraform or a provider is of another version.
	CauseUpgrade Cause = "upgrade"
	// CauseData: a data source gives another answer, or time has come round.
	CauseData Cause = "data"
	// CausePerpetual: the same plan comes back right after a clean apply. Noise of a provider.
	CausePerpetual Cause = "perpetual"
)

// precedence orders causes; the highest decides for a finding.
func (c Cause) precedence() int {
	return slices.Index([]Cause{CausePerpetual, CauseOutside, CauseData, CauseUpgrade, CauseUnapplied}, c)
}

// reason is why one attribute, or a resource as a whole, differs.
type reason struct {
	cause   Cause
	why     string   // in plain words
	doubt   string   // what keeps an outside cause from being certain
	follows []string // addresses of the findings that bring it about
}

// clockwork reports whether resources of a type come due by themselves: they leave the state, or ask to be replaced, when
// their time has come, which looks just as if somebody had touched them.
func clockwork(resourceType string) bool {
	switch resourceType {
	case "time_rotating", // hashicorp/time
		"tls_locally_signed_cert", "tls_self_signed_cert", // hashicorp/tls, early_renewal_hours
		"acme_certificate": // vancluever/acme, min_days_remaining
		return true
	}
	return false
}

// explain finds the cause of an item and of each of its attributes. Items that follow others have those explained first;
// in a circle, which Terraform does not allow within one plan, the one that closes it is left out.
func (s *sweep) explain(i *item) {
	if i.state != notYet {
		return
	}
	i.state = underWay
	var reasons []reason
	for n, d := range i.deltas {
		r, consequence := s.attribute(i, d)
		if consequence {
			i.Attributes[n].Consequence = true
			continue
		}
		i.Attributes[n].Cause = r.cause
		r.why = i.Attributes[n].Path + ": " + r.why
		reasons = append(reasons, r)
	}
	i.Key = keyOf(i.Finding)
	reasons = append(s.whole(i, len(reasons) > 0), reasons...)
	s.weigh(i, reasons)
	i.state = done
}

// weigh makes one cause of all reasons.
func (s *sweep) weigh(i *item, reasons []reason) {
	slices.SortStableFunc(reasons, func(a, b reason) int { return b.cause.precedence() - a.cause.precedence() })
	i.Cause = reasons[0].cause
	var whys, doubts []string
	for _, r := range reasons {
		whys = appendNew(whys, r.why)
		doubts = appendNew(doubts, r.doubt)
		for _, address := range r.follows {
			i.Follows = appendNew(i.Follows, address)
		}
	}
	if i.deferred != "" {
		doubts = appendNew(doubts, fmt.Sprintf("Terraform has put off planning it (%s)", i.deferred))
	}
	slices.Sort(i.Follows)
	i.Detail = strings.Join(whys, "; ")
	i.Doubt = strings.Join(doubts, "; ")
	for n := range i.Attributes {
		if i.Attributes[n].Consequence {
			i.Attributes[n].Cause = i.Cause
		}
	}
}

// whole lists the reasons that belong to a resource as a whole. It returns at least one if no attribute has any.
func (s *sweep) whole(i *item, explained bool) []reason {
	var reasons []reason
	if s.noiseKeys[i.Key] && len(i.Attributes) == 0 {
		return []reason{{cause: CausePerpetual, why: "the same plan came right after a clean apply"}}
	}
	if slices.Contains(i.Actions, "move") {
		reasons = append(reasons, reason{cause: CauseUnapplied, why: "moved from " + i.change.PreviousAddress + ", not applied yet"})
	}
	if slices.Contains(i.Actions, "import") {
		reasons = append(reasons, reason{cause: CauseUnapplied, why: "an import that is not applied yet"})
	}
	var said tfjson.ActionReason
	if i.change != nil {
		said = i.change.ActionReason
	}
	switch action := i.Action(); {
	case i.Deposed != "":
		why := "an old object, left behind by an apply that failed between creating its successor and destroying it"
		reasons = append(reasons, reason{cause: CauseUnapplied, why: why})
	case action == "no-op" && i.Outside == "deleted" || action == "create" && i.Outside == "deleted":
		if clockwork(i.Type) {
			reasons = append(reasons, reason{cause: CauseData, why: "its time has come"})
		} else {
			reasons = append(reasons, reason{cause: CauseOutside, why: "deleted outside Terraform"})
		}
	case action == "create" && !slices.Contains(i.Actions, "import"):
		reasons = append(reasons, s.appeared(i))
	case action == "delete" || action == "forget":
		from := s.multiplicity(i)
		if r, ok := s.follow(i, from, false); ok && s.settled() {
			reasons = append(reasons, r)
		} else {
			reasons = append(reasons, s.facts(i, from))
		}
	case said == tfjson.ActionReasonReplaceBecauseTainted:
		why := "marked as tainted: an apply did not finish creating it, or somebody asked for its replacement"
		reasons = append(reasons, reason{cause: CauseUnapplied, why: why})
	case said == tfjson.ActionReasonReplaceByTriggers:
		// The configuration in plan JSON does not list replace_triggered_by; its resources are among the dependencies.
		if r, ok := s.follow(i, s.dependencies(i), true); ok {
			reasons = append(reasons, r)
		} else {
			reasons = append(reasons, s.facts(i, sources{}))
		}
	}
	if len(reasons) == 0 && !explained {
		if r, ok := s.answered(i); ok {
			return []reason{r}
		}
		from := sources{}
		for n, d := range i.deltas {
			// Only what is known after apply: then something unknown was put in, and that is most often the time.
			if e := s.expression(i, d); e != nil && i.Attributes[n].Unknown {
				return []reason{{cause: CauseData, why: i.Attributes[n].Path + ": made by a function of time or chance, such as timestamp()"}}
			}
		}
		reasons = append(reasons, s.facts(i, from))
	}
	return reasons
}

// answered explains a change of which the configuration knows nothing: the object was changed outside, and the provider
// answers by computing values of its own anew. gavinbunney/kubectl works so. Of an object in the cluster it keeps two
// fingerprints: one as it was applied, one as it is. If they differ, the first is to be known only after the apply, which
// sends the same manifest again.
func (s *sweep) answered(i *item) (reason, bool) {
	action := i.Action()
	if i.Outside != "changed" || action != "update" && action != "replace" || len(i.deltas) == 0 || clockwork(i.Type) {
		return reason{}, false
	}
	for _, d := range i.deltas {
		if !d.unknown || s.expression(i, d) != nil {
			return reason{}, false
		}
	}
	if s.noiseKeys[i.Key] {
		return reason{cause: CausePerpetual, why: "the same plan came right after a clean apply"}, true
	}
	if s.facts(i, sources{}).cause != CausePerpetual {
		return reason{}, false // something else has changed since the last apply, too
	}
	touched := i.leftAlone()
	if len(touched) == 0 {
		return reason{}, false
	}
	i.answered = true
	why := strings.Join(touched, ", ") + ": changed outside Terraform, and the provider would undo that; what it sets is known only after the apply"
	return s.suppose(reason{cause: CauseOutside, why: why}, s.supposedKeys[i.Key]), true
}

// suppose is a reason with the doubt of what was there right after the last apply already.
func (s *sweep) suppose(r reason, supposed bool) reason {
	if supposed && r.cause == CauseOutside && r.doubt == "" {
		r.doubt = "it was there right after the last apply already, and may be noise of the provider: if it is there after the next apply, it is"
	}
	return r
}

// appeared explains a resource that is to be created though Terraform does not say that it was deleted.
func (s *sweep) appeared(i *item) reason {
	from := s.multiplicity(i)
	if s.settled() {
		if r, ok := s.follow(i, from, false); ok {
			return r
		}
	}
	r := s.facts(i, from)
	if r.cause == CausePerpetual {
		// The last apply of these very files left nothing undone, and nobody has written the state since: it was there.
		i.Outside = "deleted"
		return reason{cause: CauseOutside, why: "gone since the last apply, which left it in place"}
	}
	return r
}

// attribute explains one difference, or says that it is only a consequence of others.
func (s *sweep) attribute(i *item, d delta) (r reason, consequence bool) {
	if s.noise[i.Address][d.steps.String()] {
		return reason{cause: CausePerpetual, why: "the same difference came right after a clean apply"}, false
	}
	drifted := false
	if i.Outside == "changed" {
		recorded, real := d.steps.lookup(i.drift.Change.Before), d.steps.lookup(i.drift.Change.After)
		drifted = !same(recorded, real)
		if drifted && (!i.planned() || !d.unknown && same(d.after, recorded)) {
			return s.suppose(s.touched(i, recorded), s.supposed[i.Address][d.steps.String()]), false
		}
	}
	e := s.expression(i, d)
	if e == nil && d.unknown {
		return reason{}, true
	}
	from := s.configuration.trace(s.configuration.scopeOf(i.config), e)
	if e == nil && compound(d) || constant(e) && e.ConstantValue == nil && len(d.steps) > 1 {
		from.opaque = true // a dynamic block, or a block whose contents plan JSON's Go types lose
	}
	if from.opaque {
		from = from.with(s.dependencies(i))
	}
	if d.unknown {
		return s.unknown(i, d, e, from)
	}
	if !s.settled() {
		return s.facts(i, from), false
	}
	if len(from.data) == 0 {
		if r, ok := s.follow(i, from, false); ok {
			return r, false
		}
	}
	r = s.facts(i, from)
	if drifted && r.cause == CausePerpetual {
		r = reason{cause: CauseOutside, why: "changed outside Terraform", doubt: "the plan would not put " + d.steps.String() + " back as it was"}
	}
	return r, false
}

// compound reports whether a difference is in something that could be a block.
func compound(d delta) bool {
	for _, value := range []any{d.before, d.after} {
		switch value.(type) {
		case []any, map[string]any:
			return true
		}
	}
	return len(d.steps) > 1
}

// touched explains an attribute that is not what the state recorded.
func (s *sweep) touched(i *item, recorded any) reason {
	if clockwork(i.Type) {
		return reason{cause: CauseData, why: "its time has come"}
	}
	r := reason{cause: CauseOutside, why: "changed outside Terraform"}
	if upgraded := s.providerUpgrade(i.ProviderName); upgraded != "" {
		if empty(recorded) {
			return reason{cause: CauseUpgrade, why: "read for the first time by " + upgraded}
		}
		r.doubt = upgraded + ", which may read the same object differently"
	}
	return r
}

// unknown explains an attribute whose value will be known only after the apply.
func (s *sweep) unknown(i *item, d delta, e *tfjson.Expression, from sources) (reason, bool) {
	through := ""
	for _, address := range slices.Sorted(maps.Keys(from.data)) {
		if s.pending[address] {
			through = address
			from = from.with(s.dependenciesOfData(address))
		}
	}
	if r, ok := s.follow(i, from, true); ok {
		switch {
		case through != "":
			r.doubt = through + " is read again during the apply, and what it will say is not known"
		case len(from.data) > 0:
			r.doubt = "its new value is also made from " + strings.Join(slices.Sorted(maps.Keys(from.data)), ", ")
		case !s.settled():
			r.doubt = "its new value is known only after the apply, and " + s.unsettled()
		}
		return r, false
	}
	if through != "" {
		return reason{cause: CauseData, why: "made from " + through + ", which is read during the apply"}, false
	}
	if constant(e) && len(d.steps) == 1 {
		return reason{cause: CauseData, why: "made by a function of time or chance, such as timestamp()"}, false
	}
	// What it is made from stands still, so the provider has yet to compute it.
	return reason{}, true
}

// follow explains a value by the findings of the resources that it is made from. If the value is known only after apply,
// those are the ones that an apply would change; else they must differ in the very attribute that is used.
func (s *sweep) follow(i *item, from sources, unknown bool) (reason, bool) {
	var r reason
	for _, address := range slices.Sorted(maps.Keys(from.managed)) {
		if address == i.config {
			continue
		}
		group := s.followed(address, from.managed[address], unknown)
		r.follows = append(r.follows, group.follows...)
		if group.cause != "" && (r.cause == "" || group.cause.precedence() > r.cause.precedence()) {
			r.cause = group.cause
		}
		r.doubt = cmp.Or(r.doubt, group.doubt)
	}
	r.why = "follows " + strings.Join(r.follows, ", ")
	return r, len(r.follows) > 0
}

// followed is what all instances of one resource give whatever follows them. Instances are not told apart, because plan
// JSON does not say which of them an expression picks; if there are several, the resource is named without keys.
func (s *sweep) followed(address string, attributes map[string]bool, unknown bool) reason {
	key := fmt.Sprint(address, " ", unknown, slices.Sorted(maps.Keys(attributes)))
	if r, ok := s.groups[key]; ok {
		return r
	}
	var r reason
	var last string
	complete := true
	for _, other := range s.byConfig[address] {
		if other.Deposed != "" || other.Action() == "move" || other.Action() == "import" {
			continue
		}
		if unknown && !other.planned() || !unknown && !other.differs(attributes) {
			continue
		}
		s.explain(other)
		if other.state != done {
			complete = false
			continue
		}
		r.follows, last = []string{address}, other.Address
		if r.why != "" {
			last = address
		}
		r.why = "several"
		if r.cause == "" || other.Cause.precedence() > r.cause.precedence() {
			r.cause = other.Cause
		}
		if !other.planned() {
			r.doubt = "it would carry a change of " + other.Address + " on, not undo it"
		}
	}
	if len(r.follows) > 0 {
		r.follows = []string{last}
	}
	if complete {
		s.groups[key] = r
	}
	return r
}

// differs reports whether one of the attributes given differs; "" stands for any.
func (i *item) differs(attributes map[string]bool) bool {
	if action := i.Action(); action == "create" || action == "replace" || action == "delete" || action == "forget" {
		return true
	}
	for _, d := range i.deltas {
		if attributes[""] || attributes[d.steps.top()] {
			return true
		}
	}
	if i.Outside != "changed" {
		return false
	}
	// Drift that the plan does not undo is no part of the deltas when the plan changes something else.
	for _, d := range changeSides(i.drift.Change).diff() {
		if !same(d.before, d.after) && (attributes[""] || attributes[d.steps.top()]) {
			return true
		}
	}
	return false
}

// facts explains what nothing in the plan explains, by what has changed since the last apply.
func (s *sweep) facts(i *item, from sources) reason {
	upgraded := s.upgrade(i.ProviderName)
	if !s.settled() {
		// A digest that covers versions changes with them, while Git stands still.
		if was := s.in.Baseline; upgraded != "" && was.sameCommit(s.in.Current) && !was.Partial && len(from.data) == 0 {
			return reason{cause: CauseUpgrade, why: upgraded}
		}
		return reason{cause: CauseUnapplied, why: s.unsettled()}
	}
	if len(from.data) > 0 {
		return reason{cause: CauseData, why: "made from " + strings.Join(slices.Sorted(maps.Keys(from.data)), ", ")}
	}
	if upgraded != "" {
		return reason{cause: CauseUpgrade, why: upgraded}
	}
	was, is := s.in.Baseline, s.in.Current
	if was.Serial != is.Serial {
		return reason{
			cause: CauseOutside, why: "the state no longer holds what the last apply left",
			doubt: fmt.Sprintf("something else has written the state since the last apply (serial %d, then %d)", is.Serial, was.Serial),
		}
	}
	return reason{cause: CausePerpetual, why: "nothing that it is made from has changed since the last apply"}
}

// settled reports whether the configuration is known to be what the last apply applied, all of it.
func (s *sweep) settled() bool { return s.unsettled() == "" }

// unsettled says why the configuration cannot be taken for applied; "" if it can.
func (s *sweep) unsettled() string {
	was, is := s.in.Baseline, s.in.Current
	switch {
	case was == nil:
		return "no apply is on record, so what differs counts as not applied"
	case known(was.Lineage, is.Lineage) && was.Lineage != is.Lineage:
		return "the state is another one than the last apply wrote"
	case was.InputsDigest == "" || was.InputsDigest != is.InputsDigest:
		if was.Commit != "" && was.Commit != is.Commit {
			return "the files have changed since the last apply, of commit " + was.Commit[:min(len(was.Commit), 12)]
		}
		return "the files have changed since the last apply"
	case was.Partial:
		return "the last apply left something undone"
	}
	return ""
}

// sameCommit reports whether two facts are of one commit, with nothing beside it, and of one state.
func (f *Facts) sameCommit(other Facts) bool {
	return f.Commit != "" && f.Commit == other.Commit && !f.Dirty && !other.Dirty &&
		f.InputsDigest != "" && f.Lineage == other.Lineage
}

// upgrade says that the engine, or the provider given, is of another version than at the last apply; "" if neither is.
func (s *sweep) upgrade(provider string) string {
	was, is := s.in.Baseline, s.in.Current
	if was == nil {
		return ""
	}
	if engine, before := named(is.Engine), named(was.Engine); engine != before {
		return fmt.Sprintf("%s now, %s at the last apply", engine, before)
	}
	if known(was.TerraformVersion, is.TerraformVersion) && was.TerraformVersion != is.TerraformVersion {
		return fmt.Sprintf("%s %s now, %s at the last apply", named(is.Engine), is.TerraformVersion, was.TerraformVersion)
	}
	return s.providerUpgrade(provider)
}

// providerUpgrade says that a provider is of another version than at the last apply; "" if it is not, or that is not known.
func (s *sweep) providerUpgrade(provider string) string {
	if s.in.Baseline == nil {
		return ""
	}
	was, is := s.in.Baseline.Providers[provider], s.in.Current.Providers[provider]
	if !known(was, is) || was == is {
		return ""
	}
	return fmt.Sprintf("%s is %s now, %s at the last apply", provider, is, was)
}

// multiplicity is what decides how many instances of a resource there are, in its own block and in the module calls
// around it.
func (s *sweep) multiplicity(i *item) sources {
	c := s.configuration
	from := sources{data: map[string]bool{}, managed: map[string]map[string]bool{}}
	in := c.scopeOf(i.config)
	from = from.with(c.trace(scope{module: in.module}, in.forEach, in.count))
	for m := in.module; m != nil && m.call != nil; m = m.parent {
		from = from.with(c.trace(scope{module: m.parent}, m.call.ForEachExpression, m.call.CountExpression))
	}
	if from.opaque {
		from = from.with(s.dependencies(i))
	}
	return from
}

// dependencies is what the state records that a resource depends on. A resource that is not in the state has none there;
// then what Terraform calls relevant for the plan has to do.
func (s *sweep) dependencies(i *item) sources {
	from := sources{data: map[string]bool{}, managed: map[string]map[string]bool{}}
	addresses := s.recorded[i.config]
	if len(addresses) == 0 {
		addresses = slices.Collect(maps.Keys(s.relevant))
	}
	for _, address := range addresses {
		if rest := strings.TrimPrefix(address, moduleOf(address)+"."); strings.HasPrefix(rest, "data.") {
			from.data[address] = true
		} else {
			from.managed[address] = map[string]bool{"": true}
		}
	}
	return from
}

// dependenciesOfData is what a data source is asked with.
func (s *sweep) dependenciesOfData(address string) sources {
	from := sources{data: map[string]bool{}, managed: map[string]map[string]bool{}}
	for reached := range s.configuration.upstream(address, s.recorded) {
		if rest := strings.TrimPrefix(reached, moduleOf(reached)+"."); !strings.HasPrefix(rest, "data.") {
			from.managed[reached] = map[string]bool{"": true}
		}
	}
	return from
}

// with adds other sources to a copy.
func (f sources) with(other sources) sources {
	sum := sources{data: map[string]bool{}, managed: map[string]map[string]bool{}, opaque: f.opaque || other.opaque}
	for _, part := range []sources{f, other} {
		maps.Copy(sum.data, part.data)
		for address, attributes := range part.managed {
			if sum.managed[address] == nil {
				sum.managed[address] = map[string]bool{}
			}
			maps.Copy(sum.managed[address], attributes)
		}
	}
	return sum
}

// explainOutput explains an output that changes without any resource that it is made from.
func (s *sweep) explainOutput(i *item, e *tfjson.Expression, from sources) {
	i.state = done
	i.Key = keyOf(i.Finding)
	r := s.facts(i, from)
	switch {
	case s.noiseKeys[i.Key]:
		r = reason{cause: CausePerpetual, why: "the same difference came right after a clean apply"}
	case i.deltas[0].unknown && constant(e):
		r = reason{cause: CauseData, why: "made by a function of time or chance, such as timestamp()"}
	case r.cause == CausePerpetual && from.opaque && s.relevantData:
		r = reason{cause: CauseData, why: "made from a data source"}
	}
	i.Attributes[0].Cause = r.cause
	s.weigh(i, []reason{r})
}

// describe completes an item once its cause is known.
func (s *sweep) describe(i *item) {
	i.Key = keyOf(i.Finding)
	if i.Action() == "no-op" {
		i.Detail += "; the plan would not change it back"
	}
	if i.Type == "output" || !i.planned() {
		return
	}
	i.Needs = s.needs(i.config)
	if left := i.leftAlone(); len(left) > 0 && !i.answered {
		i.Detail += "; also changed outside, and not changed back by the plan: " + strings.Join(left, ", ")
	}
}

// leftAlone lists what was changed outside in a resource for which something else is planned, and what that plan leaves as
// it is. Nothing would correct it, but it must not be lost from sight.
func (i *item) leftAlone() []string {
	if i.Outside != "changed" {
		return nil
	}
	touched := map[string]bool{}
	for _, d := range i.deltas {
		touched[d.steps.top()] = true
	}
	var paths []string
	for _, d := range changeSides(i.drift.Change).diff() {
		if !same(d.before, d.after) && !touched[d.steps.top()] {
			paths = append(paths, d.steps.String())
		}
	}
	return paths
}

// needs names what is planned among the resources that one depends on; several instances by the resource.
func (s *sweep) needs(config string) []string {
	if needs, ok := s.needed[config]; ok {
		return needs
	}
	var needs []string
	for address := range s.configuration.upstream(config, s.recorded) {
		var planned []string
		for _, other := range s.byConfig[address] {
			if other.planned() {
				planned = append(planned, other.Address)
			}
		}
		switch len(planned) {
		case 0:
		case 1:
			needs = append(needs, planned[0])
		default:
			needs = append(needs, address)
		}
	}
	slices.Sort(needs)
	s.needed[config] = needs
	return needs
}

func named(engine string) string {
	if engine == "" {
		return "terraform"
	}
	return engine
}

// known reports whether two facts can be compared at all.
func known(a, b string) bool { return a != "" && b != "" }

func appendNew(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
