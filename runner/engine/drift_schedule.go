package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// DriftOptions say how drift is looked for, and what is done about it. The zero value looks only at workspaces that say
// themselves how often, and only when half of the workers at most do so.
type DriftOptions struct {
	// Every is how often a workspace is looked at that does not say so itself, as internal/schedule reads it; "" means off.
	Every string
	// Share is how much of Parallel may look for drift at once; 0 means half. It is one worker at least.
	Share float64
	// Rates hold back how many looks begin.
	Rates schedule.Governor
	// Correct allows corrections, as plumbline.yaml configures them.
	Correct bool
	// A finding that was corrected FightAfter times within FightWithin is left alone; 0 means 3 times in a day.
	FightWithin time.Duration
	FightAfter  int
}

func (o DriftOptions) withDefaults() (DriftOptions, error) {
	if o.Every == "" {
		o.Every = "off"
	}
	if _, err := schedule.ParseEvery(o.Every); err != nil {
		return o, fmt.Errorf("make the engine: how often drift is looked for: %w", err)
	}
	if o.Share < 0 || o.Share > 1 {
		return o, fmt.Errorf("make the engine: the share of workers that look for drift is %g, which must be from 0 to 1", o.Share)
	}
	if o.Share == 0 {
		o.Share = 0.5
	}
	if o.FightWithin <= 0 {
		o.FightWithin = 24 * time.Hour
	}
	if o.FightAfter <= 0 {
		o.FightAfter = 3
	}
	return o, nil
}

// driftWorkers is how many looks this process takes at once.
func (e *Engine) driftWorkers() int { return max(1, int(float64(e.Parallel)*e.Drift.Share)) }

// timetable says when a workspace is due. What cannot be read is off: it was checked before it was kept.
func timetable(repo RepoID, workspace, every string) schedule.Timetable {
	parsed, err := schedule.ParseEvery(every)
	if err != nil {
		parsed = schedule.Every{}
	}
	return schedule.NewTimetable(parsed, string(repo)+" "+workspace)
}

func (w Sweep) timetable() schedule.Timetable { return timetable(w.Repository, w.Workspace, w.Every) }

// driftTells is how often it is looked for what is overdue.
const driftTells = 30 * time.Second

// driftUntil begins looks for drift that are due, until ctx ends.
func (e *Engine) driftUntil(ctx context.Context) {
	e.persistently(ctx, "drift is not looked for", e.followAll)
	failing, told := false, time.Time{}
	for {
		err := e.driftTick(ctx)
		if err == nil && time.Since(told) > driftTells {
			told = time.Now()
			err = e.tellOverdue(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing && !passes(err) { // that the database is gone is said by the heart
			e.log.Error("drift cannot be looked for", "error", err)
		}
		failing = err != nil
		if e.untilDrift(ctx); ctx.Err() != nil {
			return
		}
	}
}

// listenEvery is how often it is looked whether somebody at the command line has asked for a look: people wait for it. Each time wakes
// a server that is at rest, which costs far more than the looking.
const listenEvery = 250 * time.Millisecond

// untilDrift waits until it is time to see what is due: after a pause, when there is room again, or as soon as another
// process has asked for a look, where that can be told without asking the database.
func (e *Engine) untilDrift(ctx context.Context) {
	end := time.NewTimer(e.rhythm.sweep)
	defer end.Stop()
	listen := time.NewTicker(listenEvery)
	defer listen.Stop()
	for was := e.DB.Trace(); ; {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-e.looked:
			return
		case <-listen.C:
		}
		now := e.DB.Trace()
		if now == was {
			continue
		}
		was = now
		var asked bool
		err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			asked, err = e.store.isAsked(ctx, tx)
			return err
		})
		if err == nil && asked {
			return
		}
	}
}

