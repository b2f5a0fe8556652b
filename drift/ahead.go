package drift

import (
	"slices"
	"strings"
)

// Ahead tells apart what is waiting in Git from what happened outside, where Git has moved on since the last apply. It
// takes the findings of two plans, of the files that were applied last and of the newer ones, and returns the findings of
// the first, and beside them what only the second shows: that is not applied yet, whatever its plan alone makes it look
// like. commit names the newer files.
//
// A resource can have both, an attribute that somebody changed outside and another that waits for its apply. Then the
// finding that is ahead holds the second one alone. What is an upgrade stays one: there the files are not the reason. And
// where the newer files ask for what is real already, a finding here comes into doubt: a correction would undo what is wanted.
//
// What is ahead is to be judged on its own: it does not hold back a correction, which is planned at the files that were
// applied and does not touch it.
func Ahead(applied, newer []Finding, commit string) (here, ahead []Finding) {
	named := "newer files"
	if commit != "" {
		named = "commit " + commit[:min(len(commit), 12)]
	}
	type object struct{ address, deposed string }
	here = slices.Clone(applied)
	at := map[object]*Finding{}
	for i := range here {
		at[object{here[i].Address, here[i].Deposed}] = &here[i]
	}
	for _, f := range newer {
		f.Attributes = slices.Clone(f.Attributes)
		was := at[object{f.Address, f.Deposed}]
		switch {
		case f.Action() == "no-op":
			if was != nil && was.Action() != "no-op" {
				was.Doubt = strings.Join(appendNew(nonEmpty(was.Doubt), "it already is as "+named+" will have it, not applied yet"), "; ")
			}
			continue // and if it is not known here, no apply would touch it
		case was != nil && !beyond(&f, *was):
			continue
		}
		if f.Cause != CauseUpgrade || was != nil {
			why := f.Detail
			f.Detail = "only a plan of " + named + " shows it"
			if f.Cause == CauseUnapplied && was == nil {
				f.Detail += ": " + why
			}
			f.Cause, f.Outside, f.Doubt = CauseUnapplied, "", ""
			for i := range f.Attributes {
				f.Attributes[i].Cause = CauseUnapplied
			}
		}
		// One attribute can differ both ways, which is two findings.
		f.Key = f.Address + " ahead" + strings.TrimPrefix(keyOf(f), f.Address)
		ahead = append(ahead, f)
	}
	return here, ahead
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// beyond takes out of a finding what the other one, of the same object, shows as well, and reports whether anything is
// left. Its attributes are not those of the plan that it was found in.
func beyond(f *Finding, was Finding) bool {
	if was.Action() == "no-op" && f.Action() != "no-op" {
		return true // nothing would be done to it here, and something there
	}
	f.Attributes = slices.DeleteFunc(f.Attributes, func(a Attribute) bool {
		return slices.ContainsFunc(was.Attributes, func(b Attribute) bool {
			return a.Path == b.Path && sameGoal(*f, a, was, b)
		})
	})
	own := slices.ContainsFunc(f.Attributes, func(a Attribute) bool { return !a.Consequence })
	return own || strings.Join(f.Actions, " ") != strings.Join(was.Actions, " ") && !less(f.Action(), was.Action())
}

// sameGoal reports whether two plans would set an attribute to the same value. Values that are not shown are compared by
// their digests, where both findings still have them.
func sameGoal(f Finding, a Attribute, was Finding, b Attribute) bool {
	if f.wanted != nil && was.wanted != nil {
		return f.wanted[a.Path] == was.wanted[b.Path]
	}
	return a.After == b.After && a.Unknown == b.Unknown
}

// less reports whether an action does a part of what another one does: what would be replaced here and only updated there
// shows nothing new there.
func less(action, than string) bool { return action == "update" && than == "replace" }
