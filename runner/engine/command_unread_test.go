package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// TestLateCommandAppliesNothingUnread has a comment come late: somebody pushed after it was written, and what was pushed is
// planned already.
func TestLateCommandAppliesNothingUnread(t *testing.T) {
	d := newDocket(t, 1, commented(""), nil)
	number := d.opened("alice", "more", bump("database", "2"))
	d.taken = len(d.hub.Deliveries(t, d.repo))
	said := d.hub.Comment(t, d.repo, "bob", number, "plumbline apply")
	late := d.hub.Deliveries(t, d.repo)[d.taken]
	d.taken++
	d.hub.Commit(t, d.repo, "more", "", bump("database", "666"))
	d.deliver()
	d.drain()
	d.endAll(number, KindPlan, Planned)
	d.posted(number, time.Now().Add(2*time.Second)) // the forge's clock counts in seconds
	if _, err := d.engines[0].Receive(t.Context(), "hub", late.Header, late.Body); err != nil {
		t.Fatal(err)
	}
	d.drain()
	d.reacted(said, forge.Refused)
	d.want("applies", len(d.applies()), 0)
	if replies := strings.Join(d.replies(number), "\n"); !strings.Contains(replies, "was not written after that") {
		t.Errorf("replies %q", replies)
	}

	// Who has read it says so.
	d.say("bob", number, "plumbline plan")
	d.endAll(number, KindPlan, Planned)
	d.reacted(d.say("bob", number, "plumbline apply"), forge.Seen)
	d.want("applies", len(d.applies()), 1)
}
