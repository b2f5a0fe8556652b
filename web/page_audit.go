package web

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

type auditView struct {
	Text, Actor, Action, Repo, Workspace, Change, Since, Until string // the filter
	Refused                                                    bool
	Filtered                                                   bool
	Entries                                                    []entryView
	Older                                                      string
	Verify                                                     string // address that verifies; "" for those who may not
	Checked                                                    *checkView
}

type checkView struct {
	mark
	At   moment
	Text string
	End  string // the anchor to keep, as `plumbline audit verify --anchor` reads it
}

// auditPage is how many entries a page has.
const auditPage = 100

func (s *site) audit(ctx context.Context, q *query) (any, error) {
	f := audit.Filter{
		Text: q.text("q"), Actor: q.text("actor"), Action: q.text("action"), Repository: q.text("repo"), Workspace: q.text("workspace"),
		Change: int64(q.number("change")), Refused: q.choice("refused", "1") == "1", Since: q.day("since"), Until: q.day("until"),
		Before: int64(q.number("before")), Limit: auditPage,
	}
	verify := q.choice("verify", "1") == "1"
	if q.wrong != "" {
		return nil, q
	}
	if verify {
		if err := s.views.VerifyAudit(ctx, q.sight); err != nil {
			return nil, err
		}
	}
	a, err := s.views.AuditLog(ctx, q.sight, f)
	if err != nil {
		return nil, err
	}
	now := s.now()
	filter := []string{
		"q", f.Text, "actor", f.Actor, "action", f.Action, "repo", f.Repository, "workspace", f.Workspace, "change", from(int(f.Change)),
		"refused", q.values.Get("refused"), "since", q.values.Get("since"), "until", q.values.Get("until"),
	}
	v := auditView{
		Text: f.Text, Actor: f.Actor, Action: f.Action, Repo: f.Repository, Workspace: f.Workspace, Change: from(int(f.Change)),
		Since: q.values.Get("since"), Until: q.values.Get("until"), Refused: f.Refused, Filtered: address("", filter...) != "",
		Verify: address("/audit", append(filter[:len(filter):len(filter)], "verify", "1")...),
	}
	if !a.Whole {
		v.Verify = ""
	}
	for _, e := range a.Entries {
		v.Entries = append(v.Entries, entryOf(e, now))
	}
	if n := len(a.Entries); a.More && n > 0 {
		v.Older = address("/audit", append(filter[:len(filter):len(filter)], "before", strconv.FormatInt(a.Entries[n-1].Seq, 10))...)
	}
	if c := a.Checked; c != nil {
		v.Checked = checkOf(*c)
		v.Checked.At = at(c.At, now)
	}
	return v, nil
}

// checkOf says what a verification came to.
func checkOf(c engine.AuditCheck) *checkView {
	if b := c.Broken; b != nil {
		return &checkView{mark: mark{"✕", "broken", lookBad}, Text: fmt.Sprintf("entry %d is %s: %s", b.Seq, b.Damage, sentence(b.Detail))}
	}
	w := c.Verified
	text := number(int(w.Entries)) + " entries, each as it was written"
	switch w.Sealed {
	case 0:
		text += "; none is sealed by a key, so only a kept anchor proves that nobody wrote all of it anew"
	case w.Entries:
		text += ", all sealed"
	default:
		text += ", " + number(int(w.Sealed)) + " of them sealed"
	}
	v := &checkView{mark: mark{"✓", "whole", lookGood}, Text: text}
	if text, err := json.Marshal(w.End); err == nil && w.End.Seq > 0 {
		v.End = string(text)
	}
	return v
}
