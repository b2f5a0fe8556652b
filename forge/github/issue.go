package github

import (
	"context"
	"fmt"

	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// OpenIssue opens an issue and returns it as GitHub took it: it drops assignees who may not be assigned.
func (c *Client) OpenIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error) {
	doing := fmt.Sprintf("open an issue in %s", repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	made, _, err := api.Issues.Create(ctx, repo.Owner, repo.Name, toRequest(i))
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	return toIssue(made), nil
}

// Issue reads an issue.
func (c *Client) Issue(ctx context.Context, repo forge.Repo, number int) (forge.Issue, error) {
	doing := fmt.Sprintf("read issue %s#%d", repo, number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	found, _, err := api.Issues.Get(ctx, repo.Owner, repo.Name, number)
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
	api, err := c.api(ctx, repo)
	if err != nil {
		return nil, translate(doing, err)
	}
	list, err := collect(doing, func(page github.ListOptions) ([]*github.Issue, *github.Response, error) {
		return api.Issues.ListByRepo(ctx, repo.Owner, repo.Name, &github.IssueListByRepoOptions{State: "all", Creator: self, ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	var issues []forge.Issue
	for _, found := range list {
		if !found.IsPullRequest() && found.GetUser().GetLogin() == self {
			issues = append(issues, toIssue(found))
		}
	}
	return issues, nil
}

// UpdateIssue sets the title, body, labels and assignees of the issue with the given number. It neither closes nor opens.
func (c *Client) UpdateIssue(ctx context.Context, repo forge.Repo, i forge.Issue) (forge.Issue, error) {
	return c.editIssue(ctx, repo, i.Number, "update", toRequest(i))
}

// CloseIssue closes an issue. A closed one stays closed.
func (c *Client) CloseIssue(ctx context.Context, repo forge.Repo, number int) error {
	_, err := c.editIssue(ctx, repo, number, "close", &github.IssueRequest{State: github.String("closed")})
	return err
}

// ReopenIssue opens an issue again. An open one stays open.
func (c *Client) ReopenIssue(ctx context.Context, repo forge.Repo, number int) error {
	_, err := c.editIssue(ctx, repo, number, "reopen", &github.IssueRequest{State: github.String("open")})
	return err
}

func (c *Client) editIssue(ctx context.Context, repo forge.Repo, number int, what string, request *github.IssueRequest) (forge.Issue, error) {
	doing := fmt.Sprintf("%s issue %s#%d", what, repo, number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	now, _, err := api.Issues.Edit(ctx, repo.Owner, repo.Name, number, request)
	if err != nil {
		return forge.Issue{}, translate(doing, err)
	}
	return toIssue(now), nil
}

func toRequest(i forge.Issue) *github.IssueRequest {
	labels, assignees := append([]string{}, i.Labels...), append([]string{}, i.Assignees...)
	return &github.IssueRequest{Title: &i.Title, Body: &i.Body, Labels: &labels, Assignees: &assignees}
}

func toIssue(i *github.Issue) forge.Issue {
	out := forge.Issue{
		Number: i.GetNumber(), Title: i.GetTitle(), Body: i.GetBody(), Open: i.GetState() == "open", URL: i.GetHTMLURL(),
	}
	if i.ClosedAt != nil {
		out.ClosedAt = i.ClosedAt.UTC()
	}
	for _, l := range i.Labels {
		out.Labels = append(out.Labels, l.GetName())
	}
	for _, a := range i.Assignees {
		out.Assignees = append(out.Assignees, a.GetLogin())
	}
	return out
}
