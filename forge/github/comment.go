package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// Comments lists the comments on a change or an issue, the oldest first.
func (c *Client) Comments(ctx context.Context, repo forge.Repo, number int) ([]forge.Comment, error) {
	return c.listComments(ctx, repo, number, github.IssueListCommentsOptions{})
}

// CommentsSince lists the comments on all changes and issues of a repository, the longest unedited first.
func (c *Client) CommentsSince(ctx context.Context, repo forge.Repo, opts forge.CommentsOptions) ([]forge.Comment, error) {
	// Newest first while reading, for the reason given in Changes.
	query := github.IssueListCommentsOptions{Sort: github.String("updated"), Direction: github.String("desc")}
	if !opts.Since.IsZero() {
		since := opts.Since.UTC().Truncate(time.Second)
		query.Since = &since
	}
	comments, err := c.listComments(ctx, repo, 0, query)
	slices.Reverse(comments)
	return comments, err
}

// listComments lists the comments on one change, or on all of them if number is 0.
func (c *Client) listComments(ctx context.Context, repo forge.Repo, number int, query github.IssueListCommentsOptions) ([]forge.Comment, error) {
	doing := fmt.Sprintf("list comments of %s", repo)
	if number > 0 {
		doing = fmt.Sprintf("list comments of %s#%d", repo, number)
	}
	self, err := c.Self(ctx)
	if err != nil {
		return nil, err
	}
	api, err := c.api(ctx, repo)
	if err != nil {
		return nil, translate(doing, err)
	}
	list, err := collect(doing, func(page github.ListOptions) ([]*github.IssueComment, *github.Response, error) {
		query := query
		query.ListOptions = page
		return api.Issues.ListComments(ctx, repo.Owner, repo.Name, number, &query)
	})
	if err != nil {
		return nil, err
	}
	seen := map[int64]bool{}
	var comments []forge.Comment
	for _, found := range list {
		if seen[found.GetID()] {
			continue
		}
		seen[found.GetID()] = true
		comments = append(comments, toComment(found, self))
	}
	return comments, nil
}

// CreateComment comments on a change.
func (c *Client) CreateComment(ctx context.Context, repo forge.Repo, number int, body string) (forge.Comment, error) {
	doing := fmt.Sprintf("comment on %s#%d", repo, number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	made, _, err := api.Issues.CreateComment(ctx, repo.Owner, repo.Name, number, &github.IssueComment{Body: &body})
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	return toComment(made, made.GetUser().GetLogin()), nil
}

// EditComment gives a comment of ours another body. GitHub notifies nobody of it.
func (c *Client) EditComment(ctx context.Context, repo forge.Repo, id, body string) (forge.Comment, error) {
	doing := fmt.Sprintf("edit comment %s of %s", id, repo)
	number, api, err := c.comment(ctx, repo, id)
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	self, err := c.Self(ctx)
	if err != nil {
		return forge.Comment{}, err
	}
	made, _, err := api.Issues.EditComment(ctx, repo.Owner, repo.Name, number, &github.IssueComment{Body: &body})
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	return toComment(made, self), nil
}

// MinimiseComment folds a comment away as outdated. It always can on GitHub, so done is true unless there is an error.
func (c *Client) MinimiseComment(ctx context.Context, repo forge.Repo, id string) (done bool, err error) {
	doing := fmt.Sprintf("minimise comment %s of %s", id, repo)
	number, api, err := c.comment(ctx, repo, id)
	if err != nil {
		return false, translate(doing, err)
	}
	found, _, err := api.Issues.GetComment(ctx, repo.Owner, repo.Name, number)
	if err != nil {
		return false, translate(doing, err)
	}
	// The REST API cannot do this.
	req, err := api.NewRequest(http.MethodPost, c.graphql, map[string]any{
		"query":     `mutation($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: OUTDATED}) { minimizedComment { isMinimized } } }`,
		"variables": map[string]string{"id": found.GetNodeID()},
	})
	if err != nil {
		return false, translate(doing, err)
	}
	var answer struct {
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if _, err := api.Do(ctx, req, &answer); err != nil {
		return false, translate(doing, err)
	}
	if len(answer.Errors) == 0 {
		return true, nil
	}
	switch first := answer.Errors[0]; first.Type {
	case "FORBIDDEN", "INSUFFICIENT_SCOPES":
		return false, &forge.NotAllowedError{Doing: doing, Says: first.Message, Fix: "give the token or the App write access to pull requests"}
	case "NOT_FOUND":
		return false, fmt.Errorf("%s: %w", doing, forge.ErrNotFound)
	case "RATE_LIMITED":
		return false, &forge.RateLimitError{Doing: doing, Until: time.Now().Add(time.Minute)}
	default:
		return false, fmt.Errorf("%s: GitHub answered: %s", doing, first.Message)
	}
}

// React puts a reaction under a comment. A second time changes nothing.
func (c *Client) React(ctx context.Context, repo forge.Repo, commentID string, r forge.Reaction) error {
	doing := fmt.Sprintf("react to comment %s of %s", commentID, repo)
	number, api, err := c.comment(ctx, repo, commentID)
	if err != nil {
		return translate(doing, err)
	}
	_, _, err = api.Reactions.CreateIssueCommentReaction(ctx, repo.Owner, repo.Name, number, string(r))
	return translate(doing, err)
}

// comment reads a comment's id and returns the client for its repository.
func (c *Client) comment(ctx context.Context, repo forge.Repo, id string) (int64, *github.Client, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || number <= 0 {
		return 0, nil, errors.New("a comment's id on GitHub is a positive number")
	}
	api, err := c.api(ctx, repo)
	return number, api, err
}

func toComment(c *github.IssueComment, self string) forge.Comment {
	change, _ := strconv.Atoi(c.GetIssueURL()[strings.LastIndexByte(c.GetIssueURL(), '/')+1:])
	return forge.Comment{
		ID:     strconv.FormatInt(c.GetID(), 10),
		Change: change,
		// Only the address of the page tells issues from changes.
		Issue:     !strings.Contains(c.GetHTMLURL(), "/pull/"),
		Author:    c.GetUser().GetLogin(),
		Body:      c.GetBody(),
		Ours:      self != "" && c.GetUser().GetLogin() == self,
		URL:       c.GetHTMLURL(),
		CreatedAt: c.GetCreatedAt().Time,
		UpdatedAt: c.GetUpdatedAt().Time,
	}
}
