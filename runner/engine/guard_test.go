package engine

import (
	"database/sql"
	"os"
	"strings"
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

// TestBranchThatNobodyServes makes a branch that guards nothing, and changes that go to it.
func TestBranchThatNobodyServes(t *testing.T) {
	d := newDocket(t, 1, commented(""), nil)
	d.hub.Commit(t, d.repo, "loose", "main", map[string]string{"plumbline.yaml": "defaults:\n  apply: on-comment\n"})
	d.hub.Commit(t, d.repo, "evil", "loose", bump("network", "2"))
	number := d.hub.Open(t, d.repo, "alice", "evil", "loose", "Evil", false)
	d.settled()
	notice := d.row(number).Notice
	if !strings.Contains(notice.Waits, "does not serve") || notice.State != forge.Pending {
		t.Errorf("notice %+v; %q", notice, d.problems())
	}
	for _, command := range []string{"plumbline plan", "plumbline apply", "plumbline unlock"} {
		d.reacted(d.say("alice", number, command), forge.Refused)
	}
	d.merge(number, forge.MergeCommit)
	for _, command := range []string{"plumbline plan", "plumbline apply", "plumbline unlock"} {
		d.reacted(d.say("alice", number, command), forge.Refused)
	}
	d.hub.Commit(t, d.repo, "loose", "", bump("network", "3"))
	d.settled()
	d.want("applies", d.applies(), []string(nil))
	if ops, _ := d.operations(number, ""); len(ops) != 0 {
		t.Errorf("operations %+v", ops)
	}

	// Turned to a branch that is served, it is a change like any other, under that branch's rules.
	d.hub.Commit(t, d.repo, "more", "loose", bump("app", "2"))
	number = d.hub.Open(t, d.repo, "alice", "more", "loose", "More", false)
	d.settled()
	nextSecond()
	d.hub.Retarget(t, d.repo, "alice", number, "main")
	d.settled()
	_, runs := d.last(number, KindPlan)
	d.want("runs", statuses(runs), "app:queued network:queued")
}

// TestHostsHere takes no host for ours that another data directory is served on.
func TestHostsHere(t *testing.T) {
	d := newDocket(t, 1, docketFiles(), nil)
	e := d.engines[0]
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	look := func() (here map[string]bool) {
		d.read(func(tx *sql.Tx) (err error) {
			here, err = e.store.hostsHere(t.Context(), tx, e.process)
			return err
		})
		return here
	}
	if err := e.enter(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	d.want("hosts", look()[host], true)
	err = e.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO process (id, site, host, started_at, beat, ended_at) VALUES ('other', 'there', $1, 1, 1, 2)", host)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.want("hosts that are shared", look()[host], false)
}
