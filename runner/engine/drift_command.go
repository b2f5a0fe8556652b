package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/drift/adopt"
	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// longestIgnore is how far ahead the last day of an ignore rule may be that a comment asks for: what is to be for ever is
// decided in a pull request that a person writes.
const longestIgnore = 366 * 24 * time.Hour

// plea is a command about drift: on an issue that tells of it, or from a page.
type plea struct {
	*errand
	issue     DriftIssueRow // zero from a page
	workspace string        // "" in the issue of a group
	cmd       prcomment.IssueCommand
}

// issueCommand does what a comment on an issue asks for, or says why not. It answers false if the issue is none of ours.
func (h *errand) issueCommand(ctx context.Context) (ours bool, err error) {
	c := h.event.Event.Comment
	p := &plea{errand: h}
	err = h.DB.Read(ctx, func(tx *sql.Tx) error {
		p.issue, ours, err = h.store.driftIssueAt(ctx, tx, h.repo.ID, h.event.Event.Change)
		return err
	})
	if err != nil || !ours {
		return false, err
	}
	if workspace, one := p.issue.workspace(); one {
		p.workspace = workspace
	}
	var is bool
	var wrong error
	if p.cmd, is, wrong = prcomment.ParseIssueCommand(c.Body); !is {
		return true, &overError{"the comment is no command"}
	}
	if own, err := h.ours(ctx, *c); err != nil || own {
		return true, errors.Join(err, &overError{"it is a comment of our own"})
	}
	if again, err := p.askedBefore(ctx); err != nil || again {
		return true, err
	}
	h.commented()
	return true, p.obey(ctx, wrong)
}

// obey does what the errand's asker asks for about drift, or says why not. wrong is what is wrong with the command.
func (p *plea) obey(ctx context.Context, wrong error) error {
	if err := p.mayCommand(ctx, forge.Write); err != nil {
		return p.refused(ctx, err)
	}
	if wrong != nil {
		return p.refused(ctx, &refusal{why: wrong.Error(), noted: "the command is not understood"})
	}
	p.asker.seen(ctx)
	var err error
	switch p.cmd.Verb {
	case prcomment.VerbDrift:
		err = p.look(ctx)
	case prcomment.VerbCorrect:
		err = p.correct(ctx)
	case prcomment.VerbIgnore:
		err = p.ignore(ctx)
	case prcomment.VerbAdopt:
		err = p.adopt(ctx)
	case prcomment.VerbPause:
		err = p.pause(ctx)
	case prcomment.VerbResume:
		err = p.resume(ctx)
	default:
		err = p.asker.answer(ctx, p.issue.Number, prcomment.Reply{Body: prcomment.HelpIssue()})
	}
	return p.refused(ctx, err)
}

// askedBefore reports whether an earlier version of the comment asked for the same.
func (p *plea) askedBefore(ctx context.Context) (again bool, err error) {
	is := p.event.Event.Comment
	err = p.DB.Read(ctx, func(tx *sql.Tx) error {
		earlier, err := p.store.commentEvents(ctx, tx, p.repo.ID, p.issue.Number)
		for _, ev := range earlier {
			was := ev.Event.Comment
			again = again || ev.Key != p.event.Key && was != nil && was.ID == is.ID && was.UpdatedAt.Before(is.UpdatedAt) &&
				strings.TrimSpace(was.Body) == strings.TrimSpace(is.Body)
		}
		return err
	})
	return again, err
}

// refused answers a refusal and notes it; other errors are returned as they are.
func (p *plea) refused(ctx context.Context, err error) error {
	var no *refusal
	if !errors.As(err, &no) {
		return err
	}
	if err := p.asker.refuse(ctx, p.issue.Number, no.why); err != nil {
		return err
	}
	if no.noted == "" {
		no.noted = no.why
	}
	return p.conclude(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		return []audit.Entry{p.entry(false, "refused: "+no.noted, nil)}, nil
	})
}

// entry is what the audit log says of the command. It holds no words of the comment.
func (p *plea) entry(allowed bool, reason string, more map[string]string) audit.Entry {
	verb := string(p.cmd.Verb)
	if verb == "" {
		verb = "command"
	}
	details := map[string]string{"command": verb, "event": p.event.Key}
	if p.issue.Number > 0 {
		details["issue"] = fmt.Sprint(p.issue.Number)
	}
	maps.Copy(details, p.asker.details())
	maps.Copy(details, more)
	return audit.Entry{Actor: p.actorName(), Action: "drift-" + verb, Workspace: p.workspace, Allowed: allowed, Reason: reason, Details: details}
}

