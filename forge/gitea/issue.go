package gitea

import (
	"context"
	"fmt"
	"net/http"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// OpenIssue opens an issue with the title, body, labels and assignees given. Labels that do not exist are made.
func (c *Client) OpenIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error) {
	doing := fmt.Sprintf("open an issue in %s", repo)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	labels, err := labelIDs(api, repo, i.Labels)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	made, _, err := api.CreateIssue(repo.Owner, repo.Name, gitea.CreateIssueOption{
		Title: i.Title, Body: i.Body, Labels: labels, Assignees: i.Assignees,
	})
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	return toIssue(made), nil
}

// Issue reads an issue.
func (c *Client) Issue(ctx context.Context, repo forge.Repo, number int) (forge.Issue, error) {
	doing := fmt.Sprintf("read issue %s#%d", repo, number)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	found, _, err := api.GetIssue(repo.Owner, repo.Name, int64(number))
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	return toIssue(found), nil
}

// OwnIssues lists the issues that were opened with these credentials, open or closed, the newest first.
func (c *Client) OwnIssues(ctx context.Context, repo forge.Repo) ([]forge.Issue, error) {
	doing := fmt.Sprintf("list our issues in %s", repo)
	self, err := c.Self(ctx)
	if err != nil {
		return nil, err
	}
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	list, err := collect(doing, func(i *gitea.Issue) int64 { return i.ID }, func(page gitea.ListOptions) ([]*gitea.Issue, *gitea.Response, error) {
		return api.ListRepoIssues(repo.Owner, repo.Name, gitea.ListIssueOption{ListOptions: page, State: gitea.StateAll, Type: gitea.IssueTypeIssue, CreatedBy: self})
	})
	if err != nil {
		return nil, err
	}
	var issues []forge.Issue
	for _, found := range list {
		if found.PullRequest == nil && login(found.Poster) == self {
			issues = append(issues, toIssue(found))
		}
	}
	return issues, nil
}

// UpdateIssue sets the title, body, labels and assignees of the issue with the given number. It neither closes nor opens.
// Labels that do not exist are made. Labels are set after the rest, in a request of their own.
func (c *Client) UpdateIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error) {
	doing := fmt.Sprintf("update issue %s#%d", repo, i.Number)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	labels, err := labelIDs(api, repo, i.Labels)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	now, _, err := api.EditIssue(repo.Owner, repo.Name, int64(i.Number), gitea.EditIssueOption{
		Title: i.Title, Body: &i.Body, Assignees: append([]string{}, i.Assignees...), // nil would leave them
	})
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	now.Labels, _, err = api.ReplaceIssueLabels(repo.Owner, repo.Name, int64(i.Number), gitea.IssueLabelsOption{Labels: labels})
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	return toIssue(now), nil
}

// CloseIssue closes an issue. A closed one stays closed.
func (c *Client) CloseIssue(ctx context.Context, repo forge.Repo, number int) error {
	return c.setIssueState(ctx, repo, number, "close", gitea.StateClosed)
}

// ReopenIssue opens an issue again. An open one stays open.
func (c *Client) ReopenIssue(ctx context.Context, repo forge.Repo, number int) error {
	return c.setIssueState(ctx, repo, number, "reopen", gitea.StateOpen)
}

func (c *Client) setIssueState(ctx context.Context, repo forge.Repo, number int, what string, state gitea.StateType) error {
	doing := fmt.Sprintf("%s issue %s#%d", what, repo, number)
	api, err := c.api(ctx)
	if err != nil {
		return translate(doing, err)
	}
	_, _, err = api.EditIssue(repo.Owner, repo.Name, int64(number), gitea.EditIssueOption{State: &state})
	return translate(doing, err)
}

// labelIDs finds labels by name, first the repository's, then its organisation's, and makes those that neither has.
func labelIDs(api *gitea.Client, repo forge.Repo, names []string) ([]int64, error) {
	ids := []int64{}
	if len(names) == 0 {
		return ids, nil
	}
	known := map[string]int64{}
	read := func(list func(gitea.ListOptions) ([]*gitea.Label, *gitea.Response, error)) error {
		labels, err := collect("list labels", labelID, list)
		for _, l := range labels {
			if _, ok := known[l.Name]; !ok {
				known[l.Name] = l.ID
			}
		}
		return err
	}
	err := read(func(page gitea.ListOptions) ([]*gitea.Label, *gitea.Response, error) {
		return api.ListRepoLabels(repo.Owner, repo.Name, gitea.ListLabelsOptions{ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	err = read(func(page gitea.ListOptions) ([]*gitea.Label, *gitea.Response, error) {
		labels, resp, err := api.ListOrgLabels(repo.Owner, gitea.ListOrgLabelsOptions{ListOptions: page})
		if s := status(err); s == http.StatusNotFound || s == http.StatusForbidden { // a person's repository, or no scope
			return nil, &gitea.Response{Response: &http.Response{}}, nil
		}
		return labels, resp, err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		id, ok := known[name]
		if !ok {
			made, _, err := api.CreateLabel(repo.Owner, repo.Name, gitea.CreateLabelOption{Name: name, Color: "#ededed"})
			if err != nil {
				return nil, err
			}
			id = made.ID
			known[name] = id
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func labelID(l *gitea.Label) int64 { return l.ID }

func toIssue(i *gitea.Issue) forge.Issue {
	out := forge.Issue{Number: int(i.Index), Title: i.Title, Body: i.Body, Open: i.State == gitea.StateOpen, URL: i.HTMLURL}
	if i.Closed != nil && !out.Open {
		out.ClosedAt = i.Closed.UTC()
	}
	for _, l := range i.Labels {
		out.Labels = append(out.Labels, l.Name)
	}
	for _, a := range i.Assignees {
		out.Assignees = append(out.Assignees, a.UserName)
	}
	return out
}
