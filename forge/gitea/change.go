package gitea

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// Change reads a pull request. Once it is closed without a merge, Gitea goes on to report the tip of its head branch, which
// may have moved since, for as long as that branch exists; of merged ones see settle.
func (c *Client) Change(ctx context.Context, repo forge.Repo, number int) (forge.Change, error) {
	doing := fmt.Sprintf("read pull request %s#%d", repo, number)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	pr, _, err := api.GetPullRequest(repo.Owner, repo.Name, int64(number))
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	return c.settle(ctx, api, toChange(repo, pr))
}

// Changes lists pull requests, the longest untouched first. A pull request that is updated while the list is read may
// be missing the update; it is in the next list, because its UpdatedAt is later than all that were returned.
func (c *Client) Changes(ctx context.Context, repo forge.Repo, opts forge.ChangesOptions) ([]forge.Change, error) {
	doing := fmt.Sprintf("list pull requests of %s", repo)
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	state := gitea.StateAll
	if opts.OpenOnly {
		state = gitea.StateOpen
	}
	since := opts.Since.Truncate(time.Second)
	// Newest first, so that reading stops at the first one that is too old, and one that is updated meanwhile pushes
	// others to a later page, where they are seen twice, rather than to an earlier one, where they would be missed.
	enough := false
	list, err := collect(doing, pullRequestNumber, func(page gitea.ListOptions) ([]*gitea.PullRequest, *gitea.Response, error) {
		if enough {
			return nil, &gitea.Response{Response: &http.Response{}}, nil
		}
		prs, resp, err := api.ListRepoPullRequests(repo.Owner, repo.Name, gitea.ListPullRequestsOptions{
			ListOptions: page, State: state, Sort: "recentupdate",
		})
		old := slices.IndexFunc(prs, func(pr *gitea.PullRequest) bool { return pr.Updated != nil && pr.Updated.Before(since) })
		if err == nil && old >= 0 {
			prs, enough = prs[:old], true
		}
		return prs, resp, err
	})
	if err != nil {
		return nil, err
	}
	changes := make([]forge.Change, len(list))
	for i, pr := range list {
		if changes[len(list)-1-i], err = c.settle(ctx, api, toChange(repo, pr)); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// OpenChange opens a pull request from one branch of the repository to another. If one is open between the two, it gets
// the title and the body and is returned, so that asking twice opens one.
func (c *Client) OpenChange(ctx context.Context, repo forge.Repo, head, base, title, body string) (forge.Change, error) {
	doing := fmt.Sprintf("open a pull request from %q to %q in %s", head, base, repo)
	api, err := c.api(ctx)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	open, err := c.openPull(ctx, repo, head, base)
	if err != nil {
		return forge.Change{}, err
	}
	if open == 0 {
		made, _, err := api.CreatePullRequest(repo.Owner, repo.Name, gitea.CreatePullRequestOption{Head: head, Base: base, Title: title, Body: body})
		if err == nil {
			return toChange(repo, made), nil
		}
		if status(err) != http.StatusConflict {
			return forge.Change{}, translate(doing, err)
		}
		// Another process, or an earlier try whose answer got lost, was quicker.
		if open, err = c.openPull(ctx, repo, head, base); err != nil {
			return forge.Change{}, err
		}
		if open == 0 {
			return forge.Change{}, fmt.Errorf("%s: Gitea says that there is one, and lists none", doing)
		}
	}
	now, _, err := api.EditPullRequest(repo.Owner, repo.Name, int64(open), gitea.EditPullRequestOption{Title: title, Body: &body})
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	return toChange(repo, now), nil
}

// openPull finds the number of the open pull request between two branches of the repository; 0 if there is none.
func (c *Client) openPull(ctx context.Context, repo forge.Repo, head, base string) (int, error) {
	open, err := c.Changes(ctx, repo, forge.ChangesOptions{OpenOnly: true})
	if err != nil {
		return 0, err
	}
	for _, change := range open {
		if !change.Fork && change.Head.Branch == head && change.Base.Branch == base {
			return change.Number, nil
		}
	}
	return 0, nil
}

// Approvals lists who approves of a change as things stand, the oldest approval first. Approvals that Gitea would not
// count are left out: those of people who may not write to the repository, or whom the branch's protection does not name.
// Whether an approval of an older head counts is for the caller to say.
func (c *Client) Approvals(ctx context.Context, repo forge.Repo, number int) ([]forge.Approval, error) {
	return c.reviews(ctx, repo, number, gitea.ReviewStateApproved)
}

// Rejections lists who asks for changes as things stand, those left out of whom Gitea would take no notice. Whether that
// keeps the change out is for the caller to say.
func (c *Client) Rejections(ctx context.Context, repo forge.Repo, number int) ([]string, error) {
	standing, err := c.reviews(ctx, repo, number, gitea.ReviewStateRequestChanges)
	var logins []string
	for _, r := range standing {
		logins = append(logins, r.Author)
	}
	return logins, err
}

// reviews lists the last verdict of each person that is the one asked for.
func (c *Client) reviews(ctx context.Context, repo forge.Repo, number int, verdict gitea.ReviewStateType) ([]forge.Approval, error) {
	doing := fmt.Sprintf("list reviews of %s#%d", repo, number)
	api, err := c.api(ctx)
	if err != nil {
		return nil, translate(doing, err)
	}
	reviews, err := collect(doing, reviewID, func(page gitea.ListOptions) ([]*gitea.PullReview, *gitea.Response, error) {
		return api.ListPullReviews(repo.Owner, repo.Name, int64(number), gitea.ListPullReviewsOptions{ListOptions: page})
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(reviews, func(a, b *gitea.PullReview) int {
		return cmp.Or(a.Submitted.Compare(b.Submitted), cmp.Compare(a.ID, b.ID))
	})
	// A remark without a verdict leaves the verdict before it.
	var standing []forge.Approval
	for _, r := range reviews {
		author := login(r.Reviewer)
		if author == "" || (r.State != gitea.ReviewStateApproved && r.State != gitea.ReviewStateRequestChanges) {
			continue
		}
		standing = slices.DeleteFunc(standing, func(a forge.Approval) bool { return a.Author == author })
		if r.State == verdict && r.Official && !r.Dismissed {
			standing = append(standing, forge.Approval{Author: author, Commit: r.CommitID, At: r.Submitted})
		}
	}
	return standing, nil
}

// Permission reads what a user may do in the repository. Someone whom Gitea does not know may do nothing. It takes an
// administrator of the repository to ask.
func (c *Client) Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error) {
	doing := fmt.Sprintf("read the permission of %q in %s", user, repo)
	if user == "" {
		return forge.None, nil
	}
	api, err := c.api(ctx)
	if err != nil {
		return forge.None, translate(doing, err)
	}
	level, _, err := api.CollaboratorPermission(repo.Owner, repo.Name, user)
	if status(err) == http.StatusNotFound {
		return forge.None, nil
	}
	if err != nil {
		return forge.None, administrator(translate(doing, err))
	}
	switch level.Permission {
	case gitea.AccessModeOwner, gitea.AccessModeAdmin:
		return forge.Admin, nil
	case gitea.AccessModeWrite:
		return forge.Write, nil
	case gitea.AccessModeRead:
		return forge.Read, nil
	default:
		return forge.None, nil
	}
}

// Protection reads what Gitea asks for before a change gets into the branch. Its Checks may be patterns, such as "ci/*".
// A protection that these credentials cannot see in full is a *forge.NotAllowedError, never taken for none.
func (c *Client) Protection(ctx context.Context, repo forge.Repo, branch string) (forge.Protection, error) {
	doing := fmt.Sprintf("read the protection of branch %q of %s", branch, repo)
	b, err := c.branch(ctx, doing, repo, branch)
	if err != nil || !b.Protected {
		return forge.Protection{}, err
	}
	// A rule may be for many branches by a pattern. Only administrators are told its name.
	if b.EffectiveBranchProtectionName == "" {
		return forge.Protection{}, administrator(&forge.NotAllowedError{
			Doing: doing, Says: "the branch is protected, and these credentials cannot see how",
		})
	}
	api, err := c.api(ctx)
	if err != nil {
		return forge.Protection{}, translate(doing, err)
	}
	rule, _, err := api.GetBranchProtection(repo.Owner, repo.Name, b.EffectiveBranchProtectionName)
	if err != nil {
		return forge.Protection{}, administrator(translate(doing, err))
	}
	p := forge.Protection{Approvals: int(rule.RequiredApprovals), DismissStale: rule.DismissStaleApprovals, Rejections: rule.BlockOnRejectedReviews}
	if rule.EnableStatusCheck {
		p.Checks = slices.Compact(slices.Sorted(slices.Values(rule.StatusCheckContexts)))
	}
	return p, nil
}

// administrator says what to do about something that only administrators of a repository are told.
func administrator(err error) error {
	var refused *forge.NotAllowedError
	if errors.As(err, &refused) && refused.Fix == "" {
		refused.Fix = "make the token's user an administrator of the repository"
	}
	return err
}

// Merge merges a change if its head is still the one given, and returns the commit on the base branch. If Gitea refuses,
// the error is a *forge.NotMergeableError.
//
// Gitea finds out in the background whether a change conflicts, and gives the same answer while it does not know as it
// does for a conflict. So Merge asks again until Options.MaxWait has passed.
func (c *Client) Merge(ctx context.Context, change forge.Change, method forge.MergeMethod) (string, error) {
	repo := change.Repo
	doing := fmt.Sprintf("merge %s#%d", repo, change.Number)
	api, err := c.api(ctx)
	if err != nil {
		return "", translate(doing, err)
	}
	patience := time.After(c.opts.MaxWait)
	for {
		_, _, err = api.MergePullRequest(repo.Owner, repo.Name, int64(change.Number), gitea.MergePullRequestOption{
			Style: gitea.MergeStyle(method), HeadCommitId: change.Head.Commit,
		})
		var refused *answerError
		if !errors.As(err, &refused) || (refused.status != http.StatusMethodNotAllowed && refused.status != http.StatusConflict) {
			break
		}
		if refused.says == "User not allowed to merge PR" {
			return "", &forge.NotAllowedError{Doing: doing, Says: refused.says, Fix: "let the token's user write to the repository and merge into the branch"}
		}
		refusal := &forge.NotMergeableError{Repo: repo, Change: change.Number, Says: refused.says}
		if refused.says != "Please try again later" {
			return "", refusal
		}
		refusal.Says = "it conflicts with its base, or Gitea does not know yet whether it does"
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s: %w", doing, ctx.Err())
		case <-patience:
			return "", refusal
		case <-time.After(250 * time.Millisecond):
		}
	}
	if err != nil {
		return "", translate(doing, err)
	}
	merged, err := c.Change(ctx, repo, change.Number)
	return merged.MergeCommit, err
}

func pullRequestNumber(pr *gitea.PullRequest) int64 { return pr.Index }

func reviewID(r *gitea.PullReview) int64 { return r.ID }

func toChange(repo forge.Repo, pr *gitea.PullRequest) forge.Change {
	c := forge.Change{
		Repo: repo, Number: int(pr.Index), Title: pr.Title, Author: login(pr.Poster),
		State: forge.Open, Draft: pr.Draft, Fork: true, URL: pr.HTMLURL,
		UpdatedAt: moment(pr.Updated), ClosedAt: moment(pr.Closed),
	}
	if pr.State == gitea.StateClosed {
		c.State = forge.Closed
	}
	if pr.HasMerged {
		c.State = forge.Merged
		if pr.MergedCommitID != nil {
			c.MergeCommit = *pr.MergedCommitID
		}
		if c.ClosedAt.IsZero() {
			c.ClosedAt = moment(pr.Merged)
		}
	}
	if pr.Base != nil {
		c.Base = forge.Ref{Branch: pr.Base.Ref, Commit: pr.Base.Sha}
	}
	if pr.Head != nil {
		// The other field, Ref, becomes refs/pull/… when the branch is gone.
		c.Head = forge.Ref{Branch: pr.Head.Name, Commit: pr.Head.Sha}
		// A head without a branch was pushed to refs/for/…, which is open to all who may read, so nobody has vouched for
		// it any more than for a fork's.
		c.Fork = pr.Head.Name == "" || pr.Base == nil || pr.Head.RepoID != pr.Base.RepoID
		if pr.Head.Name == "" {
			c.Head.Branch = pr.Head.Ref
		}
	}
	return c
}

// moment reads a time that may be missing.
func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
