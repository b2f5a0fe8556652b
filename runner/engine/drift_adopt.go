package engine

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/drift/adopt"
	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
)

// An adoption has three parts, and each may be begun again after the process has died. The comment makes an operation with
// one run, which edits and plans in the workspace's site and gives way as a look does. What it came to is kept, sealed, in
// the run's row. When it has ended, an event of our own opens the pull request and answers: the branch is named after the
// request and its commit is the same each time, so there is one of each, however often it is tried.

// adoption is what an adoption came to, as a part of an outcome.
type adoption struct {
	Files   map[string][]byte `json:"files,omitempty"` // as they are to be
	Adopted []adopt.Place     `json:"adopted,omitempty"`
	Left    []adopt.Left      `json:"left,omitempty"`
	Refused string            `json:"refused,omitempty"` // what the plan said that was to prove it
}

func adoptionOf(a *runner.Adoption) *adoption {
	if a == nil {
		return nil
	}
	kept := &adoption{Files: a.Files, Left: a.Left}
	for _, place := range a.Adopted {
		kept.Adopted = append(kept.Adopted, place.Place)
	}
	if a.Refused != nil {
		kept.Refused = a.Refused.Error()
	}
	return kept
}

// adopt begins to write what is real into the configuration.
func (p *plea) adopt(ctx context.Context) error {
	if err := p.one(); err != nil {
		return err
	}
	found, err := p.found(ctx)
	if err != nil {
		return err
	}
	chosen, err := chooseFindings(found, p.cmd.Addresses)
	if err != nil {
		return err
	}
	if len(p.cmd.Addresses) == 0 {
		chosen = nil // what no rule ignores
	}
	slices.Sort(chosen)
	tip, set, err := p.atTip(ctx, p.repo.DefaultBranch)
	if err != nil {
		return err
	}
	w, known := set.Get(p.workspace)
	if !known {
		return &refusal{why: fmt.Sprintf("%s has no workspace %s any more.", codeName(p.repo.DefaultBranch), codeName(p.workspace)), noted: "there is no such workspace"}
	}
	op := Operation{
		Repository: p.repo.ID, Kind: KindAdopt, Cause: CauseCommand, Actor: p.actorName(), Branch: p.repo.DefaultBranch,
		HeadCommit: tip, Commit: tip, ReplyTo: p.event.Key, Asked: chosen, EventAt: p.event.ReceivedAt,
	}
	return p.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		op, _, err := p.store.addOperation(ctx, tx, op, []Run{{Workspace: p.workspace, Dir: w.Dir}})
		if err != nil {
			return nil, err
		}
		entry := p.entry(true, "what is real is written into the configuration, and planned", nil)
		entry.Commit = tip
		return []audit.Entry{entry}, p.settle(ctx, tx, op.ID)
	})
}

// finishAdopt has the issue answered from which an adoption was asked for.
func (e *Engine) finishAdopt(ctx context.Context, tx *sql.Tx, op Operation) error {
	asked, known, err := e.store.event(ctx, tx, op.ReplyTo)
	if err != nil || !known {
		return err
	}
	forgeName, _, _ := strings.Cut(string(op.Repository), "/")
	key, added, err := e.store.addEvent(ctx, tx, forgeName, op.Repository, forge.Event{
		Key: fmt.Sprintf("%s#%d %s %s", op.Repository.repo(), asked.Event.Change, eventPropose, op.ID), Kind: eventPropose, Repo: op.Repository.repo(),
		Change: asked.Event.Change, Comment: asked.Event.Comment, After: op.ID, Sender: ourselves, At: e.store.now(),
	}, FromEngine)
	if err != nil || !added {
		return err
	}
	return e.hint(ctx, tx, eventJob(key))
}

// event reads an event, worked or not.
func (s *store) event(ctx context.Context, tx *sql.Tx, key string) (EventRow, bool, error) {
	ev, ok, err := first(ctx, tx, scanEvent, "SELECT "+eventColumns+" FROM event WHERE key = $1", key)
	if err != nil {
		return EventRow{}, false, fmt.Errorf("read the event %s: %w", key, err)
	}
	return ev, ok, nil
}

