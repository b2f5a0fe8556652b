package engine

import (
	"strings"
	"testing"
)

// TestBytesThatAreNoText has a directory and a title that hold what is no text, which Git takes, and PostgreSQL does not.
func TestBytesThatAreNoText(t *testing.T) {
	files := docketFiles()
	files["caf\xe9/main.tf"] = files["network/main.tf"]
	d := newDocket(t, 1, files, nil)
	d.settled()
	changed := bump("caf\xe9", "2")
	changed["network/main.tf"] = bump("network", "2")["network/main.tf"]
	d.hub.Commit(t, d.repo, "topic", "main", changed)
	number := d.hub.Open(t, d.repo, "alice", "topic", "main", "a title\x00 with an end", false)
	d.settled()
	_, runs := d.last(number, KindPlan)
	if _, ok := runs["network"]; !ok {
		t.Errorf("runs are %v; %q", runs, d.problems())
	}
	if all := strings.Join(d.problems(), "; "); all != "" {
		t.Errorf("problems are %s", all)
	}
}
