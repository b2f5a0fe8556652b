package gitea

import (
	"context"
	"fmt"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// maxDescription is in characters. Gitea takes more and has no room to show it.
const maxDescription = 255

// SetStatus puts a verdict on a commit. Gitea has no place for a summary.
func (c *Client) SetStatus(ctx context.Context, repo forge.Repo, commit string, s forge.Status) error {
	doing := fmt.Sprintf("set status %q on %s@%.12s", s.Context, repo, commit)
	api, err := c.api(ctx)
	if err != nil {
		return translate(doing, err)
	}
	_, _, err = api.CreateStatus(repo.Owner, repo.Name, commit, gitea.CreateStatusOption{
		State:       gitea.StatusState(s.State),
		TargetURL:   s.URL,
		Description: forge.Cut(s.Description, maxDescription),
		Context:     s.Context,
	})
	return translate(doing, err)
}
