package engine

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/prcomment"
)

const (
	// pastFor is how long what is over stays in an issue.
	pastFor = 30 * 24 * time.Hour
	// unknownAfter is how many looks in a row must come to no answer before an issue is opened for that alone.
	unknownAfter = 3
)

// readIssue reads the rows of one issue; nil if there is nothing to tell it of.
func (e *Engine) readIssue(ctx context.Context, repo RepoID, key string) (*story, error) {
	var s *story
	err := e.DB.Read(ctx, func(tx *sql.Tx) error {
		s = &story{Engine: e}
		var ok bool
		var err error
		if s.repository, ok, err = e.store.repository(ctx, tx, repo); err != nil || !ok {
			s = nil
			return err
		}
		if s.tip, _, err = e.store.branch(ctx, tx, repo, s.repository.DefaultBranch); err != nil {
			return err
		}
		if s.row, s.known, err = e.store.driftIssue(ctx, tx, repo, key); err != nil {
			return err
		}
		s.row.Repository, s.row.Key = repo, key
		s.issue = prcomment.Issue{Key: key, Commands: true, Secrets: e.Secrets}
		if len(key) > 250 {
			s.issue.Key = digest(key)
		}
		alike, err := e.store.alikeFindings(ctx, tx, repo)
		if err != nil {
			return err
		}
		if workspace, single := s.row.workspace(); single {
			return s.ofWorkspace(ctx, tx, workspace, groupsOf(alike))
		}
		return s.ofGroup(ctx, tx, groupsOf(alike))
	})
	return s, err
}

// ofWorkspace is what there is to say of a workspace.
func (s *story) ofWorkspace(ctx context.Context, tx *sql.Tx, name string, g groups) error {
	repo, now := s.repository.ID, s.Now()
	sweep, swept, err := s.store.sweep(ctx, tx, repo, name)
	if err != nil {
		return err
	}
	if s.workspace, _, err = s.store.workspace(ctx, tx, repo, name); err != nil {
		return err
	}
	rows, err := s.store.findings(ctx, tx, repo, name, now.Add(-pastFor))
	if err != nil {
		return err
	}
	plans, err := s.Plans(string(repo))
	if err != nil {
		return err
	}
	s.issue.Workspace, s.issue.Commit, s.issue.CheckedAt = name, s.workspace.AppliedCommit, sweep.CheckedAt
	elsewhere := map[int]int{}
	for _, f := range rows {
		if key, ok := groupOf(f.Cause, f.Address, f.Key); ok {
			group, known, err := s.store.driftIssue(ctx, tx, repo, key)
			if err != nil {
				return err
			}
			formed := g.formed(key, group)
			if (formed || known) && !slices.Contains(s.along, key) {
				s.along = append(s.along, key)
			}
			if formed && f.GoneAt.IsZero() {
				if group.Number > 0 {
					elsewhere[group.Number]++
				}
				continue
			}
		}
		if err := s.add(plans, f); err != nil {
			return err
		}
	}
	for _, number := range slices.Sorted(maps.Keys(elsewhere)) {
		s.issue.Elsewhere = append(s.issue.Elsewhere, prcomment.Elsewhere{Number: number, Findings: elsewhere[number]})
	}
	if swept && sweep.State == SweepUnknown && !sweep.Gone {
		problem, err := openProblem(plans, sweep)
		if err != nil {
			return err
		}
		s.issue.Unknown = &prcomment.Unknown{Since: sweep.Since, LastTry: sweep.StartedAt, Failures: sweep.Failures, Problem: problem}
		// What was known is kept, so an issue that is open stays open.
		s.wanted = s.wanted || sweep.Failures >= unknownAfter || s.row.Open
		s.later(sweep.Since)
	}
	if sweep.Gone {
		s.issue.Notes = append(s.issue.Notes, "The workspace is not in the default branch any more, and is not looked at.")
	}
	return s.pausedFor(ctx, tx, name)
}

