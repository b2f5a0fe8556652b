package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
)

// The actions about drift that the audit log knows besides corrections.
const (
	actionPause  = "drift-pause"
	actionResume = "drift-resume"
	actionLook   = "drift-look"
)

// DriftControl says stop and go on to all servers that share a database, and asks them to look. It needs none of them to
// run: what it writes holds for whoever reads the rows.
type DriftControl struct {
	db    *database.DB
	audit *audit.Log
	store *store
}

// NewDriftControl makes one.
func NewDriftControl(db *database.DB, log *audit.Log) *DriftControl {
	return &DriftControl{db: db, audit: log, store: &store{now: time.Now}}
}

// Pause keeps all servers from looking for drift and from correcting it, from now on, where p says; p.At is set. Looks
// that are under way are stopped; a correction that Terraform applies already comes to its end.
func (c *DriftControl) Pause(ctx context.Context, p Pause) error {
	p.At = c.store.now().UTC()
	return c.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := c.store.pauseDrift(ctx, tx, p); err != nil { // workers notice within a few seconds
			return err
		}
		_, err := c.audit.Append(ctx, tx, pauseEntry(p))
		return err
	})
}

// Resume ends the pause of exactly this scope: everything, a repository or a workspace. It reports whether there was one.
func (c *DriftControl) Resume(ctx context.Context, p Pause) (bool, error) {
	ended := false
	err := c.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if ended, err = c.store.endPause(ctx, tx, p.scope()); err != nil || !ended {
			return err
		}
		_, err = c.audit.Append(ctx, tx, resumeEntry(p))
		return err
	})
	return ended, err
}

// Ask has workspaces looked at as soon as there is a worker. It is refused, for all, if one of them is paused.
func (c *DriftControl) Ask(ctx context.Context, actor string, all []Sweep) error {
	return c.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, w := range all {
			if err := c.store.askUnpaused(ctx, tx, w.Repository, w.Workspace, actor); err != nil {
				return err
			}
		}
		for _, w := range all {
			if _, err := c.audit.Append(ctx, tx, lookEntry(w.Repository, w.Workspace, actor)); err != nil {
				return err
			}
		}
		return nil
	})
}

// askUnpaused asks for a look at a workspace that is known and not paused.
func (s *store) askUnpaused(ctx context.Context, tx *sql.Tx, repo RepoID, workspace, actor string) error {
	p, paused, err := s.paused(ctx, tx, repo, workspace)
	if err != nil {
		return err
	}
	if paused {
		return fmt.Errorf("%s is not looked at: %w %s", workspace, errPaused, p)
	}
	ok, err := s.askLook(ctx, tx, repo, workspace, actor)
	if err == nil && !ok {
		err = fmt.Errorf("there is no workspace %s on the default branch of %s", workspace, repo.repo())
	}
	return err
}

// pauseEntry is what the audit log keeps of a pause: not its reason, which somebody wrote.
func pauseEntry(p Pause) audit.Entry {
	e := p.entry(actionPause, "nothing is looked at nor corrected until it is resumed")
	if !p.Until.IsZero() {
		e.Reason = "nothing is looked at nor corrected until " + p.Until.UTC().Format(time.RFC3339)
	}
	return e
}

// resumeEntry is what it keeps of the end of one.
func resumeEntry(p Pause) audit.Entry { return p.entry(actionResume, "the pause was ended") }

func (p Pause) entry(action, reason string) audit.Entry {
	e := audit.Entry{Actor: p.Actor, Action: action, Workspace: p.Workspace, Allowed: true, Reason: reason}
	if p.Repository != "" {
		e.Repository = p.Repository.repo().String()
	}
	return e
}

// lookEntry is what it keeps of a look that somebody asks for.
func lookEntry(repo RepoID, workspace, actor string) audit.Entry {
	return audit.Entry{Actor: actor, Action: actionLook, Repository: repo.repo().String(), Workspace: workspace, Allowed: true, Reason: "a look for drift was asked for"}
}

// DriftStatus is how it stands with drift on all servers that share a database.
type DriftStatus struct {
	Pauses   []Pause
	Sweeps   []Sweep // of workspaces that are there, by repository and name
	Findings map[string]int
	Now      time.Time
}

