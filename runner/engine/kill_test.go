package engine_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestKilledAtAnyMoment kills the server, again and again and with no chance to tidy up, while people open, push and merge
// pull requests. In the end each merge was applied exactly once, nothing was forgotten, nothing was said twice, and no state is
// locked.
//
// A kill may hit an apply whose Terraform then ends by itself, which the next start finds out, or one that was about to
// begin. What cannot be known is asked of people: so the test answers with `plumbline apply` wherever the server holds
// something back.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	s := start(t, options{processes: true, world: world.Options{Patience: 10 * time.Minute, Remote: everywhere}})
	n := s.nodes[0]
	var pulls []*world.Pull
	var killed atomic.Int64
	var stream sync.WaitGroup
	stream.Go(func() {
		pulls = s.people(t, func(int) bool { return killed.Load() < kills && !t.Failed() })
	})
	for ; killed.Load() < kills && !t.Failed(); killed.Add(1) {
		time.Sleep(time.Duration(random.Float64() * float64(4*time.Second))) // a moment is what this is about
		n.kill(t)
		n.startProcess(t)
	}
	stream.Wait()
	t.Logf("killed %d times over %d pull requests", killed.Load(), len(pulls))
	if t.Failed() {
		return
	}
	s.quiet(t)

	missing := func() (names []string) {
		there := s.Versions()
		for _, p := range pulls {
			if _, ok := there[p.Branch]; !ok {
				names = append(names, p.Branch)
			}
		}
		return names
	}
	// In the order of the branch, as somebody would who reads what was held.
	for _, p := range pulls {
		if slices.Contains(missing(), p.Branch) {
			if !strings.Contains(p.Ours(t)[len(p.Ours(t))-1].Body, "plumbline apply") {
				t.Errorf("#%d was not applied, and nothing says what to do:\n%s", p.Number, p.Ours(t)[len(p.Ours(t))-1].Body)
			}
			p.Say(t, alice, "plumbline apply")
			s.quiet(t)
		}
	}
	if left := missing(); len(left) > 0 {
		t.Errorf("merged and never applied: %q; they show:", left)
		for _, p := range pulls {
			if slices.Contains(left, p.Branch) {
				for _, c := range p.Ours(t) {
					t.Errorf("#%d: %s", p.Number, forge.Cut(c.Body, 3000))
				}
			}
		}
	}
	for _, p := range pulls {
		if len(pages(t, p, prcomment.KindApply)) == 0 {
			t.Errorf("#%d was merged, and no comment says what came of it", p.Number)
		}
	}
	for _, workspace := range []string{"a", "b"} {
		if s.States.Saves(workspace) == 0 {
			t.Errorf("the state of %s was never saved where it can be locked: this test no longer sees what it is for", workspace)
		}
	}
	created, updated, deleted := s.Done()
	if want := len(s.Versions()); created != want || updated != 0 || deleted != 0 {
		t.Errorf("the cloud made %d buckets, changed %d and deleted %d; there are %d, each to be made once", created, updated, deleted, want)
	}
}

// everywhere puts each workspace's state where it can be locked in another way: a's where locks name their holders, b's
// where they do not, and c's on the server's own disk.
func everywhere(s *world.States, workspace string) string {
	return map[string]string{"a": s.Bucket("a"), "b": s.Backend("b")}[workspace]
}