func (p *plea) actorName() string { return p.asker.login() }

// one is a refusal on the issue of a group, for commands that are about one workspace.
func (p *plea) one() error {
	if p.workspace != "" {
		return nil
	}
	why := "this issue tells of several workspaces, and of nothing that was changed outside: there is nothing to " + string(p.cmd.Verb) + ". Review it, and apply."
	if p.cmd.Verb == prcomment.VerbIgnore {
		why = fmt.Sprintf("this issue tells of several workspaces, and a rule belongs to one. Comment on the issue of that one, or write the rule into `%s`: under the workspace, or under `defaults` for all.", workspaces.ConfigFile)
	}
	return &refusal{why: why, noted: "the issue tells of several workspaces"}
}

// about are the workspaces that a command is about: that of the issue, or all in which the group was found.
func (p *plea) about(ctx context.Context, tx *sql.Tx) ([]string, error) {
	if p.workspace != "" {
		return []string{p.workspace}, nil
	}
	alike, err := p.store.alikeFindings(ctx, tx, p.repo.ID)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(groupsOf(alike).members[p.issue.Key]))
	if len(names) == 0 {
		return nil, &refusal{why: "no workspace is known any more in which this was found.", noted: "the group is empty"}
	}
	return names, nil
}

// look has a workspace looked at now, or all of a group.
func (p *plea) look(ctx context.Context) error {
	return p.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		names := []string{p.cmd.Workspace}
		if p.cmd.Workspace == "" {
			var err error
			if names, err = p.about(ctx, tx); err != nil {
				return nil, err
			}
		}
		var entries []audit.Entry
		for _, name := range names {
			if err := p.askNow(ctx, tx, name); err != nil {
				return nil, err
			}
			entry := p.entry(true, "a look at it was asked for", nil)
			entry.Workspace = name
			entries = append(entries, entry)
		}
		return entries, nil
	})
}

// askNow has a workspace looked at at once. It is a refusal if that cannot be.
func (p *plea) askNow(ctx context.Context, tx *sql.Tx, workspace string) error {
	pause, paused, err := p.store.paused(ctx, tx, p.repo.ID, workspace)
	if err != nil {
		return err
	}
	if paused {
		return &refusal{why: fmt.Sprintf("nothing is looked at or corrected %s. `plumbline resume` ends a pause of one workspace.", pause), noted: "it is paused"}
	}
	known, err := p.store.askLook(ctx, tx, p.repo.ID, workspace, p.actorName())
	if err == nil && !known {
		err = &refusal{why: fmt.Sprintf("%s has no workspace %s.", codeName(p.repo.DefaultBranch), codeName(workspace)), noted: "there is no such workspace"}
	}
	return err
}

// correct has a workspace looked at now, and what may be corrected corrected: also where a fight had stopped that. It does
// not go past what plumbline.yaml and pauses forbid, which the look heeds by itself.
func (p *plea) correct(ctx context.Context) error {
	if err := p.one(); err != nil {
		return err
	}
	if !p.Drift.Correct {
		return &refusal{why: "this server is set to correct nothing: `drift` of its configuration has `correct: false`."}
	}
	_, set, err := p.atTip(ctx, p.repo.DefaultBranch)
	if err != nil {
		return err
	}
	w, known := set.Get(p.workspace)
	switch {
	case !known:
		return &refusal{why: fmt.Sprintf("%s has no workspace %s.", codeName(p.repo.DefaultBranch), codeName(p.workspace)), noted: "there is no such workspace"}
	case w.Apply == "never":
		return &refusal{why: "the workspace has `apply: never`, so nothing is corrected in it."}
	}
	found, err := p.found(ctx)
	if err != nil {
		return err
	}
	chosen, err := chooseFindings(found, p.cmd.Addresses)
	if err != nil {
		return err
	}
	return p.conclude(ctx, func(tx *sql.Tx) ([]audit.Entry, error) {
		if err := p.askNow(ctx, tx, p.workspace); err != nil {
			return nil, err
		}
		freed := 0
		for _, address := range chosen {
			n, err := p.store.endFights(ctx, tx, p.repo.ID, p.workspace, address)
			if err != nil {
				return nil, err
			}
			freed += n
		}
		return []audit.Entry{p.entry(true, "corrections that plumbline.yaml allows were asked for", map[string]string{
			"counts": fmt.Sprintf("%d findings, %d fights ended", len(chosen), freed),
		})}, p.wantIssue(ctx, tx, p.repo.ID, p.workspace)
	})
}

