package api

import (
	"context"
	"strconv"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Decision is an entry of the audit log.
type Decision struct {
	Seq         int64             `json:"seq"`
	At          Time              `json:"at"`
	Actor       string            `json:"actor"`
	Action      string            `json:"action"`
	Repository  string            `json:"repository"` // OWNER/NAME
	Change      int64             `json:"change"`
	Workspace   string            `json:"workspace"`
	Commit      string            `json:"commit"`
	Fingerprint string            `json:"fingerprint"`
	Allowed     bool              `json:"allowed"`
	Reason      string            `json:"reason"`
	Details     map[string]string `json:"details"`
	Hash        string            `json:"hash"`
}

func decisionOf(e audit.Entry) Decision {
	d := Decision{
		Seq: e.Seq, At: at(e.At), Actor: e.Actor, Action: e.Action, Repository: e.Repository, Change: e.Change, Workspace: e.Workspace, Commit: e.Commit,
		Fingerprint: e.Fingerprint, Allowed: e.Allowed, Reason: e.Reason, Details: e.Details, Hash: e.Hash,
	}
	if d.Details == nil {
		d.Details = map[string]string{}
	}
	return d
}

func (a *API) audit(c *call) work {
	f := audit.Filter{
		Text: c.text("q"), Actor: c.text("actor"), Action: c.text("action"), Repository: c.text("repository"), Workspace: c.name("workspace"),
		Change: int64(c.number("change", 1, maxChange, 0)), Refused: c.flag("refused"), Since: c.time("since"), Until: c.time("until"), Limit: c.limit(),
	}
	if parts := c.cursor("audit", 1); parts != nil {
		n, err := strconv.ParseInt(parts[0], 10, 64)
		if f.Before = n; err != nil || n < 1 {
			c.fail("cursor", "is not one that this list has given: take it from next, as it is")
		}
	}
	return func(ctx context.Context) (any, error) {
		l, err := a.Views.AuditLog(ctx, c.sight, f)
		if err != nil {
			return nil, err
		}
		v := List[Decision]{Items: all(l.Entries, decisionOf)}
		if n := len(l.Entries); l.More && n > 0 {
			v.Next = c.next("audit", strconv.FormatInt(l.Entries[n-1].Seq, 10))
		}
		return v, nil
	}
}

// Verification is what the newest verification of the whole audit log came to. Before the first one since the server has
// started, checked_at is null and nothing is known.
type Verification struct {
	CheckedAt Time    `json:"checked_at"`
	Whole     bool    `json:"whole"`
	Entries   int64   `json:"entries"`
	Sealed    int64   `json:"sealed"` // of them
	End       *Anchor `json:"end"`    // to be kept elsewhere, for `plumbline audit verify --anchor`
	Damage    *Damage `json:"damage"` // the first
}

// Anchor is an entry's place in the chain.
type Anchor struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Damage is what is wrong with the log.
type Damage struct {
	Seq    int64  `json:"seq"`
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

func (a *API) verification(c *call) work {
	return func(ctx context.Context) (any, error) { return a.verified(ctx, c) }
}

func (a *API) verified(ctx context.Context, c *call) (any, error) {
	l, err := a.Views.AuditLog(ctx, c.sight, audit.Filter{Limit: 1})
	if err != nil || l.Checked == nil {
		return Verification{}, err
	}
	return verificationOf(*l.Checked), nil
}

func verificationOf(c engine.AuditCheck) Verification {
	v := Verification{CheckedAt: at(c.At)}
	if b := c.Broken; b != nil {
		v.Damage = &Damage{b.Seq, string(b.Damage), b.Detail}
		return v
	}
	v.Whole, v.Entries, v.Sealed = true, c.Verified.Entries, c.Verified.Sealed
	if end := c.Verified.End; end.Seq > 0 {
		v.End = &Anchor{end.Seq, end.Hash}
	}
	return v
}

func (a *API) verify(c *call) work {
	return func(ctx context.Context) (any, error) {
		if err := a.Views.VerifyAudit(ctx, c.sight); err != nil {
			return nil, err
		}
		return a.verified(ctx, c)
	}
}
