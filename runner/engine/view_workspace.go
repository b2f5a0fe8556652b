package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// WorkspaceDetail is all that is known of one workspace of a default branch.
type WorkspaceDetail struct {
	WorkspaceCard
	Home     Repository
	Settings workspaces.Workspace
	Known    bool // Settings are
	Look     Sweep
	Problem  string // why the newest look came to no answer; "" when it came to one
	Pauses   []Pause
	IssueURL string // of the issue that tells of its drift; "" when none is open
	// Needs are applied first; NeededBy wait for this one.
	Needs, NeededBy []WorkspaceCard
	Findings        []FindingView // those that are there, and those that went lately
	More            int           // findings that are there and are not shown
	Looks           []Look        // what was seen lately, the newest first, and one before
	Since           time.Time     // from when on Looks tell
	Runs            []RunCard     // the newest first, but looks that found nothing
	Older           string        // id of a run: those before it are left; "" when none are
}

// How much of a workspace is shown.
const (
	detailRuns     = 25
	detailFindings = 60
	detailDays     = 90
	detailLooks    = 400
)

// Workspace reads one workspace, and the runs of it that began before the run with an id, or the newest with "".
func (v *Views) Workspace(ctx context.Context, sight Sight, repo RepoID, name, before string) (WorkspaceDetail, error) {
	var d WorkspaceDetail
	var rows []FindingRow
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		d, rows = WorkspaceDetail{Since: v.Now().AddDate(0, 0, -detailDays)}, nil
		home, err := v.repositoryOf(ctx, tx, sight, repo)
		if err != nil {
			return err
		}
		row, ok, err := v.store.workspace(ctx, tx, repo, name)
		if err == nil && (!ok || !row.Present) {
			err = fmt.Errorf("the workspace: %w", ErrNoSuch)
		}
		if err != nil {
			return err
		}
		cards, err := v.cards(ctx, tx, repo)
		if err != nil {
			return err
		}
		needs, err := v.needs(ctx, tx, repo)
		if err != nil {
			return err
		}
		d.Home = home
		for _, c := range cards {
			switch {
			case c.Name == name:
				d.WorkspaceCard = c
			case slices.Contains(needs[name], c.Name):
				d.Needs = append(d.Needs, c)
			case slices.Contains(needs[c.Name], name):
				d.NeededBy = append(d.NeededBy, c)
			}
		}
		d.Known = row.Settings != "" && json.Unmarshal([]byte(row.Settings), &d.Settings) == nil
		if d.Look, _, err = v.store.sweep(ctx, tx, repo, name); err != nil {
			return err
		}
		pauses, err := v.store.pauses(ctx, tx)
		if err != nil {
			return err
		}
		for _, p := range pauses {
			if p.covers(repo, name) {
				p.Reason, p.Actor = v.plain.Line(p.Reason), v.plain.Line(p.Actor)
				if !sight.Sees(p.Repository) { // that everything is paused holds here, too
					p.Reason, p.Actor = "", "somebody"
				}
				d.Pauses = append(d.Pauses, p)
			}
		}
		issue, ok, err := v.store.driftIssue(ctx, tx, repo, workspaceIssue+name)
		if err != nil {
			return err
		}
		if ok && issue.Open {
			d.IssueURL = issue.URL
		}
		if rows, err = v.store.findings(ctx, tx, repo, name, v.Now().Add(-pastFor)); err != nil {
			return err
		}
		if err := v.looks(ctx, tx, &d, repo, name); err != nil {
			return err
		}
		d.Runs, err = list(ctx, tx, scanRunCard, `SELECT `+runCardColumns+` FROM run AS r JOIN operation AS o ON o.id = r.operation
			WHERE r.repository = $1 AND r.workspace = $2 AND (r.id < $3 OR $3 = '') AND NOT (r.kind = 'drift' AND r.status IN ('unchanged', 'superseded'))
			ORDER BY r.id DESC LIMIT $4`, string(repo), name, before, detailRuns+1)
		if err == nil && len(d.Runs) > detailRuns {
			d.Runs = d.Runs[:detailRuns]
			d.Older = d.Runs[detailRuns-1].ID
		}
		return err
	})
	if err != nil {
		return WorkspaceDetail{}, fmt.Errorf("read a workspace: %w", err)
	}
	if len(d.Look.Problem) > 0 && d.Look.State == SweepUnknown {
		d.Problem = "What it was does not open with the key that this server has."
		if plans, err := v.Plans(string(repo)); err == nil {
			if text, err := openProblem(plans, d.Look); err == nil {
				d.Problem = v.plain.Text(text)
			}
		}
	}
	d.Look.Problem = nil
	// What is there comes first, and what wants a person before what does not.
	slices.SortStableFunc(rows, func(a, b FindingRow) int { return findingRank(a) - findingRank(b) })
	for i, row := range rows {
		if i < detailFindings {
			d.Findings = append(d.Findings, v.finding(row))
		} else if row.GoneAt.IsZero() {
			d.More++
		}
	}
	return d, nil
}

func findingRank(f FindingRow) int {
	switch {
	case !f.GoneAt.IsZero():
		return 3
	case f.Noise:
		return 2
	case f.StoppedAt.IsZero():
		return 1
	}
	return 0
}

// looks reads the history of a workspace's drift, and what was seen before it begins.
func (v *Views) looks(ctx context.Context, tx *sql.Tx, d *WorkspaceDetail, repo RepoID, name string) error {
	var err error
	if d.Looks, err = v.store.newestLooks(ctx, tx, repo, name, d.Since, detailLooks); err != nil {
		return err
	}
	if len(d.Looks) == detailLooks {
		d.Since = d.Looks[len(d.Looks)-1].At // more would not be seen apart
		return nil
	}
	before, ok, err := first(ctx, tx, scanLook, "SELECT "+lookColumns+" FROM sweep_history WHERE repository = $1 AND workspace = $2 AND at < $3 ORDER BY at DESC LIMIT 1",
		string(repo), name, millis(d.Since))
	if ok {
		d.Looks = append(d.Looks, before)
	}
	return err
}

// needs reads which workspaces of a repository come before which.
func (v *Views) needs(ctx context.Context, tx *sql.Tx, repo RepoID) (map[string][]string, error) {
	needs := map[string][]string{}
	err := each(ctx, tx, func(row scanner) error {
		var name, settings string
		if err := row.Scan(&name, &settings); err != nil {
			return err
		}
		var order struct {
			DependsOn []string `json:"depends_on"`
		}
		// Settings that cannot be read order nothing.
		if settings != "" && json.Unmarshal([]byte(settings), &order) == nil && len(order.DependsOn) > 0 {
			needs[name] = order.DependsOn
		}
		return nil
	}, "SELECT name, settings FROM workspace WHERE repository = $1 AND present = 1 ORDER BY name", string(repo))
	if err != nil {
		return nil, fmt.Errorf("read the order of %s: %w", repo, err)
	}
	return needs, nil
}