// Status reads how it stands with drift.
func (c *DriftControl) Status(ctx context.Context) (DriftStatus, error) {
	s := DriftStatus{Now: c.store.now().UTC()}
	err := c.db.Read(ctx, func(tx *sql.Tx) (err error) {
		if s.Pauses, err = c.store.pauses(ctx, tx); err != nil {
			return err
		}
		if s.Sweeps, err = c.store.sweeps(ctx, tx, ""); err != nil {
			return err
		}
		s.Sweeps = slices.DeleteFunc(s.Sweeps, func(w Sweep) bool { return w.Gone })
		s.Findings, err = c.store.findingCounts(ctx, tx, "repository || ' ' || workspace")
		return err
	})
	return s, err
}

// Found is how many findings there are of a workspace now.
func (s DriftStatus) Found(w Sweep) int { return s.Findings[pauseScope(w.Repository, w.Workspace)] }

// Paused is the pause that holds for a workspace, nil if none does.
func (s DriftStatus) Paused(w Sweep) *Pause {
	for i, p := range s.Pauses { // the widest first
		if p.covers(w.Repository, w.Workspace) {
			return &s.Pauses[i]
		}
	}
	return nil
}

func (p Pause) covers(repo RepoID, workspace string) bool {
	return p.Repository == "" || p.Repository == repo && (p.Workspace == "" || p.Workspace == workspace)
}

// Overdue reports whether a workspace was not looked at for twice its interval, though nobody has said pause.
func (s DriftStatus) Overdue(w Sweep) bool {
	return !w.Gone && !w.OverdueAt.IsZero() && w.OverdueAt.Before(s.Now) && s.Paused(w) == nil
}

// Find finds the workspaces of a name, in one repository (OWNER/NAME or FORGE/OWNER/NAME) or, with "", in all. An error
// says what there is instead.
func (s DriftStatus) Find(repository, name string) ([]Sweep, error) {
	var found []Sweep
	for _, w := range s.Sweeps {
		if w.Workspace == name && inRepository(w.Repository, repository) {
			found = append(found, w)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the server knows no workspace %s%s: `plumbline drift status` lists them", name, ofRepository(repository))
	}
	if len(found) > 1 {
		var repos []string
		for _, w := range found {
			repos = append(repos, string(w.Repository))
		}
		return nil, fmt.Errorf("several repositories have a workspace %s: say which with --repo: %s", name, strings.Join(repos, ", "))
	}
	return found, nil
}

// Repository finds the repository that OWNER/NAME or FORGE/OWNER/NAME stands for.
func (s DriftStatus) Repository(text string) (RepoID, error) {
	var found []string
	for _, w := range s.Sweeps {
		if inRepository(w.Repository, text) && !slices.Contains(found, string(w.Repository)) {
			found = append(found, string(w.Repository))
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("the server knows no workspaces of %s", text)
	case 1:
		return RepoID(found[0]), nil
	}
	return "", fmt.Errorf("%s is on several forges: write %s", text, strings.Join(found, " or "))
}

func inRepository(repo RepoID, text string) bool {
	return text == "" || strings.EqualFold(text, string(repo)) || strings.EqualFold(text, repo.repo().String())
}

func ofRepository(text string) string {
	if text == "" {
		return ""
	}
	return " of " + text
}

// findingCounts counts what differs now, by an expression over the rows.
func (s *store) findingCounts(ctx context.Context, tx *sql.Tx, by string) (map[string]int, error) {
	type count struct {
		by string
		n  int
	}
	all, err := list(ctx, tx, func(row scanner) (c count, err error) {
		err = row.Scan(&c.by, &c.n)
		return c, err
	}, "SELECT "+by+" AS what, COUNT(*) FROM finding WHERE gone_at = 0 GROUP BY "+by)
	if err != nil {
		return nil, fmt.Errorf("count the findings: %w", err)
	}
	counts := map[string]int{}
	for _, c := range all {
		counts[c.by] = c.n
	}
	return counts, nil
}
