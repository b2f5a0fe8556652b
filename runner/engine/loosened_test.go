package engine

import (
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
)

// TestMergedChangeCannotLoosenItsRules merges a change that takes back what it takes to apply it, and then commands it.
func TestMergedChangeCannotLoosenItsRules(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "defaults:\n  approvals: 1\n"
	d := newDocket(t, 1, files, nil)
	change := bump("network", "2")
	change["plumbline.yaml"] = "defaults:\n  approvals: 0\n"
	number := d.opened("alice", "loose", change)
	d.merge(number, forge.MergeCommit)
	_, runs := d.last(number, KindApply)
	d.want("runs of the merge", runs["network"].Status, Held)

	d.reacted(d.say("alice", number, "plumbline apply"), forge.Refused)
	d.want("applies", len(d.applies()), 1)
	d.say("alice", number, "plumbline plan")
	d.endAll(number, KindPlan, Planned)
	d.reacted(d.say("alice", number, "plumbline apply"), forge.Refused)
	d.want("applies", len(d.applies()), 1)

	// Approved of, it is applied.
	d.hub.Approve(t, d.repo, "bob", number)
	d.reacted(d.say("alice", number, "plumbline apply -w network"), forge.Seen)
	d.want("applies", len(d.applies()), 2)
}

// TestRulesThatAnotherChangeLoosened has a later change take back what an earlier one lacks.
func TestRulesThatAnotherChangeLoosened(t *testing.T) {
	files := docketFiles()
	files["plumbline.yaml"] = "defaults:\n  approvals: 1\n"
	d := newDocket(t, 1, files, nil)
	number := d.opened("alice", "more", bump("network", "2"))
	d.merge(number, forge.MergeCommit)
	d.reacted(d.say("alice", number, "plumbline apply"), forge.Refused)
	later := d.opened("bob", "looser", map[string]string{"plumbline.yaml": "defaults:\n  approvals: 0\n"})
	d.merge(later, forge.MergeCommit)
	d.reacted(d.say("alice", number, "plumbline apply -w network"), forge.Seen)
}
