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

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// RequestView is a request and what became of it. Its texts hold no secret.
type RequestView struct {
	ID      RequestID
	Request Request
	Home    Repository // zero for what is about all
	Actor   string     // who asked, as the audit log has it
	Via     string
	State   RequestState
	Why     string // it is refused or failed; of one that waits, why the last attempt came to nothing
	NextAt  time.Time
	AskedAt time.Time
	EndedAt time.Time
	Runs    []RunCard // that came of it
}

// Request reads a request.
func (v *Views) Request(ctx context.Context, sight Sight, id RequestID) (RequestView, error) {
	var d RequestView
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		r, known, err := v.store.request(ctx, tx, id)
		if err == nil && (!known || !sight.Sees(r.Repository)) {
			err = ErrNoSuch
		}
		if err != nil {
			return err
		}
		d = RequestView{
			ID: r.ID, Request: r.Request, Actor: v.plain.Line(r.actor()), Via: r.Via, State: r.State, Why: v.plain.Text(r.Why),
			AskedAt: r.AskedAt, EndedAt: r.EndedAt,
		}
		d.Request.Reason = v.plain.Line(r.Reason)
		if r.Repository == "" {
			return nil
		}
		if d.Home, err = v.repositoryOf(ctx, tx, sight, r.Repository); err != nil {
			return err
		}
		if r.State == RequestWaiting {
			if d.Why, d.NextAt, err = v.attempted(ctx, tx, r); err != nil {
				return err
			}
		}
		operation, err := v.store.operationOf(ctx, tx, r)
		if err == nil && operation != "" {
			d.Runs, err = list(ctx, tx, scanRunCard, "SELECT "+runCardColumns+" FROM run AS r JOIN operation AS o ON o.id = r.operation WHERE o.id = $1 ORDER BY r.position, r.workspace", operation)
		}
		return err
	})
	if err != nil {
		return RequestView{}, fmt.Errorf("read a request: %w", err)
	}
	return d, nil
}

// attempted is what the last attempt at a request that waits came to, and when the next one is.
func (v *Views) attempted(ctx context.Context, tx *sql.Tx, r requestRow) (why string, next time.Time, err error) {
	forgeName, _, _ := strings.Cut(string(r.Repository), "/")
	var at int64
	_, _, err = first(ctx, tx, func(row scanner) (struct{}, error) { return struct{}{}, row.Scan(&why, &at) },
		"SELECT problem, next_at FROM event WHERE key = $1", forgeName+" "+requestKey(r))
	if why == "" {
		return "", time.Time{}, err
	}
	return v.plain.Line(why), moment(at), err
}

// Preview is what a request would do, as far as rows tell before it is made: the forge is asked when it is worked.
type Preview struct {
	Request Request // with Seen, of apply
	Home    Repository
	Change  ChangeRow
	Targets []PreviewTarget
	// Refused is why it would be refused, in a sentence; "" where nothing is known that stands in the way.
	Refused string
	// Findings are those that correct is about, as far as there is room; MoreFindings is how many others there are.
	Findings     []FindingView
	MoreFindings int
	Covered      int    // of pause and resume: workspaces that are looked at and covered
	Waiting      string // of retry: what the last attempt came to
}

// PreviewTarget is one workspace of it.
type PreviewTarget struct {
	Workspace string
	Run       string           // whose plan it is about; "" where none is
	Counts    planstore.Counts // of that plan
	Approvals int              // that plumbline.yaml asks for; the forge knows whether they are there
	Left      string           // why nothing is done about it; "" if something is
}

// Preview reads what a request would do. Errors are as of Engine.Ask.
func (v *Views) Preview(ctx context.Context, sight Sight, r Request) (Preview, error) {
	if err := r.check(); err != nil {
		return Preview{}, err
	}
	if !sight.Sees(r.Repository) {
		return Preview{}, ErrNoSuch
	}
	var p Preview
	err := v.DB.Read(ctx, func(tx *sql.Tx) error {
		p = Preview{Request: r}
		err := v.store.thereIs(ctx, tx, r)
		if err == nil && r.Repository != "" {
			p.Home, err = v.repositoryOf(ctx, tx, sight, r.Repository)
		}
		if err != nil {
			return err
		}
		if why, _ := r.atOnce(); why != "" {
			return &refusal{why: why}
		}
		if r.Action.OfChange() {
			return v.previewChange(ctx, tx, &p)
		}
		return v.previewDrift(ctx, tx, &p)
	})
	var no *refusal
	if errors.As(err, &no) {
		p.Refused, err = no.why, nil
	}
	if err != nil {
		return Preview{}, fmt.Errorf("look what %s would do: %w", r.Action, err)
	}
	p.Refused = v.plain.Text(p.Refused)
	return p, nil
}

