package gitea

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// mergedHeads remembers of merged pull requests which commit was merged, which never changes.
type mergedHeads struct {
	mu    sync.Mutex
	known map[string]string // "owner/name#number" to the commit
}

// mostHeads is how many are remembered. Beyond it all are forgotten: to ask again costs a request each.
const mostHeads = 10_000

func (m *mergedHeads) get(key string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	commit, ok := m.known[key]
	return commit, ok
}

func (m *mergedHeads) put(key, commit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= mostHeads {
		m.known = map[string]string{}
	}
	m.known[key] = commit
}

// settle puts the head that was merged into a merged pull request. Gitea's own word is the tip of the head branch, for as
// long as there is one: whoever can push there could have another head than the merged one count as reviewed. The ref
// that Gitea keeps for each pull request stays where it was at the merge.
func (c *Client) settle(ctx context.Context, api *gitea.Client, change forge.Change) (forge.Change, error) {
	if change.State != forge.Merged {
		return change, nil
	}
	key := fmt.Sprintf("%s#%d", change.Repo, change.Number)
	if commit, known := c.heads.get(key); known {
		change.Head.Commit = commit
		return change, nil
	}
	ref, _, err := api.GetRepoRef(change.Repo.Owner, change.Repo.Name, forge.HeadRef(change.Number))
	err = translate(fmt.Sprintf("read what was merged of %s", key), err)
	if errors.Is(err, forge.ErrNotFound) {
		change.Head.Commit = "" // nobody knows what was merged
		return change, nil
	}
	if err != nil {
		return forge.Change{}, err
	}
	if ref.Object == nil || ref.Object.SHA == "" {
		return forge.Change{}, fmt.Errorf("read what was merged of %s: Gitea names no commit", key)
	}
	c.heads.put(key, ref.Object.SHA)
	change.Head.Commit = ref.Object.SHA
	return change, nil
}
