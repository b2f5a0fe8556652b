package github

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

const (
	maxDescription = 140   // characters that GitHub takes in a commit status
	maxSummary     = 65535 // characters that it takes in a check run's summary
)

// SetStatus puts a verdict on a commit: as a check run if we are an App that may write those, which shows the summary
// too, else as a commit status. Branch protection knows both by the context.
func (c *Client) SetStatus(ctx context.Context, repo forge.Repo, commit string, s forge.Status) error {
	doing := fmt.Sprintf("set status %q on %s@%.12s", s.Context, repo, commit)
	if c.app != nil {
		i, err := c.app.installation(ctx, repo)
		if err != nil {
			return translate(doing, err)
		}
		may, err := i.mayCheck(ctx)
		if err != nil {
			return translate(doing, err)
		}
		if may {
			return translate(doing, c.setCheckRun(ctx, i.api, repo, commit, s))
		}
	}
	api, err := c.api(ctx, repo)
	if err != nil {
		return translate(doing, err)
	}
	status := &github.RepoStatus{
		State:       github.String(string(s.State)),
		Context:     &s.Context,
		Description: github.String(forge.Cut(s.Description, maxDescription)),
	}
	if s.URL != "" {
		status.TargetURL = &s.URL
	}
	_, _, err = api.Repositories.CreateStatus(ctx, repo.Owner, repo.Name, commit, status)
	return translate(doing, err)
}

// setCheckRun updates our check run of that name, or creates it. A finished one is not reopened: a new one takes its
// place, as GitHub's own do when they run again.
func (c *Client) setCheckRun(ctx context.Context, api *github.Client, repo forge.Repo, commit string, s forge.Status) error {
	runs, _, err := api.Checks.ListCheckRunsForRef(ctx, repo.Owner, repo.Name, commit, &github.ListCheckRunsOptions{
		CheckName: &s.Context, AppID: &c.opts.App.ID, Filter: github.String("latest"),
	})
	if err != nil {
		return err
	}
	progress, conclusion := "completed", ""
	switch s.State {
	case forge.Pending:
		progress = "in_progress"
	case forge.Success:
		conclusion = "success"
	default:
		// A check run has no word for "could not be checked"; what is not good must not pass, and the title says why.
		conclusion = "failure"
	}
	title := forge.Cut(s.Description, 255)
	if title == "" {
		title = s.Context
	}
	summary := forge.Cut(s.Summary, maxSummary)
	output := &github.CheckRunOutput{Title: &title, Summary: &summary}
	var url *string
	if s.URL != "" {
		url = &s.URL
	}
	var concluded *string
	if conclusion != "" {
		concluded = &conclusion
	}
	if len(runs.CheckRuns) > 0 && runs.CheckRuns[0].GetStatus() != "completed" {
		_, _, err := api.Checks.UpdateCheckRun(ctx, repo.Owner, repo.Name, runs.CheckRuns[0].GetID(), github.UpdateCheckRunOptions{
			Name: s.Context, DetailsURL: url, Status: &progress, Conclusion: concluded, Output: output,
		})
		return err
	}
	_, _, err = api.Checks.CreateCheckRun(ctx, repo.Owner, repo.Name, github.CreateCheckRunOptions{
		Name: s.Context, HeadSHA: commit, DetailsURL: url, Status: &progress, Conclusion: concluded, Output: output,
	})
	return err
}

// Verdicts reads how the commit statuses and check runs on a commit stand, by context. What does not keep a change out
// counts as Success: a check that was skipped, or is neutral. Credentials that may not read check runs see commit statuses
// alone.
func (c *Client) Verdicts(ctx context.Context, repo forge.Repo, commit string) (map[string]forge.StatusState, error) {
	doing := fmt.Sprintf("read the statuses of %s@%.12s", repo, commit)
	api, err := c.api(ctx, repo)
	if err != nil {
		return nil, translate(doing, err)
	}
	verdicts := map[string]forge.StatusState{}
	statuses, err := collect(doing, func(page github.ListOptions) ([]*github.RepoStatus, *github.Response, error) {
		return api.Repositories.ListStatuses(ctx, repo.Owner, repo.Name, commit, &page)
	})
	if err != nil {
		return nil, err
	}
	for _, s := range statuses { // the newest first
		if _, newer := verdicts[s.GetContext()]; !newer {
			verdicts[s.GetContext()] = forge.StatusState(s.GetState())
		}
	}
	runs, err := collect("", func(page github.ListOptions) ([]*github.CheckRun, *github.Response, error) {
		list, resp, err := api.Checks.ListCheckRunsForRef(ctx, repo.Owner, repo.Name, commit, &github.ListCheckRunsOptions{Filter: github.String("latest"), ListOptions: page})
		if s := status(err); s == http.StatusForbidden || s == http.StatusNotFound {
			return nil, resp, nil
		}
		if err != nil {
			return nil, resp, err
		}
		return list.CheckRuns, resp, nil
	})
	if err != nil {
		return nil, translate(doing, err)
	}
	for _, run := range runs {
		state := forge.Failure
		switch {
		case run.GetStatus() != "completed":
			state = forge.Pending
		case run.GetConclusion() == "success" || run.GetConclusion() == "neutral" || run.GetConclusion() == "skipped":
			state = forge.Success
		}
		// Two Apps may have checks of one name, and a commit status may be called so too: it takes all of them.
		if _, known := verdicts[run.GetName()]; !known || state != forge.Success {
			verdicts[run.GetName()] = state
		}
	}
	return verdicts, nil
}