// aimed is a workspace of a change, and its run that a command is about.
type aimed struct {
	run  Run
	leaf judgement
}

func (v *Views) previewChange(ctx context.Context, tx *sql.Tx, p *Preview) error {
	row, _, err := v.store.change(ctx, tx, p.Request.Repository, p.Request.Change)
	if err != nil {
		return err
	}
	p.Change = row
	p.Change.Title = v.plain.Line(row.Title)
	var all []aimed
	switch row.State {
	case forge.Open:
		all, err = v.aimedOpen(ctx, tx, p, row)
	case forge.Merged:
		all, err = v.aimedMerged(ctx, tx, p, row)
	default:
		return &refusal{why: "it is closed."}
	}
	if err != nil {
		return err
	}
	chosen, err := pick(named(all), p.Request.Workspaces)
	if err != nil {
		return err
	}
	plans, err := v.Plans(string(p.Request.Repository))
	if err != nil {
		return err
	}
	left := 0
	for _, a := range all {
		if !slices.ContainsFunc(chosen, func(w *workspaces.Workspace) bool { return w.Name == a.run.Workspace }) {
			continue
		}
		t := PreviewTarget{Workspace: a.run.Workspace, Run: a.run.ID, Left: v.plain.Text(a.leaf.Leave)}
		if w, known, err := v.settings(ctx, tx, p.Request.Repository, a.run.Workspace); err != nil {
			return err
		} else if known {
			t.Approvals = w.Approvals
		}
		if o, err := openResult(plans, a.run); err == nil {
			t.Counts = o.Receipt.Counts
		} else if t.Left == "" && p.Request.Action == ActApply {
			t.Left = fmt.Sprintf("what the plan of %s does cannot be read now.", codeName(a.run.Workspace)) // nobody is to confirm what they are not told
		}
		if t.Left != "" {
			left++
		} else if p.Request.Action == ActApply && a.run.Plan != "" {
			if p.Request.Seen == nil {
				p.Request.Seen = map[string]string{}
			}
			p.Request.Seen[a.run.Workspace] = a.run.Plan
		}
		p.Targets = append(p.Targets, t)
	}
	if left == len(p.Targets) && p.Request.Action == ActApply {
		var why []string
		for _, t := range p.Targets[:min(left, 10)] {
			why = append(why, t.Left)
		}
		if left == 0 {
			why = []string{"there is nothing here to apply."}
		}
		return &refusal{why: strings.Join(why, " ")}
	}
	return nil
}

func named(all []aimed) []*workspaces.Workspace {
	names := make([]*workspaces.Workspace, 0, len(all))
	for _, a := range all {
		names = append(names, &workspaces.Workspace{Name: a.run.Workspace, Dir: a.run.Dir})
	}
	return names
}

// settings are those of a workspace of the default branch, with its approvals put aside: whether they are there the forge
// is asked when a request is worked.
func (v *Views) settings(ctx context.Context, tx *sql.Tx, repo RepoID, name string) (w workspaces.Workspace, known bool, err error) {
	row, known, err := v.store.workspace(ctx, tx, repo, name)
	if err == nil && known && row.Settings != "" {
		known = json.Unmarshal([]byte(row.Settings), &w) == nil
	}
	return w, known && w.Apply != "", err
}

