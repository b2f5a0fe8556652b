package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// Change reads a pull request.
func (c *Client) Change(ctx context.Context, repo forge.Repo, number int) (forge.Change, error) {
	doing := fmt.Sprintf("read pull request %s#%d", repo, number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	pr, _, err := api.PullRequests.Get(ctx, repo.Owner, repo.Name, number)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	return toChange(repo, pr), nil
}

// Changes lists pull requests, the longest untouched first. A pull request that is updated while the list is read may
// be missing the update; it is in the next list, because its UpdatedAt is later than all that were returned.
func (c *Client) Changes(ctx context.Context, repo forge.Repo, opts forge.ChangesOptions) ([]forge.Change, error) {
	doing := fmt.Sprintf("list pull requests of %s", repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return nil, translate(doing, err)
	}
	state := "all"
	if opts.OpenOnly {
		state = "open"
	}
	since := opts.Since.Truncate(time.Second)
	// Newest first, so that reading stops at the first one that is too old, and one that is updated meanwhile pushes
	// others to a later page, where they are seen twice, rather than to an earlier one, where they would be missed.
	list, err := collect(doing, func(page github.ListOptions) ([]*github.PullRequest, *github.Response, error) {
		prs, resp, err := api.PullRequests.List(ctx, repo.Owner, repo.Name, &github.PullRequestListOptions{
			State: state, Sort: "updated", Direction: "desc", ListOptions: page,
		})
		old := slices.IndexFunc(prs, func(pr *github.PullRequest) bool { return pr.GetUpdatedAt().Before(since) })
		if err == nil && old >= 0 {
			prs, resp.NextPage = prs[:old], 0
		}
		return prs, resp, err
	})
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	var changes []forge.Change
	for _, pr := range list {
		if !seen[pr.GetNumber()] {
			seen[pr.GetNumber()] = true
			changes = append(changes, toChange(repo, pr))
		}
	}
	slices.Reverse(changes)
	return changes, nil
}

// OpenChange opens a pull request from one branch of the repository to another. If one is open between the two, it gets
// the title and the body and is returned, so that asking twice opens one.
func (c *Client) OpenChange(ctx context.Context, repo forge.Repo, head, base, title, body string) (forge.Change, error) {
	doing := fmt.Sprintf("open a pull request from %q to %q in %s", head, base, repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	open, err := openPull(ctx, api, repo, head, base)
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	if open == nil {
		made, _, err := api.PullRequests.Create(ctx, repo.Owner, repo.Name, &github.NewPullRequest{Head: &head, Base: &base, Title: &title, Body: &body})
		if err == nil {
			return toChange(repo, made), nil
		}
		// Another process, or an earlier try whose answer got lost, may have been quicker.
		again, findErr := openPull(ctx, api, repo, head, base)
		if status(err) != http.StatusUnprocessableEntity || findErr != nil || again == nil {
			return forge.Change{}, translate(doing, err)
		}
		open = again
	}
	now, _, err := api.PullRequests.Edit(ctx, repo.Owner, repo.Name, open.GetNumber(), &github.PullRequest{Title: &title, Body: &body})
	if err != nil {
		return forge.Change{}, translate(doing, err)
	}
	return toChange(repo, now), nil
}

// openPull finds the open pull request between two branches of the repository, or returns nil.
func openPull(ctx context.Context, api *github.Client, repo forge.Repo, head, base string) (*github.PullRequest, error) {
	prs, _, err := api.PullRequests.List(ctx, repo.Owner, repo.Name, &github.PullRequestListOptions{
		State: "open", Head: repo.Owner + ":" + head, Base: base, ListOptions: github.ListOptions{PerPage: 100},
	})
	if err != nil {
		return nil, err
	}
	for _, pr := range prs {
		// A head that GitHub cannot make sense of is no filter, and a fork may have a branch of the name.
		if c := toChange(repo, pr); !c.Fork && c.Head.Branch == head && c.Base.Branch == base {
			return pr, nil
		}
	}
	return nil, nil
}

// Approvals lists who approves of a change as things stand, the oldest approval first. Whether an approval of an older
// head counts, and whether its author may approve, is for the caller to say.
func (c *Client) Approvals(ctx context.Context, repo forge.Repo, number int) ([]forge.Approval, error) {
	return c.reviews(ctx, repo, number, "APPROVED")
}

// Rejections lists who asks for changes as things stand. Whether that keeps the change out is for the caller to say.
func (c *Client) Rejections(ctx context.Context, repo forge.Repo, number int) ([]string, error) {
	standing, err := c.reviews(ctx, repo, number, "CHANGES_REQUESTED")
	var logins []string
	for _, r := range standing {
		logins = append(logins, r.Author)
	}
	return logins, err
}

// reviews lists the last verdict of each person that is the one asked for.
func (c *Client) reviews(ctx context.Context, repo forge.Repo, number int, verdict string) ([]forge.Approval, error) {
	doing := fmt.Sprintf("list reviews of %s#%d", repo, number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return nil, translate(doing, err)
	}
	reviews, err := collect(doing, func(page github.ListOptions) ([]*github.PullRequestReview, *github.Response, error) {
		return api.PullRequests.ListReviews(ctx, repo.Owner, repo.Name, number, &page)
	})
	if err != nil {
		return nil, err
	}
	// GitHub lists reviews in the order in which they were given. A remark without a verdict leaves the verdict before it.
	var standing []forge.Approval
	for _, r := range reviews {
		author := r.GetUser().GetLogin()
		state := r.GetState()
		if author == "" || (state != "APPROVED" && state != "CHANGES_REQUESTED" && state != "DISMISSED") {
			continue
		}
		standing = slices.DeleteFunc(standing, func(a forge.Approval) bool { return a.Author == author })
		if state == verdict {
			standing = append(standing, forge.Approval{Author: author, Commit: r.GetCommitID(), At: r.GetSubmittedAt().Time})
		}
	}
	return standing, nil
}

// Permission reads what a user may do in the repository. Someone whom GitHub does not know may do nothing.
func (c *Client) Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error) {
	doing := fmt.Sprintf("read the permission of %q in %s", user, repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.None, translate(doing, err)
	}
	// A bot's login has brackets, and a login in a payload can be anything.
	level, _, err := api.Repositories.GetPermissionLevel(ctx, repo.Owner, repo.Name, url.PathEscape(user))
	if status(err) == http.StatusNotFound {
		return forge.None, nil
	}
	if err != nil {
		return forge.None, translate(doing, err)
	}
	// "maintain" is reported as write, "triage" as read.
	switch level.GetPermission() {
	case "admin":
		return forge.Admin, nil
	case "write":
		return forge.Write, nil
	case "read":
		return forge.Read, nil
	default:
		return forge.None, nil
	}
}

// Protection reads what GitHub asks for before a change gets into the branch: the branch's protection and the rulesets
// that apply to it, whichever asks for more. A protection that these credentials cannot see is a *forge.NotAllowedError,
// never taken for none.
func (c *Client) Protection(ctx context.Context, repo forge.Repo, branch string) (forge.Protection, error) {
	doing := fmt.Sprintf("read the protection of branch %q of %s", branch, repo)
	api, err := c.api(ctx, repo)
	if err != nil {
		return forge.Protection{}, translate(doing, err)
	}
	var p forge.Protection
	if err := classicProtection(ctx, api, repo, branch, &p); err != nil {
		return forge.Protection{}, translate(doing, err)
	}
	if err := rulesets(ctx, api, repo, branch, &p); err != nil {
		return forge.Protection{}, translate(doing, err)
	}
	slices.Sort(p.Checks)
	p.Checks = slices.Compact(p.Checks)
	return p, nil
}

func classicProtection(ctx context.Context, api *github.Client, repo forge.Repo, branch string, p *forge.Protection) error {
	// The branch itself can be read by everybody who can read the repository and says whether it is protected by other
	// things than rulesets. How is told to administrators.
	path := fmt.Sprintf("repos/%s/%s/branches/%s", repo.Owner, repo.Name, url.PathEscape(branch))
	var summary struct {
		Protection struct {
			Enabled bool `json:"enabled"`
		} `json:"protection"`
	}
	if err := get(ctx, api, path, &summary); err != nil {
		return err
	}
	if !summary.Protection.Enabled {
		return nil
	}
	var full struct {
		Checks *struct {
			Contexts []string `json:"contexts"`
			Checks   []struct {
				Context string `json:"context"`
			} `json:"checks"`
		} `json:"required_status_checks"`
		Reviews *struct {
			Count        int  `json:"required_approving_review_count"`
			DismissStale bool `json:"dismiss_stale_reviews"`
		} `json:"required_pull_request_reviews"`
	}
	err := get(ctx, api, path+"/protection", &full)
	if s := status(err); s == http.StatusNotFound || s == http.StatusForbidden {
		return &forge.NotAllowedError{
			Doing: fmt.Sprintf("read the protection of branch %q of %s", branch, repo),
			Says:  "the branch is protected, and these credentials cannot see how",
			Fix:   `give the App or the token the repository permission "Administration: read"`,
		}
	}
	if err != nil {
		return err
	}
	if full.Checks != nil {
		p.Checks = append(p.Checks, full.Checks.Contexts...)
		for _, check := range full.Checks.Checks {
			p.Checks = append(p.Checks, check.Context)
		}
	}
	if full.Reviews != nil {
		p.Approvals = max(p.Approvals, full.Reviews.Count)
		p.DismissStale = p.DismissStale || full.Reviews.DismissStale
		p.Rejections = p.Rejections || full.Reviews.Count > 0
	}
	return nil
}

// rulesets adds what the rules that apply to a branch ask for. Enterprise servers before 3.11 and some plans have none.
func rulesets(ctx context.Context, api *github.Client, repo forge.Repo, branch string, p *forge.Protection) error {
	type rule struct {
		Type       string `json:"type"`
		Parameters struct {
			Count        int  `json:"required_approving_review_count"`
			DismissStale bool `json:"dismiss_stale_reviews_on_push"`
			Checks       []struct {
				Context string `json:"context"`
			} `json:"required_status_checks"`
		} `json:"parameters"`
	}
	// Unlike go-github's own method, this escapes the branch and reads every page.
	rules, err := collect("", func(page github.ListOptions) ([]rule, *github.Response, error) {
		path := fmt.Sprintf("repos/%s/%s/rules/branches/%s?per_page=%d", repo.Owner, repo.Name, url.PathEscape(branch), page.PerPage)
		if page.Page > 0 {
			path += fmt.Sprintf("&page=%d", page.Page)
		}
		req, err := api.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			return nil, nil, err
		}
		var some []rule
		resp, err := api.Do(ctx, req, &some)
		if status(err) == http.StatusNotFound {
			return nil, resp, nil
		}
		return some, resp, err
	})
	if err != nil {
		return err
	}
	for _, r := range rules {
		switch r.Type {
		case "pull_request":
			p.Approvals = max(p.Approvals, r.Parameters.Count)
			p.DismissStale = p.DismissStale || r.Parameters.DismissStale
			p.Rejections = p.Rejections || r.Parameters.Count > 0
		case "required_status_checks":
			for _, check := range r.Parameters.Checks {
				p.Checks = append(p.Checks, check.Context)
			}
		}
	}
	return nil
}

