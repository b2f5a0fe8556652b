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

// Verdicts reads how the statuses on a commit stand, by context.
func (c *Client) Verdicts(ctx context.Context, repo forge.Repo, commit string) (map[string]forge.StatusState, error) {
	doing := fmt.Sprintf("read the statuses of %s@%.12s", repo, commit)
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	all, err := collect(doing, func(s *gitea.Status) int64 { return s.ID }, func(page gitea.ListOptions) ([]*gitea.Status, *gitea.Response, error) {
		return api.ListStatuses(repo.Owner, repo.Name, commit, gitea.ListStatusesOption{ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	verdicts, newest := map[string]forge.StatusState{}, map[string]int64{}
	for _, s := range all {
		if s.ID < newest[s.Context] {
			continue
		}
		newest[s.Context] = s.ID
		switch s.State {
		case gitea.StatusSuccess:
			verdicts[s.Context] = forge.Success
		case gitea.StatusPending:
			verdicts[s.Context] = forge.Pending
		case gitea.StatusError:
			verdicts[s.Context] = forge.Error
		default: // a warning keeps a change out as well
			verdicts[s.Context] = forge.Failure
		}
	}
	return verdicts, nil
}
