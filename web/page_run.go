package web

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

type runView struct {
	ID, Repo, Workspace, WorkspaceURL string
	Kind, Cause, Actor                string
	Status                            mark
	Change                            int
	ChangeTitle, ChangeURL            string
	Commit, Branch                    string
	Created, Started, Ended           moment
	Took                              string
	Waits, Reasons, Notes             []string
	Error                             string
	Hold                              *holdView
	Plans                             []planView
	Receipt                           []setting
	Output                            *outputView
	Decisions                         []entryView
	Others                            []runLine
	MoreOthers                        int
	Actions                           []actionLink
	Drift                             bool // it looked for drift: its findings are on the workspace's page
}

type (
	holdView struct {
		Reason, Next string
		Differences  []string
	}
	// planView is a plan as a diff, in parts where it is large.
	planView struct {
		Title, Totals string
		Chips         []chip
		Items         []itemView
		Pages         pagesView
	}
	itemView struct {
		Deed    mark
		Address string
		Why     string
		Lines   []diffLine
		Cut     bool
		Open    bool
	}
	entryView struct {
		Seq                          int64
		At                           moment
		Actor, Action                string
		Verdict                      mark
		Reason                       string
		Repo, Workspace, Fingerprint string
		Change                       int64
		Commit                       string
		Details                      []setting
		Run                          string
	}
)

func (v runView) title() string { return v.Kind + " of " + v.Workspace }

// How much of a plan is on a page, in bytes of it, and in objects; and how much of one object.
const (
	planRoom  = 80_000
	planItems = 200
	itemRoom  = 24_000
	openItems = 12 // so few are all unfolded
	runOthers = 60
)

// deeds are what a plan may do to an object, most dangerous first, and how it looks.
var deeds = []struct {
	deed string
	mark mark
}{
	{"destroy", mark{"−", "destroy", lookBad}}, {"replace", mark{"±", "replace", lookBad}}, {"update", mark{"~", "update", lookWarn}},
	{"create", mark{"+", "create", lookGood}}, {"forget", mark{"∅", "forget", lookWarn}}, {"import", mark{"↓", "import", lookQuiet}},
	{"move", mark{"→", "move", lookQuiet}}, {"read", mark{"≡", "read", lookQuiet}}, {"output", mark{"=", "output", lookQuiet}},
	{"defer", mark{"…", "defer", lookQuiet}}, {"invoke", mark{"!", "invoke", lookWarn}}, {"other", mark{"!", "other", lookWarn}},
	{"changed outside", mark{"≠", "changed outside", lookWarn}}, {"deleted outside", mark{"≠", "deleted outside", lookBad}},
}

func markOfDeed(deed string) mark {
	for _, d := range deeds {
		if d.deed == deed {
			return d.mark
		}
	}
	return mark{"!", clean(deed), lookWarn}
}

func (s *site) run(ctx context.Context, q *query) (any, error) {
	id := q.path
	var known []string
	for _, d := range deeds {
		known = append(known, d.deed)
	}
	action, first := q.choice("action", known...), q.number("from")
	if q.wrong != "" {
		return nil, q
	}
	if !isID(id) {
		return nil, engine.ErrNoSuch
	}
	d, err := s.views.Run(ctx, q.sight, id)
	if err != nil {
		return nil, err
	}
	output, err := s.output(ctx, q, id)
	if err != nil {
		return nil, err
	}
	now := s.now()
	r, o := d.Run, d.Operation
	v := runView{
		ID: r.ID, Repo: repoName(r.Repository), Workspace: clean(r.Workspace), WorkspaceURL: workspaceURL(r.Repository, r.Workspace),
		Kind: kindWord(r.Kind), Cause: clean(string(o.Cause)), Actor: clean(o.Actor), Status: markOfRun(r.Status, r.Phase), Change: o.Change,
		ChangeTitle: clean(d.Change.Title), ChangeURL: outward(d.Change.URL), Commit: clean(o.Commit), Branch: clean(o.Branch),
		Created: at(r.CreatedAt, now), Started: at(r.StartedAt, now), Ended: at(r.EndedAt, now), Error: paragraphs(d.Error, 12_000),
		Waits: each(d.Waits, sentence), Reasons: each(r.Reasons, sentence), Notes: each(d.Notes, sentence), Drift: r.Kind == engine.KindDrift, Output: output,
	}
	switch {
	case !r.StartedAt.IsZero() && !r.EndedAt.IsZero():
		v.Took = took(r.EndedAt.Sub(r.StartedAt))
	case !r.StartedAt.IsZero() && !r.Status.Ended():
		v.Took = took(now.Sub(r.StartedAt)) + " so far"
	}
	v.Actions = offers(ctx, againOf(d)...)
	if h := d.Hold; h != nil {
		v.Hold = &holdView{sentence(h.Reason), sentence(h.Next), each(h.Differences[:min(len(h.Differences), 100)], sentence)}
	}
	room := budget{left: planRoom}
	// What would be done now is what a reader must judge; what was reviewed comes after it.
	if d.Fresh != nil {
		v.Plans = append(v.Plans, planOf("What would be applied now", d.Fresh, id, action, first, &room))
	}
	if d.Diff != nil {
		title := "Plan"
		switch {
		case d.Fresh != nil:
			title = "What was reviewed"
		case r.Kind == engine.KindApply && r.Status == engine.Applied:
			title = "What was applied"
		case r.Kind == engine.KindApply && r.Status == engine.Partly:
			title = "The plan, of which a part was applied"
		}
		v.Plans = append(v.Plans, planOf(title, d.Diff, id, action, first, &room))
	}
	v.Receipt = receipt(d, now)
	for _, e := range d.Decisions {
		v.Decisions = append(v.Decisions, entryOf(e, now))
	}
	for i, other := range d.Others {
		if i == runOthers {
			v.MoreOthers = len(d.Others) - runOthers
			break
		}
		if other.ID != r.ID {
			v.Others = append(v.Others, runLineOf(other, now))
		}
	}
	return v, nil
}