// persistently does something until it succeeds or ctx ends.
func (e *Engine) persistently(ctx context.Context, problem string, do func(ctx context.Context) error) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := do(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !passes(err) {
			e.log.Error(problem, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// nudge has looks begun at once, if any are due: a worker is free.
func (e *Engine) nudge() {
	select {
	case e.looked <- struct{}{}:
	default:
	}
}

// driftTick makes as many looks as there is room for, and gives way to whatever else waits. How many of them are worked at
// once is heeded where a worker takes one.
func (e *Engine) driftTick(ctx context.Context) error {
	var waiting, queued, lost int64
	var due bool
	now := e.Now()
	err := e.DB.Read(ctx, func(tx *sql.Tx) error {
		one := func(into *int64, query string) (err error) {
			*into, _, err = first(ctx, tx, scanNumber, query)
			return err
		}
		err := errors.Join(
			one(&waiting, "SELECT COUNT(*) FROM run AS r WHERE r.status = 'queued' AND r.kind NOT IN ('drift', 'adopt') AND "+mayRun("r")),
			one(&queued, "SELECT COUNT(*) FROM run WHERE status = 'queued' AND kind IN ('drift', 'adopt')"),
			one(&lost, "SELECT COUNT(*) FROM sweep WHERE "+lostLook),
		)
		if err != nil {
			return err
		}
		if due, err = e.store.mayBeDue(ctx, tx); err != nil || !due {
			return err
		}
		looks, err := e.store.dueLooks(ctx, tx, 1)
		due = len(looks) > 0
		return err
	})
	if err != nil {
		return fmt.Errorf("look what is due: %w", err)
	}
	e.giveWay(int(waiting))
	if lost > 0 {
		if err := e.DB.Tx(ctx, func(tx *sql.Tx) error { return e.store.forgetLooks(ctx, tx) }); err != nil {
			return err
		}
	}
	// One waits for each that is worked, or a worker would be idle from the end of a look to the next tick.
	room := 2*e.driftWorkers() - e.count((*working).looks) - int(queued)
	if !due || room <= 0 || waiting > 0 {
		return nil
	}
	return e.beginLooks(ctx, now, room)
}

// looks reports whether the work is a look for drift, or of its kind.
func (w *working) looks() bool { return w.what == hintRun && w.run.Kind.sweeps() }

// giveWay stops as many looks as others wait for a worker of this process. They are given back, and begun again when nobody
// waits.
func (e *Engine) giveWay(waiting int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	free := e.Parallel
	var looks []*working
	for _, w := range e.busy {
		if w.what == hintRun {
			free--
		}
		if w.looks() && !w.applies() {
			looks = append(looks, w)
		}
	}
	// The youngest has done least.
	slices.SortFunc(looks, func(a, b *working) int { return strings.Compare(b.run.ID, a.run.ID) })
	for _, w := range looks[:max(0, min(waiting-max(free, 0), len(looks)))] {
		w.cancel(errPreempted)
	}
}

// beginLooks makes operations for looks that are due, as many as the governor allows.
func (e *Engine) beginLooks(ctx context.Context, now time.Time, room int) error {
	return e.DB.Tx(ctx, func(tx *sql.Tx) error {
		next, err := e.store.holdRates(ctx, tx)
		if err != nil {
			return err
		}
		looks, err := e.store.dueLooks(ctx, tx, room+e.Drift.Rates.Account.PerSecond())
		if err != nil {
			return err
		}
		due := make([]schedule.Due, len(looks))
		for i, l := range looks {
			due[i] = schedule.Due{Account: l.Account, Asked: !l.AskedAt.IsZero(), At: l.NextAt}
		}
		picked := e.Drift.Rates.Pick(now, due, room, next)
		if len(picked) == 0 {
			return nil
		}
		// Whoever holds several repositories holds them in order.
		slices.SortFunc(picked, func(a, b int) int { return strings.Compare(string(looks[a].Repository), string(looks[b].Repository)) })
		for _, i := range picked {
			if err := e.beginLook(ctx, tx, looks[i]); err != nil {
				return err
			}
		}
		return e.store.putRates(ctx, tx, now, next)
	})
}

// beginLook makes the operation that looks at a workspace. What cannot be looked at now comes around again.
func (e *Engine) beginLook(ctx context.Context, tx *sql.Tx, due Sweep) error {
	if _, err := e.store.hold(ctx, tx, due.Repository); err != nil {
		return err
	}
	w, known, err := e.store.sweep(ctx, tx, due.Repository, due.Workspace)
	if err != nil || !known || w.Gone || w.Operation != "" {
		return err
	}
	// Whoever has paused it since it was found due is told that it is paused.
	if _, paused, err := e.store.paused(ctx, tx, due.Repository, due.Workspace); err != nil || paused {
		return err
	}
	op, run, possible, err := e.look(ctx, tx, w)
	if err != nil {
		return err
	}
	now := e.Now()
	w.AskedAt, w.AskedBy, w.StartedAt = time.Time{}, "", now
	w.NextAt, _ = w.timetable().Next(now)
	if possible {
		if op, _, err = e.store.addOperation(ctx, tx, op, []Run{run}); err != nil {
			return err
		}
		w.Operation = op.ID
		if err := e.settle(ctx, tx, op.ID); err != nil {
			return err
		}
	}
	return e.store.putSweep(ctx, tx, w)
}

// look is the operation that looks at a workspace, and its run: at the commit that was applied last, or at the tip of the
// default branch where none is known. It is not possible for what is not served any more.
func (e *Engine) look(ctx context.Context, tx *sql.Tx, w Sweep) (Operation, Run, bool, error) {
	repo, known, err := e.store.repository(ctx, tx, w.Repository)
	if err != nil || !known || repo.Archived {
		return Operation{}, Run{}, false, err
	}
	if options, served := e.forge(repo.Forge); !served || !options.allows(repo.Repo) {
		return Operation{}, Run{}, false, nil
	}
	tip, known, err := e.store.branch(ctx, tx, w.Repository, repo.DefaultBranch)
	if err != nil || !known {
		return Operation{}, Run{}, false, err
	}
	row, known, err := e.store.workspace(ctx, tx, w.Repository, w.Workspace)
	if err != nil || !known || !row.Present {
		return Operation{}, Run{}, false, err
	}
	op := Operation{
		Repository: w.Repository, Kind: KindDrift, Cause: CauseSchedule, Actor: ourselves, Branch: repo.DefaultBranch,
		HeadCommit: tip, Commit: row.AppliedCommit, EventAt: w.NextAt,
	}
	if op.Commit == "" {
		op.Commit = tip
	}
	if !w.AskedAt.IsZero() {
		op.Cause, op.Actor, op.EventAt = CauseCommand, w.AskedBy, w.AskedAt
	}
	return op, Run{Workspace: w.Workspace, Dir: row.Dir}, true, nil
}

// endLook writes what became of a look at a workspace, in the transaction that ends its run: what its state is, and, if it
// came to no answer (SweepUnknown), why, sealed. It then backs off. A look that is not the newest one any more, or whose
// workspace has gone, changes nothing.
func (e *Engine) endLook(ctx context.Context, tx *sql.Tx, r Run, state SweepState, problem []byte) error {
	w, known, err := e.store.sweep(ctx, tx, r.Repository, r.Workspace)
	if err != nil || !known || w.Operation != r.Operation {
		return err
	}
	now := e.Now()
	w.Operation = ""
	if w.State != state {
		w.State, w.Since = state, now
	}
	if state == SweepUnknown {
		w.Failures++
		w.Problem = problem
		w.NextAt, _ = w.timetable().Retry(now, w.Failures)
	} else {
		w.Failures, w.Problem, w.CheckedAt, w.OverdueToldAt = 0, nil, now, time.Time{}
		w.OverdueAt, _ = w.timetable().Overdue(now)
	}
	if w.Gone {
		w.NextAt, w.OverdueAt = time.Time{}, time.Time{}
	}
	e.nudge()
	return e.store.putSweep(ctx, tx, w)
}

// sweepAccount is whose starts a workspace counts among: its label in plumbline.yaml, or its repository.
func sweepAccount(repo RepoID, label string) string {
	if label == "" {
		return string(repo)
	}
	return label
}

// followSettings brings the sweeps of a repository to what its default branch says now, given as rows for putWorkspaces.
// Looks at workspaces that have gone are stopped; their runs are returned for the workers of this process to be told.
func (e *Engine) followSettings(ctx context.Context, tx *sql.Tx, repo RepoID, present []WorkspaceRow) (cancelled []string, err error) {
	known, err := e.store.sweeps(ctx, tx, repo)
	if err != nil {
		return nil, err
	}
	before := map[string]Sweep{}
	for _, w := range known {
		before[w.Workspace] = w
	}
	now := e.Now()
	for _, row := range present {
		if row.Settings == "" {
			delete(before, row.Name)
			continue // it is known by name only
		}
		var settings workspaces.Workspace
		if err := json.Unmarshal([]byte(row.Settings), &settings); err != nil {
			return nil, fmt.Errorf("read the settings of %s of %s: %w", row.Name, repo, err)
		}
		every := settings.Drift.Every
		if every == "" {
			every = e.Drift.Every
		}
		account := sweepAccount(repo, settings.Account)
		w, ok := before[row.Name]
		delete(before, row.Name)
		if ok && !w.Gone && w.Every == every && w.Account == account {
			continue
		}
		if !ok || w.Gone || w.Every != every {
			if !ok || w.Gone {
				w.State, w.Since, w.Failures, w.Problem, w.CheckedAt = SweepNever, now, 0, nil, time.Time{}
			}
			w.Repository, w.Workspace, w.Every, w.Gone, w.KnownAt, w.OverdueToldAt = repo, row.Name, every, false, now, time.Time{}
			w.NextAt, _ = w.timetable().Next(now)
			w.OverdueAt, _ = w.timetable().Overdue(now)
		}
		w.Account = account
		if err := e.store.putSweep(ctx, tx, w); err != nil {
			return nil, err
		}
	}
	for _, w := range before {
		if w.Gone {
			continue
		}
		ids, err := e.store.stopLook(ctx, tx, w)
		if err != nil {
			return nil, err
		}
		cancelled = append(cancelled, ids...)
		w.Gone, w.NextAt, w.AskedAt, w.AskedBy, w.OverdueAt = true, time.Time{}, time.Time{}, "", time.Time{}
		if err := e.store.putSweep(ctx, tx, w); err != nil {
			return nil, err
		}
		// Nobody will see whether they are still there.
		if err := e.store.putFindings(ctx, tx, repo, w.Workspace, now, nil); err != nil {
			return nil, err
		}
		if err := e.store.putLook(ctx, tx, Look{Repository: repo, Workspace: w.Workspace, At: now, State: SweepNever}); err != nil {
			return nil, err
		}
	}
	return cancelled, nil
}

// followAll brings all sweeps to what is known of default branches: after a start, the server's own settings may be others.
func (e *Engine) followAll(ctx context.Context) error {
	var all []Repository
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		all, err = e.store.repositories(ctx, tx, "")
		return err
	})
	if err != nil {
		return err
	}
	for _, repo := range all {
		var cancelled []string
		err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
			if _, err := e.store.hold(ctx, tx, repo.ID); err != nil {
				return err
			}
			rows, err := e.store.workspaces(ctx, tx, repo.ID)
			if err != nil {
				return err
			}
			rows = slices.DeleteFunc(rows, func(w WorkspaceRow) bool { return !w.Present })
			cancelled, err = e.followSettings(ctx, tx, repo.ID, rows)
			return err
		})
		e.cancel(errCancelled, cancelled...)
		if err != nil {
			return err
		}
	}
	return nil
}

