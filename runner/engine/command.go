package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// refusal is why a command is not done, in a sentence for who asked.
type refusal struct {
	why string
	// noted is why in our own words, for the audit log, where the sentence repeats what somebody wrote; "" where it does not.
	noted string
}

func (r *refusal) Error() string { return r.why }

// command does what a comment asks for, or says why not.
func (h *errand) command(ctx context.Context) error {
	ev := h.event.Event
	if ev.Comment == nil {
		return &overError{"the event holds no comment"}
	}
	if ev.Comment.Issue {
		ours, err := h.issueCommand(ctx)
		if err == nil && !ours {
			err = &overError{"the issue is none of ours"}
		}
		return err
	}
	cmd, is, wrong := prcomment.ParseCommand(ev.Comment.Body)
	if !is {
		return &overError{"the comment is no command"}
	}
	if ours, err := h.ours(ctx, *ev.Comment); err != nil || ours {
		return errors.Join(err, &overError{"it is a comment of our own"})
	}
	if again, err := h.askedBefore(ctx, cmd); err != nil || again {
		return err // an edit that leaves the command as it was asks for nothing new
	}
	h.commented()
	return h.obey(ctx, cmd, wrong)
}

// obey does what the errand's asker asks for of a change, or says why not. wrong is what is wrong with the command.
func (h *errand) obey(ctx context.Context, cmd prcomment.Command, wrong error) error {
	row, _, err := h.refresh(ctx, h.event.Event.Change)
	if err != nil {
		return err
	}
	if err := h.mayCommand(ctx, forge.Write); err != nil {
		return h.refused(ctx, row, cmd, err)
	}
	if wrong != nil {
		return h.refused(ctx, row, cmd, &refusal{why: wrong.Error(), noted: "the command is not understood"})
	}
	h.asker.seen(ctx)
	switch cmd.Verb {
	case prcomment.VerbPlan:
		err = h.commandPlan(ctx, row, cmd)
	case prcomment.VerbApply:
		err = h.commandApply(ctx, row, cmd)
	case prcomment.VerbUnlock:
		err = h.commandUnlock(ctx, row, cmd)
	default:
		err = h.asker.answer(ctx, row.Number, prcomment.Reply{Body: prcomment.Help()})
	}
	return h.refused(ctx, row, cmd, err)
}

// ours reports whether a comment was written with our own credentials.
func (h *errand) ours(ctx context.Context, c forge.Comment) (bool, error) {
	if c.Ours {
		return true, nil
	}
	self, err := h.forge.Client.Self(ctx)
	return err == nil && strings.EqualFold(self, c.Author), err
}

// askedBefore reports whether an earlier version of the comment asked for the same.
func (h *errand) askedBefore(ctx context.Context, cmd prcomment.Command) (bool, error) {
	again := false
	err := h.DB.Read(ctx, func(tx *sql.Tx) error {
		earlier, err := h.store.commentEvents(ctx, tx, h.event.Repository, h.event.Event.Change)
		for _, ev := range earlier {
			c := ev.Event.Comment
			if ev.Key == h.event.Key || c == nil || c.ID != h.event.Event.Comment.ID || !c.UpdatedAt.Before(h.event.Event.Comment.UpdatedAt) {
				continue
			}
			old, is, wrong := prcomment.ParseCommand(c.Body)
			again = again || is && wrong == nil && old.Verb == cmd.Verb && slices.Equal(old.Workspaces, cmd.Workspaces)
		}
		return err
	})
	return again, err
}

// mayCommand is a refusal unless the asker has a permission in the repository, and whoever else had a hand in it.
func (h *errand) mayCommand(ctx context.Context, least forge.Permission) error {
	for _, login := range append([]string{h.asker.login()}, h.asker.others()...) {
		permission, err := h.forge.Client.Permission(ctx, h.repo.Repo, login)
		if err != nil {
			return err
		}
		if permission < least {
			has := permission.String()
			if permission > forge.None {
				has += " permission"
			}
			return &refusal{why: fmt.Sprintf("it takes %s permission in %s, and %s has %s.", least, h.repo.Repo, codeName(login), has)}
		}
	}
	return nil
}

// refused answers a refusal and notes it; other errors are returned as they are.
func (h *errand) refused(ctx context.Context, row ChangeRow, cmd prcomment.Command, err error) error {
	var no *refusal
	if !errors.As(err, &no) {
		return err
	}
	if err := h.asker.refuse(ctx, row.Number, no.why); err != nil {
		return err
	}
	if no.noted == "" {
		no.noted = no.why
	}
	verb := string(cmd.Verb)
	if verb == "" {
		verb = "command"
	}
	return h.conclude(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		return []audit.Entry{{
			Actor: h.asker.login(), Action: verb, Change: int64(row.Number), Commit: row.Head.Commit, Allowed: false,
			Reason: no.noted, Details: h.commandDetails(cmd),
		}}, nil
	})
}

