package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// Comments lists the comments on a change or an issue, the oldest first.
func (c *Client) Comments(ctx context.Context, repo forge.Repo, number int) ([]forge.Comment, error) {
	doing := fmt.Sprintf("list comments of %s#%d", repo, number)
	return c.listComments(ctx, doing, func(api *gitea.Client, opts gitea.ListIssueCommentOptions) ([]*gitea.Comment, *gitea.Response, error) {
		return api.ListIssueComments(repo.Owner, repo.Name, int64(number), opts)
	})
}

// CommentsSince lists the comments on all changes and issues of a repository, the longest unedited first.
func (c *Client) CommentsSince(ctx context.Context, repo forge.Repo, opts forge.CommentsOptions) ([]forge.Comment, error) {
	doing := fmt.Sprintf("list comments of %s", repo)
	comments, err := c.listComments(ctx, doing, func(api *gitea.Client, page gitea.ListIssueCommentOptions) ([]*gitea.Comment, *gitea.Response, error) {
		page.Since = opts.Since.UTC().Truncate(time.Second)
		return api.ListRepoIssueComments(repo.Owner, repo.Name, page)
	})
	slices.SortStableFunc(comments, func(a, b forge.Comment) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
	return comments, err
}

func (c *Client) listComments(ctx context.Context, doing string,
	read func(*gitea.Client, gitea.ListIssueCommentOptions) ([]*gitea.Comment, *gitea.Response, error),
) ([]forge.Comment, error) {
	self, err := c.Self(ctx)
	if err != nil {
		return nil, err
	}
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	list, err := collect(doing, commentID, func(page gitea.ListOptions) ([]*gitea.Comment, *gitea.Response, error) {
		return read(api, gitea.ListIssueCommentOptions{ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	var comments []forge.Comment
	for _, found := range list {
		comments = append(comments, toComment(found, self))
	}
	return comments, nil
}

// CreateComment comments on a change.
func (c *Client) CreateComment(ctx context.Context, repo forge.Repo, number int, body string) (forge.Comment, error) {
	doing := fmt.Sprintf("comment on %s#%d", repo, number)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	made, _, err := api.CreateIssueComment(repo.Owner, repo.Name, int64(number), gitea.CreateIssueCommentOption{Body: body})
	if status(err) == http.StatusInternalServerError {
		// That is Gitea's answer where there is no such change, too. Trying that again would never help.
		if _, _, gone := api.GetIssue(repo.Owner, repo.Name, int64(number)); status(gone) == http.StatusNotFound {
			err = gone
		}
	}
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	return toComment(made, login(made.Poster)), nil
}

// EditComment gives a comment of ours another body. Gitea notifies nobody of it.
func (c *Client) EditComment(ctx context.Context, repo forge.Repo, id, body string) (forge.Comment, error) {
	doing := fmt.Sprintf("edit comment %s of %s", id, repo)
	number, err := parseCommentID(id)
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	self, err := c.Self(ctx)
	if err != nil {
		return forge.Comment{}, err
	}
	api, err := c.api(ctx)
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	made, _, err := api.EditIssueComment(repo.Owner, repo.Name, number, gitea.EditIssueCommentOption{Body: body})
	if err != nil {
		return forge.Comment{}, translate(doing, err)
	}
	return toComment(made, self), nil
}

// MinimiseComment does nothing and says so: done is always false, because Gitea cannot fold comments away.
func (c *Client) MinimiseComment(context.Context, forge.Repo, string) (done bool, err error) {
	return false, nil
}

// React puts a reaction under a comment. A second time changes nothing.
func (c *Client) React(ctx context.Context, repo forge.Repo, commentID string, r forge.Reaction) error {
	doing := fmt.Sprintf("react to comment %s of %s", commentID, repo)
	number, err := parseCommentID(commentID)
	if err != nil {
		return translate(doing, err)
	}
	api, err := c.api(ctx)
	if err != nil {
		return translate(doing, err)
	}
	_, _, err = api.PostIssueCommentReaction(repo.Owner, repo.Name, number, string(r))
	return translate(doing, err)
}

func parseCommentID(id string) (int64, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || number <= 0 {
		return 0, errors.New("a comment's id on Gitea is a positive number")
	}
	return number, nil
}

func commentID(c *gitea.Comment) int64 { return c.ID }

func toComment(c *gitea.Comment, self string) forge.Comment {
	// Of the two addresses Gitea leaves one empty.
	change, _ := strconv.Atoi(path.Base(c.PRURL + c.IssueURL))
	return forge.Comment{
		ID:     strconv.FormatInt(c.ID, 10),
		Change: change,
		Issue:  c.PRURL == "",
		Author: login(c.Poster),
		Body:   c.Body,
		// A comment that was brought over from another forge bears the login of whoever did that.
		Ours:      self != "" && login(c.Poster) == self && c.OriginalAuthor == "",
		URL:       c.HTMLURL,
		CreatedAt: c.Created,
		UpdatedAt: c.Updated,
	}
}
