package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
)

// TestKilledAtAnyMoment kills the server, again and again and with no chance to tidy up, while people open, push and merge
// pull requests. In the end each merge was applied exactly once, nothing was forgotten, and nothing was said twice.
//
// A kill may hit an apply whose Terraform then ends by itself, which the next start finds out, or one that was about to
// begin. What cannot be known is asked of people: so the test answers with `plumbline apply` wherever the server holds
// something back.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	s := start(t, options{processes: true, world: world.Options{Patience: 10 * time.Minute}})
	n := s.nodes[0]
	var pulls []*world.Pull
	done := make(chan struct{})
	var stream sync.WaitGroup
	stream.Go(func() {
		defer close(done)
		pulls = s.people(t, max(3, kills/5))
	})
	killed := 0
	for killed < kills {
		select {
		case <-done:
		case <-time.After(time.Duration(random.Float64() * float64(4*time.Second))):
			n.kill(t)
			killed++
			n.startProcess(t)
			continue
		}
		break
	}
	stream.Wait()
	t.Logf("killed %d times over %d pull requests", killed, len(pulls))
	if t.Failed() {
		return
	}
	s.quiet(t)

	want := map[string]string{}
	for _, p := range pulls {
		want[p.Branch] = ""
	}
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
			s.awaitEvents(t)
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
	created, updated, deleted := s.Done()
	if want := len(s.Versions()); created != want || updated != 0 || deleted != 0 {
		t.Errorf("the cloud made %d buckets, changed %d and deleted %d; there are %d, each to be made once", created, updated, deleted, want)
	}
}

// people open, push and merge count pull requests, three at a time, in three workspaces. Each adds a bucket that is called
// as its branch.
func (s *server) people(t *testing.T, count int) (pulls []*world.Pull) {
	var waiting []*world.Pull
	for i := range count {
		name := fmt.Sprintf("pr-%03d", i)
		pull := s.Open(t, alice, name, another([]string{"a", "b", "c"}[i%3], name))
		if i%4 == 1 {
			pull.Push(t, map[string]string{"README.md": "# " + name + "\n"})
		}
		pulls, waiting = append(pulls, pull), append(waiting, pull)
		if len(waiting) < 3 && i < count-1 {
			continue
		}
		for _, p := range waiting {
			p.AwaitStatus(t, "plumbline", forge.Success)
			p.Merge(t, []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase}[p.Number%3])
		}
		waiting = nil
	}
	return pulls
}