// aimedOpen are the runs of an open change's plan, judged as far as rows tell.
func (v *Views) aimedOpen(ctx context.Context, tx *sql.Tx, p *Preview, row ChangeRow) (all []aimed, err error) {
	op, known, err := v.store.operation(ctx, tx, row.Operation)
	if err != nil {
		return nil, err
	}
	if known = known && planned(row.Change, op); !known {
		switch {
		case p.Request.Action == ActPlan && row.Notice.Waits != "":
			return nil, &refusal{why: row.Notice.Waits}
		case p.Request.Action == ActPlan:
			return nil, nil
		}
		return nil, &refusal{why: fmt.Sprintf("there is no plan of %s.", short(row.Head.Commit))}
	}
	runs, err := v.store.runsOf(ctx, tx, op.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		a := aimed{run: r}
		if p.Request.Action == ActApply {
			w, known, err := v.settings(ctx, tx, p.Request.Repository, r.Workspace)
			if err != nil {
				return nil, err
			}
			if !known {
				w = workspaces.Workspace{Apply: "on-merge"}
			}
			w.Name, w.Dir, w.Approvals, w.Removed = r.Workspace, r.Dir, 0, r.Status == Removed
			a.leaf = judgeOpen(&w, row.Head.Commit, r, false, nil)
			if a.leaf.Leave == "" && r.ShownAt.IsZero() {
				a.leaf.Leave = unposted(r)
			}
		}
		all = append(all, a)
	}
	return all, nil
}

// aimedMerged are the runs that a merged change's workspaces are at.
func (v *Views) aimedMerged(ctx context.Context, tx *sql.Tx, p *Preview, row ChangeRow) (all []aimed, err error) {
	states, err := v.store.standings(ctx, tx, p.Request.Repository, row.Number)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		a := aimed{run: s.accepted()}
		if p.Request.Action == ActApply {
			w, known, err := v.settings(ctx, tx, p.Request.Repository, a.run.Workspace)
			if err != nil {
				return nil, err
			}
			if !known {
				continue // the branch has it no more
			}
			w.Name, w.Dir, w.Approvals = a.run.Workspace, a.run.Dir, 0
			a.leaf = judgeAgain(&w, row.Head.Commit, s, nil)
			if a.leaf.Leave == "" && a.leaf.Accept != "" && a.run.ShownAt.IsZero() {
				a.leaf.Leave = unposted(a.run)
			}
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b aimed) int { return strings.Compare(a.run.Workspace, b.run.Workspace) })
	return all, nil
}

// previewDrift is about what no change is.
func (v *Views) previewDrift(ctx context.Context, tx *sql.Tx, p *Preview) error {
	r := p.Request
	workspace := strings.Join(r.Workspaces, "")
	pauses, err := v.store.pauses(ctx, tx)
	if err != nil {
		return err
	}
	switch r.Action {
	case ActPause, ActResume:
		sweeps, err := v.store.sweeps(ctx, tx, r.Repository)
		if err != nil {
			return err
		}
		scope := Pause{Repository: r.Repository, Workspace: workspace}
		for _, w := range sweeps {
			if !w.Gone && scope.covers(w.Repository, w.Workspace) {
				p.Covered++
			}
		}
		if r.Action == ActResume && !slices.ContainsFunc(pauses, func(p Pause) bool { return p.scope() == scope.scope() }) {
			return &refusal{why: "it is not paused."}
		}
		return nil
	case ActRetry:
		waiting, known, err := v.store.waitingFor(ctx, tx, r)
		p.Waiting = v.plain.Line(waiting)
		if err == nil && !known {
			err = &refusal{why: "nothing of it waits."}
		}
		return err
	}
	for _, pause := range pauses {
		if pause.covers(r.Repository, workspace) {
			return &refusal{why: fmt.Sprintf("nothing is looked at or corrected %s.", pause)}
		}
	}
	p.Targets = []PreviewTarget{{Workspace: workspace}}
	if r.Action != ActCorrect {
		return nil
	}
	w, known, err := v.settings(ctx, tx, r.Repository, workspace)
	if err != nil {
		return err
	}
	if known && w.Apply == "never" {
		return &refusal{why: "the workspace has `apply: never`, so nothing is corrected in it."}
	}
	rows, err := v.store.findings(ctx, tx, r.Repository, workspace, v.Now().AddDate(1, 0, 0))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return &refusal{why: "nothing is known here that differs. Have it looked at first."}
	}
	var found []string
	for i, row := range rows {
		if found = append(found, row.Address); i < detailFindings {
			p.Findings = append(p.Findings, v.finding(row))
		}
	}
	p.MoreFindings = len(rows) - len(p.Findings)
	_, err = chooseFindings(found, r.Addresses)
	return err
}