// planOf writes a plan as far as it fits on the page, from an object on.
func planOf(title string, d *prcomment.Diff, id, action string, first int, room *budget) planView {
	v := planView{Title: title, Totals: sentence(d.Totals)}
	counts, chosen := map[string]int{}, []prcomment.DiffItem{}
	for _, item := range d.Items {
		counts[item.Deed]++
		if action == "" || item.Deed == action {
			chosen = append(chosen, item)
		}
	}
	for _, deed := range deeds {
		if n := counts[deed.deed]; n > 0 {
			c := chip{mark: deed.mark, Count: number(n), Chosen: deed.deed == action, URL: address(runURL(id), "action", deed.deed)}
			if c.Chosen {
				c.URL = runURL(id)
			}
			v.Chips = append(v.Chips, c)
		}
	}
	first = min(first, len(chosen))
	shown := chosen[first:]
	for i, item := range shown {
		head := escaped(item.Address) + escaped(item.Why) + 260
		if i == planItems || i > 0 && head+2000 > room.left {
			shown = shown[:i]
			break
		}
		room.left -= head
		raw, cut := item.Lines(itemRoom)
		lines, over := room.lines(raw, itemRoom)
		v.Items = append(v.Items, itemView{
			Deed: markOfDeed(item.Deed), Address: spelled(item.Address), Why: sentence(item.Why), Lines: lines, Cut: cut || over,
			Open: len(chosen) <= openItems || item.Deed == "destroy" || item.Deed == "replace",
		})
	}
	v.Pages = pagesOf(first, len(shown), len(chosen), planItems, func(n int) string { return address(runURL(id), "action", action, "from", from(n)) })
	if first > 0 {
		v.Pages.Earlier = address(runURL(id), "action", action) // parts are not of one size: back to the beginning
	}
	return v
}

// receipt is what a plan vouches for.
func receipt(d engine.RunDetail, now time.Time) []setting {
	p := d.Receipt
	var all []setting
	add := func(name, value string) {
		if value != "" {
			all = append(all, setting{Name: name, Value: clean(value)})
		}
	}
	add("plan", d.Run.Plan)
	if d.Run.Reviewed != d.Run.Plan {
		add("reviewed plan", d.Run.Reviewed)
	}
	add("fingerprint", d.Run.Fingerprint)
	if p.ID == "" {
		return all
	}
	add("commit", p.Commit)
	add("inputs", p.InputsDigest)
	add("state", p.Lineage)
	if p.Lineage != "" {
		add("serial", strconv.FormatUint(p.Serial, 10))
	}
	add(p.Engine, p.TerraformVersion)
	var providers []string
	for source, version := range p.Providers {
		providers = append(providers, source[strings.LastIndexByte(source, '/')+1:]+" "+version)
	}
	slices.Sort(providers)
	add("providers", strings.Join(providers, ", "))
	if !p.CreatedAt.IsZero() {
		add("made", at(p.CreatedAt, now).Exact)
	}
	return all
}

func entryOf(e audit.Entry, now time.Time) entryView {
	v := entryView{
		Seq: e.Seq, At: at(e.At, now), Actor: clean(e.Actor), Action: clean(e.Action), Verdict: markOf("allowed"), Reason: sentence(e.Reason),
		Repo: clean(e.Repository), Workspace: clean(e.Workspace), Fingerprint: clean(e.Fingerprint), Change: e.Change, Commit: short(e.Commit),
	}
	if !e.Allowed {
		v.Verdict = markOf("refused")
	}
	if id := e.Details["run"]; isID(id) {
		v.Run = runURL(id)
	}
	for _, key := range audit.DetailKeys() {
		if value := e.Details[key]; value != "" && key != "run" {
			v.Details = append(v.Details, setting{Name: key, Value: clean(value)})
		}
	}
	return v
}

func each(all []string, write func(string) string) []string {
	var written []string
	for _, s := range all {
		written = append(written, write(s))
	}
	return written
}