func (h *errand) commandDetails(cmd prcomment.Command) map[string]string {
	details := map[string]string{"command": string(cmd.Verb), "event": h.event.Event.Key}
	maps.Copy(details, h.asker.details())
	return details
}

// commandPlan plans again.
func (h *errand) commandPlan(ctx context.Context, row ChangeRow, cmd prcomment.Command) error {
	p := planRequest{
		cause: CauseCommand, actor: h.asker.login(), eventAt: h.event.ReceivedAt, replyTo: h.asker.key(), chosen: cmd.Workspaces,
	}
	switch row.State {
	case forge.Open:
		return h.plan(ctx, row, p)
	case forge.Merged:
		if n, no, err := h.astray(ctx, row.Change); err != nil {
			return err
		} else if no {
			return &refusal{why: n.Waits, noted: n.Short}
		}
		if err := h.advance(ctx, row.Base.Branch, h.event.ReceivedAt); err != nil {
			return err
		}
		return h.planMerged(ctx, row, p)
	}
	return &refusal{why: "it is closed; open it again to have it planned."}
}

// commandUnlock has the state locks looked at that runs may have left behind.
func (h *errand) commandUnlock(ctx context.Context, row ChangeRow, cmd prcomment.Command) error {
	op := Operation{
		Repository: h.repo.ID, Change: row.Number, Kind: KindUnlock, Cause: CauseCommand, Actor: h.asker.login(),
		Branch: row.Base.Branch, HeadCommit: row.Head.Commit, ReplyTo: h.asker.key(), EventAt: h.event.ReceivedAt,
	}
	if n, no, err := h.astray(ctx, row.Change); err != nil {
		return err
	} else if no {
		return &refusal{why: n.Waits, noted: n.Short}
	}
	var candidates []*workspaces.Workspace
	if row.State == forge.Merged {
		tip, set, err := h.atTip(ctx, row.Base.Branch)
		if err != nil {
			return err
		}
		touched, err := h.standings(ctx, row.Number)
		if err != nil {
			return err
		}
		op.BaseCommit, op.Commit = tip, tip
		for _, w := range set.Workspaces {
			if _, mine := touched[w.Name]; mine {
				candidates = append(candidates, w)
			}
		}
	} else {
		current, known, err := h.current(ctx, row)
		if err != nil {
			return err
		}
		if !known || !planned(row.Change, current) {
			return &refusal{why: "nothing of this change is planned, so it is not known which states it is about. Comment `plumbline plan` first."}
		}
		op.BaseCommit, op.Commit = current.BaseCommit, current.Commit
		var runs []Run
		err = h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
			runs, err = h.store.runsOf(ctx, tx, current.ID)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r.Status != Removed {
				candidates = append(candidates, &workspaces.Workspace{Name: r.Workspace, Dir: r.Dir})
			}
		}
	}
	chosen, err := pick(candidates, cmd.Workspaces)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return &refusal{why: "this change touches no workspace."}
	}
	runs := make([]Run, 0, len(chosen))
	all := make([]judged, 0, len(chosen))
	for i, w := range chosen {
		runs = append(runs, Run{Workspace: w.Name, Dir: w.Dir, Position: i, Around: []string{w.Name}})
		all = append(all, judged{w, judgement{Reason: "asked for by somebody with write permission; it is released only if its run is surely gone"}})
	}
	return h.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := h.unmoved(ctx, tx, row); err != nil {
			return nil, err
		}
		if _, err := h.addApply(ctx, tx, op, runs); err != nil {
			return nil, err
		}
		return h.commandEntries(op, all, cmd), h.wantReport(ctx, tx, Subject{Repository: h.repo.ID, Change: row.Number}, true)
	})
}

// commandEntries are the audit entries of an operation that somebody asked for.
func (h *errand) commandEntries(op Operation, all []judged, cmd prcomment.Command) []audit.Entry {
	entries := h.entries(op, all)
	for i := range entries {
		maps.Copy(entries[i].Details, h.commandDetails(cmd))
	}
	return entries
}

// pick chooses workspaces by the names that a person wrote; none means all.
func pick(from []*workspaces.Workspace, names []string) ([]*workspaces.Workspace, error) {
	if len(names) == 0 {
		return from, nil
	}
	chosen, err := (&workspaces.Set{Workspaces: from}).Select(names)
	if err != nil {
		return nil, &refusal{why: sentence(forge.Cut(strings.ReplaceAll(err.Error(), "\n", "; "), 1000)), noted: "it names what the change does not touch"}
	}
	return chosen, nil
}
