// Package prcomment writes what people read in a pull request, and reads what they answer.
//
// The life of a [Report]: the package above fills it with the outcome of every workspace, plans and all, and [Render]
// turns it into pages of GitHub-flavoured Markdown that fit a forge's limit. Each page begins with a hidden [Mark], so
// that a later report finds the comments of an earlier one and edits them in place. What people comment goes through
// [ParseCommand].
//
// A report is rendered from plan JSON, never from Terraform's text, so that the order is ours: first what a person can
// act on, then what is destroyed or replaced (never cut, whatever the size), then what failed, then the rest, folded.
// Everything that comes from outside is text: no address, error or branch name can end a fence, forge a hidden mark,
// mention a person or run markup. What Terraform marks as sensitive is never written, nor where it turns up a second
// time unmarked, nor are the values in [Report.Secrets], nor what looks like a private key or an access token.
//
// The package is pure. It talks to no forge, reads no file, and decides nothing: whether something may be applied is
// the caller's business.
package prcomment

import (
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Limits of a comment.
const (
	defaultLimit = 65536 // GitHub's
	leastLimit   = 8192  // below it, single lines would not fit
	defaultPages = 10
)

// Render writes a report as pages of Markdown, each at most limit bytes long (not characters: bytes are the safe side,
// whatever a forge counts). 0 means 65,536, which is GitHub's limit; less than 8,192 is read as 8,192. There is always
// at least one page. The report is not changed; its plans are only read.
func Render(r Report, limit int) []string {
	if limit <= 0 {
		limit = defaultLimit
	}
	return newRenderer(r, max(limit, leastLimit)).render()
}

// renderer holds one report while it is written.
type renderer struct {
	report     Report
	workspaces []*Workspace // in the order of the graph
	redactor   *redactor
	mark       Mark
	pages      pages
	most       int // pages
	groups     []*group
	shared     []sharedNote
}

// A group is the workspaces that the same happens to, in the same words. Most have one member.
type group struct {
	members  []*Workspace
	notes    []string // those that no other group has
	redactor *redactor
	totals   totals
	patch    patch
}

func newRenderer(r Report, limit int) *renderer {
	if r.Kind == "" {
		r.Kind = KindPlan
	}
	w := &renderer{report: r, redactor: newRedactor(r.Secrets), most: r.MaxPages}
	if w.most <= 0 {
		w.most = defaultPages
	}
	w.mark = Mark{Kind: r.Kind, Key: shortKey(r.Key), Plans: plansDigest(r.Workspaces), Shows: r.Shows}
	w.pages.limit = limit - furniture - len(w.mark.String())
	for i := range r.Workspaces {
		w.workspaces = append(w.workspaces, &r.Workspaces[i])
	}
	slices.SortStableFunc(w.workspaces, func(a, b *Workspace) int {
		if a.Order != b.Order {
			return a.Order - b.Order
		}
		return strings.Compare(a.Name, b.Name)
	})
	// An error may quote what the plan knows to be sensitive.
	var quotable []string
	for _, ws := range w.workspaces {
		for _, plan := range []*tfjson.Plan{ws.Plan, ws.Reviewed} {
			if plan != nil && (ws.Error != "" || len(ws.Notes) > 0) && len(quotable) < mostQuotable {
				quotable = append(quotable, sensitiveValues(plan)...)
			}
		}
	}
	w.redactor = w.redactor.with(quotable)
	w.group()
	return w
}

// mostQuotable is about how many sensitive values of plans are looked for outside their diffs.
const mostQuotable = 20_000

// firstLook is how much of each diff is written to compare it with others, in bytes.
const firstLook = 128 << 10

// group puts workspaces with the same outcome together, and writes their diffs for the first time.
func (w *renderer) group() {
	type identity struct {
		status       Status
		diff, others string
	}
	look := min(firstLook, max(16<<10, 24<<20/max(1, len(w.workspaces))))
	known := map[identity]*group{}
	for _, ws := range w.workspaces {
		g := &group{members: []*Workspace{ws}, redactor: w.redactor}
		id := identity{status: ws.Status}
		if ws.Plan != nil {
			g.redactor = w.redactor.with(sensitiveValues(ws.Plan))
			g.totals = totalsOf(ws.Plan)
			if g.totals.any() {
				g.patch = patchOf(ws.Plan, g.redactor, look)
			}
			id.diff = strings.Join(g.patch.lines, "\n")
			if !g.patch.complete {
				id.diff += "\x00" + ws.Fingerprint // beyond what was written, only this tells
			}
		}
		// What is told of a workspace alone keeps it alone.
		alike := ws.Plan != nil && ws.Error == "" && ws.Reviewed == nil && len(ws.Findings) == 0 &&
			g.totals.any() && (g.patch.complete || ws.Fingerprint != "")
		if alike {
			id.others = strings.Join(ws.Notes, "\x00")
			if other := known[id]; other != nil {
				other.members = append(other.members, ws)
				continue
			}
			known[id] = g
		}
		w.groups = append(w.groups, g)
	}
	w.share()
}

// A sharedNote is a note that several groups have.
type sharedNote struct {
	note    string
	members []*Workspace
}

// share takes the notes that several groups have out of each of them. A removed workspace keeps its own: they stand in
// its line.
func (w *renderer) share() {
	groups := map[string]int{}
	for _, g := range w.groups {
		for _, note := range g.ownNotes() {
			groups[note]++
		}
	}
	at := map[string]int{}
	for _, g := range w.groups {
		for _, note := range g.ownNotes() {
			if groups[note] == 1 {
				g.notes = append(g.notes, note)
				continue
			}
			if _, ok := at[note]; !ok {
				at[note] = len(w.shared)
				w.shared = append(w.shared, sharedNote{note: note})
			}
			s := &w.shared[at[note]]
			s.members = append(s.members, g.members...)
		}
	}
}

// ownNotes are the notes of a group, without doubles.
func (g *group) ownNotes() []string {
	if g.members[0].Status == StatusRemoved {
		return nil
	}
	var notes []string
	for _, note := range g.members[0].Notes {
		if !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes
}

func (w *renderer) render() []string {
	w.heading()
	w.longNotice()
	w.dangers()
	w.failures()
	w.warnings()
	w.table()
	w.findings()
	w.next()
	w.diffs()
	w.footer()
	return w.pages.finish(w.mark)
}

// text, name and cell write what comes from outside.
func (w *renderer) text(s string) string { return text(w.redactor.redact(s)) }
func (w *renderer) name(s string) string { return code(shorten(w.redactor.redact(s), maxShown)) }
func (w *renderer) cell(s string) string { return codeCell(shorten(w.redactor.redact(s), maxShown)) }

// maxShown is the longest name of a workspace that is written in full, in bytes.
const maxShown = 150

// names lists workspaces in a sentence.
func (w *renderer) names(members []*Workspace, most int, write func(string) string) string {
	var names []string
	for _, ws := range members[:min(len(members), most)] {
		names = append(names, write(ws.Name))
	}
	if more := len(members) - most; more > 0 {
		names = append(names, number(more)+" more")
	}
	return enumerate(names)
}

// enumerate joins words with commas and an "and".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