// tellOverdue raises the alarm for workspaces that were not looked at for twice their interval, once each.
func (e *Engine) tellOverdue(ctx context.Context) error {
	var overdue []Sweep
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		overdue = nil
		found, err := e.store.overdue(ctx, tx, 200)
		if err != nil {
			return err
		}
		// Whoever holds several repositories holds them in order.
		slices.SortStableFunc(found, func(a, b Sweep) int { return strings.Compare(string(a.Repository), string(b.Repository)) })
		for _, w := range found {
			if _, err := e.store.hold(ctx, tx, w.Repository); err != nil {
				return err
			}
			was := w.OverdueAt
			if w, _, err = e.store.sweep(ctx, tx, w.Repository, w.Workspace); err != nil {
				return err
			}
			if !w.OverdueToldAt.IsZero() || !w.OverdueAt.Equal(was) {
				continue // another process has told, or it was looked at meanwhile
			}
			overdue = append(overdue, w)
			w.OverdueToldAt = e.Now()
			if err := e.store.putSweep(ctx, tx, w); err != nil {
				return err
			}
			event := notify.Event{Workspace: w.Workspace, State: notify.Overdue, Note: "It is to be looked at for drift: every " + w.Every + ". That there was no answer for so long is itself worth a look."}
			if err := e.tellPeople(ctx, tx, w.Repository, event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(overdue) == 0 {
		return err
	}
	e.log.Warn("workspaces were not looked at for drift for twice their interval", "count", len(overdue),
		"repository", overdue[0].Repository, "workspace", overdue[0].Workspace, "every", overdue[0].Every, "checked", overdue[0].CheckedAt)
	return nil
}