// Merge merges a change if its head is still the one that is passed, and returns the commit on the base branch. It
// returns a *forge.NotMergeableError if GitHub refuses the change as it stands.
func (c *Client) Merge(ctx context.Context, change forge.Change, method forge.MergeMethod) (string, error) {
	repo := change.Repo
	doing := fmt.Sprintf("merge %s#%d", repo, change.Number)
	api, err := c.api(ctx, repo)
	if err != nil {
		return "", translate(doing, err)
	}
	result, _, err := api.PullRequests.Merge(ctx, repo.Owner, repo.Name, change.Number, "", &github.PullRequestOptions{
		SHA: change.Head.Commit, MergeMethod: string(method),
	})
	switch status(err) {
	case http.StatusMethodNotAllowed, http.StatusConflict, http.StatusUnprocessableEntity:
		says := strings.TrimPrefix(translate(doing, err).Error(), doing+": ")
		return "", &forge.NotMergeableError{Repo: repo, Change: change.Number, Says: says}
	}
	if err != nil {
		return "", translate(doing, err)
	}
	return result.GetSHA(), nil
}

// get reads what go-github has no method for, or no field.
func get(ctx context.Context, api *github.Client, path string, into any) error {
	req, err := api.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	_, err = api.Do(ctx, req, into)
	return err
}

func toChange(repo forge.Repo, pr *github.PullRequest) forge.Change {
	c := forge.Change{
		Repo:   repo,
		Number: pr.GetNumber(),
		Title:  pr.GetTitle(),
		Author: pr.GetUser().GetLogin(),
		State:  forge.Open,
		Draft:  pr.GetDraft(),
		// A deleted fork has no repository any more.
		Fork:      pr.GetHead().GetRepo() == nil || pr.GetHead().GetRepo().GetID() != pr.GetBase().GetRepo().GetID(),
		Head:      forge.Ref{Branch: pr.GetHead().GetRef(), Commit: pr.GetHead().GetSHA()},
		Base:      forge.Ref{Branch: pr.GetBase().GetRef(), Commit: pr.GetBase().GetSHA()},
		URL:       pr.GetHTMLURL(),
		UpdatedAt: pr.GetUpdatedAt().Time,
		ClosedAt:  pr.GetClosedAt().Time,
	}
	switch {
	case pr.MergedAt != nil: // lists do not say "merged"
		// Of an open change this field is a trial merge.
		c.State, c.MergeCommit = forge.Merged, pr.GetMergeCommitSHA()
	case pr.GetState() == "closed":
		c.State = forge.Closed
	}
	return c
}