// add takes a finding into the issue.
func (s *story) add(plans *planstore.Store, f FindingRow) error {
	d, err := openFinding(plans, f)
	if err != nil {
		return err
	}
	found := prcomment.IssueFinding{
		Finding: prcomment.Finding{
			Address: f.Address, Class: string(f.Class), Cause: string(f.Cause), Outside: d.Outside, Action: d.Action(),
			Allowed: d.Allowed, Ignored: d.Ignored, Reason: d.Reason,
		},
		Detail: d.Detail, Noise: f.Noise, Fight: d.Fight,
		FirstSeen: f.FirstSeen, LastSeen: f.LastSeen, GoneAt: f.GoneAt, CorrectedAt: f.CorrectedAt, Corrections: f.Corrections,
	}
	if d.Refused != "" && d.Allowed {
		found.Allowed, found.Reason = false, "it may be corrected, but nothing was: "+d.Refused
	}
	for _, trace := range d.Who {
		found.Who = append(found.Who, prcomment.Trace(trace))
	}
	for _, a := range d.Attributes {
		found.Attributes = append(found.Attributes, prcomment.Attribute{Path: a.Path, Before: a.Before, After: a.After, Sensitive: a.Sensitive, Unknown: a.Unknown})
	}
	s.issue.Findings = append(s.issue.Findings, found)
	if d.Commit != "" && f.GoneAt.IsZero() {
		s.issue.Commit = d.Commit
	}
	switch told := s.row.ClosedAt; {
	case d.Ignored:
	case f.GoneAt.IsZero() && !f.Noise:
		s.wanted = true
		s.addresses = append(s.addresses, f.Address)
		s.later(f.FirstSeen)
		s.later(f.StoppedAt)
	case f.GoneAt.IsZero():
		s.untold = s.untold || f.FirstSeen.After(told)
	case !f.CorrectedAt.IsZero():
		s.untold = s.untold || f.CorrectedAt.After(told)
	}
	return nil
}

func (s *story) later(t time.Time) {
	if t.After(s.newest) {
		s.newest = t
	}
}

// pausedFor adds the pauses that hold for a workspace.
func (s *story) pausedFor(ctx context.Context, tx *sql.Tx, workspace string) error {
	all, err := s.store.pauses(ctx, tx)
	if err != nil {
		return err
	}
	for _, p := range all {
		var scope string
		switch {
		case p.Repository == "":
			scope = "everything"
		case p.Repository == s.repository.ID && p.Workspace == "":
			scope = "this repository"
		case p.Repository == s.repository.ID && p.Workspace == workspace:
			scope = "this workspace"
		default:
			continue
		}
		s.issue.Pauses = append(s.issue.Pauses, prcomment.Pause{Scope: scope, Until: p.Until, By: p.Actor, Reason: p.Reason})
	}
	return nil
}

// ofGroup is what there is to say of findings that are the same in many workspaces. The workspaces' own issues leave them
// out, so they are to be written again when the group comes to be, or is no more.
func (s *story) ofGroup(ctx context.Context, tx *sql.Tx, g groups) error {
	repo := s.repository.ID
	members := g.members[s.row.Key]
	s.wanted = g.formed(s.row.Key, s.row)
	names := slices.Sorted(maps.Keys(members))
	if s.wanted != (s.known && s.row.Open) {
		for _, name := range names {
			s.along = append(s.along, workspaceIssue+name)
		}
	}
	if !s.wanted {
		return nil
	}
	plans, err := s.Plans(string(repo))
	if err != nil {
		return err
	}
	for _, name := range names {
		m := prcomment.Member{Workspace: name, FirstSeen: members[name][0].FirstSeen}
		for _, f := range members[name] {
			m.Addresses = append(m.Addresses, f.Address)
		}
		own, ok, err := s.store.driftIssue(ctx, tx, repo, workspaceIssue+name)
		if err != nil {
			return err
		}
		if ok && own.Open {
			m.Number = own.Number
		}
		s.issue.Members = append(s.issue.Members, m)
		s.later(m.FirstSeen)
	}
	example := members[names[0]][0]
	f, ok, err := s.store.finding(ctx, tx, repo, example.Workspace, example.Key)
	if err != nil || !ok {
		return err
	}
	newest := s.newest
	err = s.add(plans, f)
	s.newest, s.wanted, s.untold, s.addresses = newest, true, false, nil
	s.issue.Commit = ""
	s.issue.CheckedAt = f.LastSeen
	return err
}

// teams are owners that nobody can be assigned by, in words.
func teams(others []string) string {
	quoted := make([]string, 0, len(others))
	for _, name := range others {
		quoted = append(quoted, "`"+strings.ReplaceAll(name, "`", "")+"`")
	}
	return "Owned by " + strings.Join(quoted, ", ") + "."
}
