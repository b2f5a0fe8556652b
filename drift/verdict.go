package drift

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/schedule"
)

// Policy says what may be corrected. The zero value permits nothing.
type Policy struct {
	// Correct is the ladder of each class that is configured.
	Correct map[Class]Ladder
	// Default is the ladder of the classes that Correct does not name.
	Default Ladder
	// AtMost caps every ladder, named or not.
	AtMost Ladder
	// MaxChanges is how many findings may be corrected at once; a replacement counts as one. If the policy permits more,
	// none is corrected: that much drift at once is no drift but an accident, and wants a person. Zero is no cap.
	MaxChanges int
	// Windows are when corrections may be made, any one of them being open. None is always.
	Windows []schedule.Window
	// Ignore are the rules for findings that are to be left alone.
	Ignore []Ignore
	// Stopped says, by their keys, which findings wait for a person although they could be corrected, and why: see [Fight].
	Stopped map[string]string
	// Paused says why nothing at all is corrected now; "" if it may be.
	Paused string
}

// Ignore is a rule that leaves findings alone. The rule's own limits are its owner's affair: nothing is inherited.
type Ignore struct {
	// Address is an address or a pattern; * stands for any run of characters, dots and brackets included.
	Address string `json:"address"`
	// Attributes are paths or patterns of them; one that names an attribute covers what is inside it. None covers the
	// resource as a whole.
	Attributes []string `json:"attributes,omitempty"`
	// Until is the last day on which the rule counts, up to midnight UTC at its end. Zero is for ever. Only the date counts.
	Until  time.Time `json:"until,omitzero"`
	Owner  string    `json:"owner,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Expired reports whether the rule no longer counts.
func (g Ignore) Expired(now time.Time) bool {
	if g.Until.IsZero() {
		return false
	}
	year, month, day := g.Until.Date()
	return !now.Before(time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC))
}

// covers reports whether the rule is about an attribute.
func (g Ignore) covers(path string) bool {
	for _, pattern := range g.Attributes {
		if matches(pattern, path) || matches(pattern+".*", path) || matches(pattern+"[*", path) {
			return true
		}
	}
	return false
}

// String names the rule, its owner and its end.
func (g Ignore) String() string {
	var b strings.Builder
	b.WriteString("the ignore rule for " + g.Address)
	if len(g.Attributes) > 0 {
		b.WriteString(" (" + strings.Join(g.Attributes, ", ") + ")")
	}
	if g.Owner != "" {
		b.WriteString(" of " + g.Owner)
	}
	if !g.Until.IsZero() {
		b.WriteString(", until " + g.Until.Format(time.DateOnly))
	}
	if g.Reason != "" {
		b.WriteString(": " + g.Reason)
	}
	return b.String()
}

// Judged is a finding and what was decided about it.
type Judged struct {
	Finding
	// Allowed says that it may be corrected.
	Allowed bool `json:"allowed"`
	// Ignored says that a rule leaves all of it alone: it is listed, and counts as no drift.
	Ignored bool `json:"ignored,omitempty"`
	// Reason says why, either way.
	Reason string `json:"reason"`
}

// Verdict is what may be done about the findings of one plan.
type Verdict struct {
	// Findings are all findings, in the order in which they were found.
	Findings []Judged `json:"findings"`
	// Targets are the addresses of those that may be corrected. Without any, nothing may be applied; in particular no plan
	// without targets.
	Targets []string `json:"targets,omitempty"`
	// Expired are the ignore rules that no longer count.
	Expired []Ignore `json:"expired,omitempty"`
}

// Decide holds findings against a policy.
//
// What is corrected is corrected whole or not at all. A finding is held if anything in it is not outside or not certain;
// if a finding that it needs or that follows it is held, because Terraform would take the one along, and the other would
// be left half done; and all are held if more are permitted than the cap.
func Decide(findings []Finding, p Policy, now time.Time) Verdict {
	var v Verdict
	var rules []Ignore
	for _, rule := range p.Ignore {
		if rule.Expired(now) {
			v.Expired = append(v.Expired, rule)
		} else {
			rules = append(rules, rule)
		}
	}
	closed := p.closed(now)
	for _, f := range findings {
		j := Judged{Finding: f}
		j.Ignored, j.Reason = ignored(f, rules)
		for _, reason := range []string{p.hold(f), p.Stopped[f.Key], p.Paused, closed} {
			if j.Reason == "" {
				j.Reason = reason
			}
		}
		j.Allowed = j.Reason == ""
		v.Findings = append(v.Findings, j)
	}
	v.holdTogether()
	v.cap(p.MaxChanges)
	for i := range v.Findings {
		if j := &v.Findings[i]; j.Allowed {
			j.Reason = fmt.Sprintf("changed outside, and %s may be corrected up to %s", plural(j.Class), p.ladder(j.Class))
			v.Targets = append(v.Targets, j.Address)
		}
	}
	return v
}

// ladder is how far a class may be corrected.
func (p Policy) ladder(c Class) Ladder {
	ladder, named := p.Correct[c]
	if !named {
		ladder = p.Default
	}
	return min(ladder, p.AtMost)
}

// hold says why a finding may not be corrected by itself; "" if it may.
func (p Policy) hold(f Finding) string {
	action := f.Action()
	if action == "no-op" {
		return "nothing to correct: the plan would not change it"
	}
	if f.Type == "output" {
		return "an output: it changes with an apply, not with a correction"
	}
	if f.Cause != CauseOutside {
		return f.Cause.hold()
	}
	for _, a := range f.Attributes {
		if a.Cause != CauseOutside {
			return fmt.Sprintf("%s would change along with it, and is not outside drift: %s", a.Path, a.Cause.hold())
		}
	}
	if f.Doubt != "" {
		return "not certain enough: " + f.Doubt
	}
	needed, ok := rung(action)
	if !ok || len(f.Actions) > 1 {
		return fmt.Sprintf("a correction does not %s: that takes an apply", strings.Join(f.Actions, " and "))
	}
	ladder := p.ladder(f.Class)
	if needed <= ladder {
		return ""
	}
	if uncapped := (Policy{Correct: p.Correct, Default: p.Default, AtMost: All}).ladder(f.Class); needed <= uncapped {
		return fmt.Sprintf("it would be %s, and this sweep may correct only up to %s", withArticle(action), p.AtMost)
	}
	if ladder == Never {
		return fmt.Sprintf("%s are never corrected", plural(f.Class))
	}
	return fmt.Sprintf("it would be %s, and %s may be corrected only up to %s", withArticle(action), plural(f.Class), ladder)
}

// withArticle puts an article before an action.
func withArticle(action string) string {
	if strings.HasPrefix(action, "update") {
		return "an " + action
	}
	return "a " + action
}

// hold says why findings of a cause are not corrected.
func (c Cause) hold() string {
	switch c {
	case CauseUnapplied:
		return "not applied yet: an apply takes care of it"
	case CauseUpgrade:
		return "it comes from an upgrade: review it and apply"
	case CauseData:
		return "it comes from a data source or from the time: review it and apply"
	case CausePerpetual:
		return "it would come right back: noise that no apply removes"
	}
	return "its cause is not known"
}

// closed says that no window is open and when the next one opens; "" if one is.
func (p Policy) closed(now time.Time) string {
	var next time.Time
	for _, w := range p.Windows {
		if w.Contains(now) {
			return ""
		}
		if opens, ok := w.NextOpen(now); ok && (next.IsZero() || opens.Before(next)) {
			next = opens
		}
	}
	switch {
	case len(p.Windows) == 0:
		return ""
	case next.IsZero():
		return "outside the windows for corrections, none of which ever opens"
	}
	return "outside the windows for corrections; the next opens " + next.Format("Mon 2006-01-02 15:04 MST")
}

// ignored holds a finding against the rules: whether they leave all of it alone, and, if any applies, the reason.
func ignored(f Finding, rules []Ignore) (all bool, reason string) {
	open, covered := 0, []string(nil)
	by := map[string]Ignore{}
	for _, rule := range rules {
		if matches(rule.Address, f.Address) && len(rule.Attributes) == 0 {
			return true, "left alone by " + rule.String()
		}
	}
	for _, a := range f.Attributes {
		rule := slices.IndexFunc(rules, func(g Ignore) bool { return matches(g.Address, f.Address) && g.covers(a.Path) })
		switch {
		case rule >= 0:
			covered = append(covered, a.Path)
			by[a.Path] = rules[rule]
		case !a.Consequence:
			open++
		}
	}
	if len(covered) == 0 {
		return false, ""
	}
	// A resource that is created, deleted or moved differs in more than its attributes.
	if action := f.Action(); open == 0 && (action == "update" || action == "replace" || action == "no-op") && len(f.Actions) == 1 {
		return true, "left alone by " + by[covered[0]].String()
	}
	return false, fmt.Sprintf("correcting it would also change %s, which is left alone by %s", strings.Join(covered, ", "), by[covered[0]])
}

// Beside adds findings that were judged on their own, such as those of [Ahead]: they stand beside the others, and decide
// nothing about them.
func (v Verdict) Beside(other Verdict) Verdict {
	v.Findings = slices.Concat(v.Findings, other.Findings)
	return v
}

// holdTogether holds what would take along, or leave behind, something that is held. Links name an instance, or a
// resource for several of its instances.
func (v *Verdict) holdTogether() {
	members := map[string][]int{}
	for i, j := range v.Findings {
		members[j.Address] = append(members[j.Address], i)
		if resource := withoutKeys(j.Address); resource != j.Address {
			members[resource] = append(members[resource], i)
		}
	}
	for again := true; again; {
		again = false
		hold := func(i int, reason string) {
			if v.Findings[i].Allowed {
				v.Findings[i].Allowed, v.Findings[i].Reason, again = false, reason, true
			}
		}
		held := map[string]string{} // what each name holds back whoever is linked to it; filled when first asked for
		heldAt := func(name string) string {
			reason, known := held[name]
			if !known {
				for _, i := range members[name] {
					// What is not planned at all has nothing to wait for.
					if j := v.Findings[i]; !j.Allowed && j.Action() != "no-op" {
						reason = fmt.Sprintf("%s, which is held: %s", j.Address, j.Reason)
						break
					}
				}
				held[name] = reason
			}
			return reason
		}
		leftBehind := map[string]string{}
		for i, j := range v.Findings {
			for _, name := range j.Needs {
				if reason := heldAt(name); reason != "" {
					hold(i, "it depends on "+reason)
				}
			}
			for _, name := range j.Follows {
				if reason := heldAt(name); reason != "" {
					hold(i, "it follows "+reason)
				}
				if !v.Findings[i].Allowed && leftBehind[name] == "" {
					leftBehind[name] = fmt.Sprintf("%s follows it and is held: %s", j.Address, v.Findings[i].Reason)
				}
			}
			// An object beside the current one, left over, goes with the same target.
			if !j.Allowed && j.Deposed != "" {
				leftBehind[j.Address] = "an old object of it is held: " + j.Reason
			}
		}
		for _, name := range slices.Sorted(maps.Keys(leftBehind)) {
			for _, i := range members[name] {
				hold(i, leftBehind[name])
			}
		}
	}
}

// cap holds everything if there is more than may be corrected at once.
func (v *Verdict) cap(most int) {
	allowed := 0
	for _, j := range v.Findings {
		if j.Allowed {
			allowed++
		}
	}
	if most == 0 || allowed <= most {
		return
	}
	for i := range v.Findings {
		if v.Findings[i].Allowed {
			v.Findings[i].Allowed = false
			v.Findings[i].Reason = fmt.Sprintf("%d findings could be corrected, and at most %d may be at once, so none is", allowed, most)
		}
	}
}

func plural(c Class) string { return string(c) + "s" }
