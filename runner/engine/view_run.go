package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// RunDetail is one run: what it was for, what it came to and who allowed it. Its texts hold no secret.
type RunDetail struct {
	Run       Run // without its Result
	Operation Operation
	Home      Repository
	Change    ChangeRow // zero for a push without a change
	Others    []RunCard // of the same operation, in the graph's order, this one among them
	Receipt   planstore.Plan
	Elapsed   time.Duration
	Error     string
	Notes     []string
	Hold      *HoldView // why a reviewed plan was not applied
	// Diff is what the run's plan does or did; nil where there is no plan to show. Fresh is that of a plan that would be
	// applied now instead of the one that was reviewed.
	Diff, Fresh *prcomment.Diff
	Decisions   []audit.Entry // about this run, the oldest first
	Waits       []string      // for what it waits, in sentences
}

// HoldView says why a reviewed plan was not applied.
type HoldView struct {
	Reason      string
	Differences []string
	Next        string
}

// Run reads a run.
func (v *Views) Run(ctx context.Context, sight Sight, id string) (RunDetail, error) {
	var d RunDetail
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		d = RunDetail{}
		run, ok, err := v.store.run(ctx, tx, id)
		if err == nil && (!ok || !sight.Sees(run.Repository)) {
			err = fmt.Errorf("the run: %w", ErrNoSuch)
		}
		if err != nil {
			return err
		}
		d.Run = run
		if d.Operation, _, err = v.store.operation(ctx, tx, run.Operation); err != nil {
			return err
		}
		if d.Home, err = v.repositoryOf(ctx, tx, sight, run.Repository); err != nil {
			return err
		}
		if d.Operation.Change > 0 {
			if d.Change, _, err = v.store.change(ctx, tx, run.Repository, d.Operation.Change); err != nil {
				return err
			}
		}
		d.Others, err = list(ctx, tx, scanRunCard, "SELECT "+runCardColumns+" FROM run AS r JOIN operation AS o ON o.id = r.operation WHERE o.id = $1 ORDER BY r.position, r.workspace", run.Operation)
		if err != nil {
			return err
		}
		if !run.Status.Ended() {
			if d.Waits, err = v.waits(ctx, tx, run, d.Operation.Seq); err != nil {
				return err
			}
		}
		h, err := v.horizon(ctx, tx, sight)
		if err != nil {
			return err
		}
		d.Decisions, err = v.decisions(ctx, tx, h, run, d.Operation, d.Home)
		return err
	})
	if err != nil {
		return RunDetail{}, fmt.Errorf("read a run: %w", err)
	}
	if err := v.outcome(ctx, &d); err != nil {
		return RunDetail{}, err
	}
	d.Run.Result = nil
	return d, nil
}

// decisions reads what the audit log tells of a run: what names it, and what was decided on its operation for its workspace.
func (v *Views) decisions(ctx context.Context, tx *sql.Tx, h horizon, run Run, o Operation, home Repository) ([]audit.Entry, error) {
	filter := audit.Filter{Repository: home.Repo.String(), Workspace: run.Workspace, Since: o.CreatedAt.Add(-time.Minute), Limit: 200}
	if !run.EndedAt.IsZero() {
		filter.Until = run.EndedAt.Add(time.Minute)
	}
	all, err := v.Audit.List(ctx, tx, filter)
	if err != nil {
		return nil, err
	}
	var about []audit.Entry
	for i := len(all) - 1; i >= 0; i-- {
		e := all[i]
		its := e.Details["run"] == run.ID
		ours := h.named(e.Repository) && e.Details["run"] == "" && e.Action == string(run.Kind) && e.Change == int64(o.Change) && e.Commit == o.Commit
		if its || ours {
			about = append(about, v.entry(e))
		}
	}
	return about, nil
}

// outcome reads what a run came to, with its plan.
func (v *Views) outcome(ctx context.Context, d *RunDetail) error {
	plans, err := v.Plans(string(d.Run.Repository))
	if err != nil {
		return err
	}
	o, err := openResult(plans, d.Run)
	var broken *planstore.BrokenError
	if errors.As(err, &broken) {
		d.Notes = append(d.Notes, "What came of it is in the database, but does not open: "+broken.Detail+".")
	} else if err != nil {
		return err
	}
	res, err := o.result(ctx, plans, &v.shown, d.Run)
	if err != nil {
		return err
	}
	plain := v.plain.With(res.Plan)
	if res.Hold != nil {
		plain = plain.With(res.Hold.Plan)
	}
	past := d.Run.Status == Applied
	d.Receipt, d.Elapsed, d.Diff = res.Receipt, res.Elapsed, plain.Diff(res.Plan, past)
	if res.Err != nil {
		d.Error = plain.Text(res.Err.Error())
	}
	for _, note := range res.Notes {
		d.Notes = append(d.Notes, plain.Text(note))
	}
	for _, note := range d.Operation.Notes {
		d.Notes = append(d.Notes, plain.Text(note))
	}
	if h := res.Hold; h != nil {
		d.Hold = &HoldView{Reason: plain.Text(h.Reason), Next: plain.Text(h.Next)}
		for _, line := range h.Differences {
			d.Hold.Differences = append(d.Hold.Differences, plain.Line(line))
		}
		d.Fresh = plain.Diff(h.Plan, false)
	}
	for i, reason := range d.Run.Reasons {
		d.Run.Reasons[i] = plain.Line(reason)
	}
	d.Change.Title = plain.Line(d.Change.Title)
	return nil
}

// waits says in sentences what a run that has not ended waits for.
func (v *Views) waits(ctx context.Context, tx *sql.Tx, run Run, seq int64) ([]string, error) {
	var sentences []string
	others, err := v.store.runsOf(ctx, tx, run.Operation)
	if err != nil {
		return nil, err
	}
	var needs []string
	for _, other := range others {
		for _, name := range run.Needs {
			if other.Workspace == name && !other.Status.Ended() {
				needs = append(needs, v.plain.Line(name))
			}
		}
	}
	switch {
	case run.Status == Waiting && len(needs) > 0:
		sentences = append(sentences, "It waits for "+strings.Join(needs, ", ")+", which it needs.")
	case run.Status == Queued:
		sentences = append(sentences, "It is ready, and waits for a worker.")
	}
	if run.Status == Running || run.Kind == KindPlan {
		return sentences, nil
	}
	earlier, err := list(ctx, tx, scanText, `SELECT DISTINCT r.workspace FROM run AS r JOIN operation AS o ON o.id = r.operation
		WHERE r.repository = $1 AND r.writes = 1 AND r.status IN ('waiting', 'queued', 'running') AND o.seq < $2 AND r.operation <> $3`, string(run.Repository), seq, run.Operation)
	if err != nil {
		return nil, err
	}
	var applies []string
	for _, name := range earlier {
		if name == run.Workspace || slices.Contains(run.Around, name) {
			applies = append(applies, "It waits for an earlier apply of "+v.plain.Line(name)+".")
		}
	}
	if len(applies) > 0 && run.Status == Queued {
		return applies, nil
	}
	return append(sentences, applies...), nil
}