// proposeAdoption opens the pull request with what an adoption has proved, or answers why there is none.
func (h *errand) proposeAdoption(ctx context.Context, operation string) error {
	p := &plea{errand: h}
	var op Operation
	var runs []Run
	known := false
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if p.issue, known, err = h.store.driftIssueAt(ctx, tx, h.repo.ID, h.event.Event.Change); err != nil || !known {
			return err
		}
		if op, known, err = h.store.operation(ctx, tx, operation); err == nil && known {
			runs, err = h.store.runsOf(ctx, tx, operation)
		}
		return err
	})
	if err != nil {
		return err
	}
	if !known || len(runs) != 1 || h.event.Event.Comment == nil {
		return &overError{"the adoption is not known any more"}
	}
	h.commented()
	p.workspace = runs[0].Workspace
	if p.cmd, _, err = prcomment.ParseIssueCommand(h.event.Event.Comment.Body); err != nil {
		p.cmd.Verb = prcomment.VerbAdopt
	}
	return p.refused(ctx, p.proposeRun(ctx, op, runs[0]))
}

func (p *plea) proposeRun(ctx context.Context, op Operation, r Run) error {
	plans, err := p.Plans(string(p.repo.ID))
	if err != nil {
		return err
	}
	o, err := openResult(plans, r)
	if err != nil {
		return err
	}
	a := o.Adoption
	switch {
	case r.Status == Removed:
		return &refusal{why: fmt.Sprintf("%s has no workspace %s any more.", codeName(p.repo.DefaultBranch), codeName(p.workspace)), noted: "there is no such workspace"}
	case a == nil || r.Status == Failed:
		why := o.Error
		if why == "" {
			why = "nothing is known of why"
		}
		return &refusal{why: "the workspace could not be planned: " + forge.Cut(why, 500), noted: "the workspace could not be planned"}
	case a.Refused != "":
		return &refusal{why: sentence(forge.Cut(a.Refused, 500)), noted: "the plan that was to prove it did not"}
	}
	left := make([]string, 0, len(a.Left))
	for _, l := range a.Left[:min(len(a.Left), mostListed)] {
		left = append(left, placeLine(l.Place)+": "+prcomment.Text(l.Why))
	}
	if len(a.Files) == 0 {
		if len(left) > 0 {
			return p.leftAll(ctx, left)
		}
		return &refusal{why: "there is nothing that the configuration could adopt."}
	}
	lines := make([]string, 0, len(a.Adopted))
	for _, place := range a.Adopted[:min(len(a.Adopted), 2*mostListed)] {
		lines = append(lines, placeLine(place))
	}
	if len(left) > 0 {
		lines = append(lines, "", "Not in it:", "")
		lines = append(lines, left...)
	}
	c, err := p.clone(ctx, p.repo)
	if err != nil {
		return err
	}
	if err := c.ensure(ctx, op); err != nil {
		return err
	}
	return p.propose(ctx, c, proposal{
		base: op.Commit, files: a.Files, name: "adopt-" + shortDigest(append([]string{p.workspace}, op.Asked...)),
		title: "Adopt drift of " + p.workspace, lines: lines, left: left,
	})
}

func placeLine(place adopt.Place) string {
	text := "- " + prcomment.Code(place.Address)
	if place.Attribute != "" {
		text += " " + prcomment.Code(place.Attribute)
	}
	return text
}

// leftAll answers that nothing could be adopted, and why.
func (p *plea) leftAll(ctx context.Context, left []string) error {
	err := p.asker.answer(ctx, p.issue.Number, prcomment.Reply{
		Refused: true, Says: "nothing of it can be written into the configuration.", Body: strings.Join(left, "\n") + "\n",
	})
	if err != nil {
		return err
	}
	return p.conclude(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		return []audit.Entry{p.entry(false, "refused: nothing of it can be written into the configuration", nil)}, nil
	})
}
