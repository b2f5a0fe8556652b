//go:build e2e

package gitea_test

import (
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/gitea"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	host, client := start(t)
	forgetest.Run(t, client, host)
}

func start(t *testing.T) (*forgetest.Gitea, *gitea.Client) {
	t.Helper()
	host := forgetest.StartGitea(t)
	client, err := gitea.New(gitea.Options{URL: host.URL, Token: host.Token, WebhookSecret: host.WebhookSecret})
	if err != nil {
		t.Fatal(err)
	}
	return host, client
}

// However people merge on Gitea's pages, the merge commit is the tip of the base branch right after it.
func TestMergeCommitOfEachMethod(t *testing.T) {
	t.Parallel()
	host, client := start(t)
	for _, method := range []forge.MergeMethod{forge.MergeCommit, forge.Squash, forge.Rebase, "rebase-merge", forgetest.FastForward} {
		for _, moved := range []bool{false, true} {
			if moved && method == forgetest.FastForward {
				continue // impossible, and that is its point
			}
			repo := host.NewRepo(t)
			host.Grant(t, repo, "alice", forge.Write)
			host.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
			head := host.Commit(t, repo, "feature", "", map[string]string{"b.tf": "# b"})
			if moved {
				host.Commit(t, repo, "main", "", map[string]string{"c.tf": "# c"})
			}
			number := host.Open(t, repo, "alice", "feature", "main", "Add a and b", false)
			host.Merge(t, repo, "alice", number, method)
			tip := must[string](t)(client.Branch(t.Context(), repo, "main"))
			c := must[forge.Change](t)(client.Change(t.Context(), repo, number))
			if c.State != forge.Merged || c.MergeCommit != tip || c.Head.Commit != head {
				t.Errorf("%s, base moved %v: the change is %+v, main is at %s", method, moved, c, tip)
			}
			listed := must[[]forge.Change](t)(client.Changes(t.Context(), repo, forge.ChangesOptions{}))
			if len(listed) != 1 || listed[0].MergeCommit != tip || listed[0].State != forge.Merged {
				t.Errorf("%s, base moved %v: a list says %+v, main is at %s", method, moved, listed, tip)
			}
		}
	}
}

// Somebody merges on her own machine and pushes the base branch.
func TestMergedByAPush(t *testing.T) {
	t.Parallel()
	host, client := start(t)
	repo := host.NewRepo(t)
	host.Grant(t, repo, "alice", forge.Write)
	head := host.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	number := host.Open(t, repo, "alice", "feature", "main", "Add a", false)
	host.DetectMerges(t, repo)
	host.Reset(t, repo, "main", head)
	var c forge.Change
	for deadline := time.Now().Add(time.Minute); c.State != forge.Merged && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		c = must[forge.Change](t)(client.Change(t.Context(), repo, number))
	}
	if c.State != forge.Merged || c.MergeCommit != head || c.ClosedAt.IsZero() {
		t.Errorf("the change is %+v, want it merged at %s", c, head)
	}
}

// What happens to the branch of a change after its merge changes nothing of what was merged.
func TestHeadOfAMergedChange(t *testing.T) {
	t.Parallel()
	host, client := start(t)
	repo := host.NewRepo(t)
	host.Grant(t, repo, "alice", forge.Write)
	before := host.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	head := host.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# b"})
	number := host.Open(t, repo, "alice", "feature", "main", "Add a", false)
	host.Merge(t, repo, "alice", number, forge.MergeCommit)
	wants := func(when string) {
		t.Helper()
		c := must[forge.Change](t)(client.Change(t.Context(), repo, number))
		listed := must[[]forge.Change](t)(client.Changes(t.Context(), repo, forge.ChangesOptions{}))
		if c.State != forge.Merged || c.Head.Commit != head || len(listed) != 1 || listed[0].Head.Commit != head {
			t.Errorf("%s: the change is %+v, a list says %+v; %s was merged", when, c, listed, head)
		}
	}
	host.Reset(t, repo, "feature", before)
	wants("the branch was set back")
	host.Commit(t, repo, "feature", "", map[string]string{"a.tf": "# c"})
	wants("the branch went on")
}