// found are the addresses of what the workspace's newest look found.
func (p *plea) found(ctx context.Context) (addresses []string, err error) {
	err = p.DB.Read(ctx, func(tx *sql.Tx) error {
		rows, err := p.store.findings(ctx, tx, p.repo.ID, p.workspace, p.store.now().AddDate(1, 0, 0))
		for _, f := range rows {
			addresses = append(addresses, f.Address)
		}
		return err
	})
	slices.Sort(addresses)
	return slices.Compact(addresses), err
}

// chooseFindings are the addresses of findings that were asked for: all, or those that each of the wanted means, which may be a
// resource with all its instances or a module. Quotes that somebody left out are forgiven. What means none is a refusal.
func chooseFindings(found, wanted []string) ([]string, error) {
	if len(found) == 0 {
		return nil, &refusal{why: "nothing is known here that differs. Comment `plumbline drift` to have it looked at."}
	}
	if len(wanted) == 0 {
		return found, nil
	}
	var chosen []string
	for _, want := range wanted {
		before := len(chosen)
		for _, address := range found {
			if adopt.Chosen(address, []string{want}) || withoutQuotes(address) == want {
				chosen = append(chosen, address)
			}
		}
		if len(chosen) == before {
			return nil, &refusal{why: fmt.Sprintf("no finding of this issue has the address %s.", codeName(want)), noted: "it names what was not found"}
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
}

// withoutQuotes is an address as it reads when its quotes were taken for those of a word.
func withoutQuotes(address string) string { return strings.ReplaceAll(address, `"`, "") }

// pause stops looks at the workspace and corrections in it, or in all of a group.
func (p *plea) pause(ctx context.Context) error {
	now := p.store.now()
	var ends time.Time
	until := "until it is resumed"
	if !p.cmd.Until.IsZero() {
		ends = p.cmd.Until.AddDate(0, 0, 1) // to the end of the day
		err := future(p.cmd.Until, now, 0)
		if _, exact := p.asker.(*visitor); exact {
			ends, err = p.cmd.Until, nil
			if why := (Pause{Until: ends, At: now}).isOver(); why != "" {
				err = &refusal{why: why}
			}
		}
		if err != nil {
			return err
		}
		until = "until " + ends.UTC().Format(time.RFC3339)
	}
	var cancelled []string
	err := p.conclude(ctx, func(tx *sql.Tx) (entries []audit.Entry, err error) {
		names, err := p.about(ctx, tx)
		if err != nil {
			return nil, err
		}
		cancelled = nil
		for _, name := range names {
			ids, err := p.store.pauseDrift(ctx, tx, Pause{Repository: p.repo.ID, Workspace: name, Until: ends, Reason: p.plain(p.cmd.Reason), Actor: p.actorName(), At: now})
			if err == nil {
				err = p.wantIssue(ctx, tx, p.repo.ID, name)
			}
			if err != nil {
				return nil, err
			}
			cancelled = append(cancelled, ids...)
			entry := p.entry(true, "drift is paused "+until, nil)
			entry.Workspace = name
			entries = append(entries, entry)
		}
		return entries, nil
	})
	p.cancel(errCancelled, cancelled...)
	return err
}

// future is a refusal for a day that is over, or further ahead than most; 0 for no limit.
func future(day, now time.Time, most time.Duration) error {
	switch {
	case !now.Before(day.AddDate(0, 0, 1)):
		return &refusal{why: fmt.Sprintf("the day %s is over.", day.Format(time.DateOnly))}
	case most > 0 && day.Sub(now) > most:
		return &refusal{why: fmt.Sprintf("%s is more than a year ahead. Whoever means that writes the rule into `%s`.", day.Format(time.DateOnly), workspaces.ConfigFile)}
	}
	return nil
}

// resume ends the pause of the workspace, or of all of a group. Wider ones are not this issue's to end.
func (p *plea) resume(ctx context.Context) error {
	return p.conclude(ctx, func(tx *sql.Tx) (entries []audit.Entry, err error) {
		names, err := p.about(ctx, tx)
		if err != nil {
			return nil, err
		}
		held := ""
		for _, name := range names {
			ended, err := p.store.endPause(ctx, tx, pauseScope(p.repo.ID, name))
			if err != nil {
				return nil, err
			}
			if wider, paused, err := p.store.paused(ctx, tx, p.repo.ID, name); err != nil {
				return nil, err
			} else if paused {
				held = wider.String()
			}
			if !ended {
				continue
			}
			if err := p.wantIssue(ctx, tx, p.repo.ID, name); err != nil {
				return nil, err
			}
			entry := p.entry(true, "the pause was ended", nil)
			entry.Workspace = name
			entries = append(entries, entry)
		}
		switch {
		case len(entries) == 0 && held != "":
			return nil, &refusal{why: fmt.Sprintf("more than this workspace is paused, %s. That is ended with `plumbline drift resume` on the server.", held), noted: "a wider pause holds"}
		case len(entries) == 0:
			return nil, &refusal{why: "it is not paused."}
		}
		return entries, nil
	})
}

// ignore proposes a rule in a pull request.
func (p *plea) ignore(ctx context.Context) error {
	if err := p.one(); err != nil {
		return err
	}
	if err := future(p.cmd.Until, p.store.now(), longestIgnore); err != nil {
		return err
	}
	found, err := p.found(ctx)
	if err != nil {
		return err
	}
	rule := workspaces.IgnoreRule{
		Attributes: p.cmd.Attributes, Until: p.cmd.Until.Format(time.DateOnly), Owner: "@" + p.actorName(), Reason: p.plain(p.cmd.Reason),
	}
	if rule.Address, err = ruleAddress(found, p.cmd.Addresses[0]); err != nil {
		return err
	}
	tip, set, err := p.atTip(ctx, p.repo.DefaultBranch)
	if err != nil {
		return err
	}
	w, known := set.Get(p.workspace)
	if !known {
		return &refusal{why: fmt.Sprintf("%s has no workspace %s any more.", codeName(p.repo.DefaultBranch), codeName(p.workspace)), noted: "there is no such workspace"}
	}
	if slices.ContainsFunc(w.Drift.Ignore, func(r workspaces.IgnoreRule) bool {
		return r.Address == rule.Address && slices.Equal(r.Attributes, rule.Attributes) && r.Until == rule.Until
	}) {
		return &refusal{why: fmt.Sprintf("`%s` of %s has this rule already.", workspaces.ConfigFile, codeName(p.repo.DefaultBranch)), noted: "the rule is there already"}
	}
	c, err := p.clone(ctx, p.repo)
	if err != nil {
		return err
	}
	before, err := c.file(ctx, tip, workspaces.ConfigFile)
	if err != nil {
		return err
	}
	after, err := workspaces.AddIgnore(workspaces.ConfigFile, before, w, rule)
	if err != nil {
		return &refusal{why: sentence(err.Error()), noted: "plumbline.yaml cannot be edited"}
	}
	return p.propose(ctx, c, proposal{
		base: tip, files: map[string][]byte{workspaces.ConfigFile: after},
		name:  "ignore-" + shortDigest(append([]string{p.workspace, rule.Address}, rule.Attributes...)),
		title: "Ignore drift of " + rule.Address + " until " + rule.Until,
		lines: []string{ruleLine(rule)},
	})
}

// ruleAddress is the address of a rule: one that covers something which was found, with its quotes where they were lost.
func ruleAddress(found []string, wanted string) (string, error) {
	for _, address := range found {
		one := drift.Decide([]drift.Finding{{Address: address}}, drift.Policy{Ignore: []drift.Ignore{{Address: wanted}}}, time.Time{})
		if one.Findings[0].Ignored {
			return wanted, nil
		}
	}
	for _, address := range found {
		if withoutQuotes(address) == wanted {
			return address, nil
		}
	}
	return "", &refusal{why: fmt.Sprintf("no finding of this issue has the address %s.", codeName(wanted)), noted: "it names what was not found"}
}

func ruleLine(r workspaces.IgnoreRule) string {
	text := "- " + prcomment.Code(r.Address)
	for i, a := range r.Attributes {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + prcomment.Code(a)
	}
	text += ", until " + r.Until
	if r.Reason != "" {
		text += " (" + prcomment.Text(r.Reason) + ")"
	}
	return text
}
