package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// DriftFilter chooses findings. Zero fields choose all.
type DriftFilter struct {
	Class       drift.Class
	Cause       drift.Cause
	Text        string // words that all stand in the repository, workspace or address
	From, Limit int
}

// DriftBoard is how it stands with drift, over all workspaces of default branches.
type DriftBoard struct {
	Summary  DriftSummary
	Counts   map[drift.Class]map[drift.Cause]int // findings that are there
	Findings []FindingView                       // that the filter chooses
	Found    int
	// Corrections are what the audit log tells of corrections, made and refused, the newest first.
	Corrections []audit.Entry
}

// DriftSummary is how it stands with drift in numbers, and where it comes and goes.
type DriftSummary struct {
	States   map[SweepState]int // workspaces that are looked at, or were
	Findings int
	Overdue  int // workspaces that were not looked at for twice their interval
	Pauses   []Pause
	// Histories are of workspaces that have drifted, are not known, are overdue, or had findings lately, and how many there
	// are beyond the first few dozen.
	Histories     []DriftHistory
	MoreHistories int
}

// DriftHistory is how drift of one workspace came and went.
type DriftHistory struct {
	Repository RepoID
	Workspace  string
	State      SweepState
	Since      time.Time // when it came to be in that state
	CheckedAt  time.Time // of the newest look that came to an answer; zero before the first
	Overdue    bool
	Fights     int    // findings that wait for a person, because something puts them back
	Turns      []Look // in the last month, the newest first
}

// boardCorrections is how many entries on corrections the board shows.
const boardCorrections = 25

// Drift reads the board.
func (v *Views) Drift(ctx context.Context, sight Sight, f DriftFilter) (DriftBoard, error) {
	var b DriftBoard
	var rows []FindingRow
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		b, rows = DriftBoard{Counts: map[drift.Class]map[drift.Cause]int{}}, nil
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		if b.Summary, err = v.store.driftSummary(ctx, tx, h); err != nil {
			return err
		}
		if b.Summary.Histories, b.Summary.MoreHistories, err = v.store.driftHistories(ctx, tx, h); err != nil {
			return err
		}
		words := strings.Fields(strings.ToLower(f.Text))
		type place struct{ repo, workspace, key string }
		var chosen []place
		seen, args := h.where("repository")
		if err := each(ctx, tx, func(row scanner) error {
			var p place
			var address string
			var class drift.Class
			var cause drift.Cause
			if err := row.Scan(&p.repo, &p.workspace, &p.key, &address, &class, &cause); err != nil {
				return err
			}
			if b.Counts[class] == nil {
				b.Counts[class] = map[drift.Cause]int{}
			}
			b.Counts[class][cause]++
			if (f.Class == "" || f.Class == class) && (f.Cause == "" || f.Cause == cause) && contains(words, p.repo, p.workspace, address) {
				if b.Found++; b.Found > f.From && len(chosen) < f.Limit {
					chosen = append(chosen, p)
				}
			}
			return nil
		}, `SELECT repository, workspace, key, address, class, cause FROM finding WHERE gone_at = 0`+seen+`
			ORDER BY CASE WHEN stopped_at > 0 THEN 0 ELSE 1 END, CASE class WHEN 'cluster' THEN 0 WHEN 'node' THEN 1 ELSE 2 END,
			CASE cause WHEN 'outside' THEN 0 WHEN 'unapplied' THEN 1 WHEN 'upgrade' THEN 2 WHEN 'data' THEN 3 ELSE 4 END, first_seen DESC, repository, workspace, key`, args...); err != nil {
			return fmt.Errorf("read the findings: %w", err)
		}
		for _, p := range chosen {
			row, ok, err := v.store.finding(ctx, tx, RepoID(p.repo), p.workspace, p.key)
			if err != nil {
				return err
			}
			if ok {
				rows = append(rows, row)
			}
		}
		b.Corrections, err = v.Audit.List(ctx, tx, h.audit(audit.Filter{Action: actionCorrect, Limit: boardCorrections}))
		return err
	})
	if err != nil {
		return DriftBoard{}, fmt.Errorf("read how it stands with drift: %w", err)
	}
	b.Summary.Pauses = v.pausesInSight(sight, b.Summary.Pauses)
	for i, e := range b.Corrections {
		b.Corrections[i] = v.entry(e)
	}
	for _, row := range rows {
		b.Findings = append(b.Findings, v.finding(row))
	}
	return b, nil
}
