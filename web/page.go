package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

//go:embed page.html
var pageText string

//go:embed style.css
var style []byte

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page shows how things stand.
type page struct {
	engine  Engine
	exposed bool
	version string
	now     func() time.Time
	log     *slog.Logger
}

func (p *page) serve(w http.ResponseWriter, req *http.Request) {
	if why := p.hidden(req); why != "" {
		answerText(w, http.StatusForbidden, why+"\n")
		return
	}
	now, err := p.engine.Overview(req.Context())
	if err != nil {
		p.log.Error("the page cannot be shown", "error", err)
		answerText(w, http.StatusServiceUnavailable, "The database does not answer now; the log says why.\n")
		return
	}
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p.view(now)); err != nil {
		p.log.Error("the page cannot be shown", "error", err)
		answerText(w, http.StatusInternalServerError, "The page cannot be shown; the log says why.\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // a client that is gone by now needs no page
}

// hidden returns why the page is not shown to who asks, or "".
//
// The names and the changes of private repositories stand on it, and nobody can sign in. A request from this machine may
// still be anybody's: a proxy's, or that of a page in a browser here whose name was made to point here.
func (p *page) hidden(req *http.Request) string {
	switch {
	case p.exposed:
		return "This page has no sign-in, so it is not shown where other machines can reach it. Listen on 127.0.0.1 to see it; webhooks, health and metrics are served here."
	case !loopback(host(req.RemoteAddr)), !loopback(host(req.Host)), forwarded(req.Header):
		return "This page has no sign-in, so it is shown only to this machine itself, at http://127.0.0.1 or http://localhost and not through a proxy."
	}
	return ""
}

// forwarded reports whether a proxy says that somebody else asks.
func forwarded(h http.Header) bool {
	return slices.ContainsFunc([]string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"},
		func(name string) bool { return len(h[name]) > 0 })
}

func loopback(name string) bool {
	address, _, _ := strings.Cut(name, "%")
	ip := net.ParseIP(address)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(style)
}

// What the page shows, ready to be written: every text is short and free of characters that change how others look.
type (
	pageView struct {
		Version    string
		Now        moment
		Problems   []problemView
		Workspaces []workspaceView
		More       int // workspaces that are not shown
		Operations []operationView
		Drift      *driftView // nil when nothing is looked at
	}
	driftView struct {
		Text      string
		Pauses    []pauseView
		Histories []historyView
		More      int // workspaces with something to tell that are not shown
	}
	historyView struct {
		Repository, Name string
		Status           statusView
		Since, Checked   moment
		Remarks          []string
		Who              []turnView // who changed what is there now
		Turns            []turnView
	}
	// turnView is what came or went at a time.
	turnView struct {
		At   moment
		Text string
	}
	pauseView     struct{ What, Why string }
	problemView   struct{ Repository, Problem string }
	workspaceView struct {
		Repository, Name string
		Status           statusView
		Commit           string
		Applied          moment
	}
	operationView struct {
		What       string // "plan", "apply"
		Repository string
		Number     int
		Title, URL string
		Cause      string
		Actor      string
		Commit     string
		Status     statusView
		Created    moment
		Runs       []runView
		MoreRuns   int
	}
	runView struct {
		Name   string
		Status statusView
	}
	// statusView is a status and how it looks: good, bad, waits or quiet.
	statusView struct{ Word, Look string }
	// moment is a time for people, and exactly. It is "" for never.
	moment struct{ Ago, Exact string }
)

const (
	maxText   = 120 // characters of a name or a title
	maxRuns   = 12  // of an operation
	maxPauses = 20
)

// view makes of the rows what the page shows.
func (p *page) view(o engine.Overview) pageView {
	now := p.now()
	v := pageView{Version: clean(p.version), Now: at(now, now), More: o.MoreWorkspaces}
	for _, r := range o.Repositories {
		if r.Problem != "" {
			v.Problems = append(v.Problems, problemView{clean(string(r.ID)), forge.Cut(spelled(r.Problem), 500)})
		}
	}
	for _, w := range o.Workspaces {
		v.Workspaces = append(v.Workspaces, workspaceView{
			Repository: clean(string(w.Repository)), Name: clean(w.Name), Status: look(string(w.LastStatus), "never applied"),
			Commit: short(w.AppliedCommit), Applied: at(w.AppliedAt, now),
		})
	}
	v.Drift = drift(o.Drift, now)
	for _, op := range o.Operations {
		one := operationView{
			What: clean(string(op.Kind)), Repository: clean(string(op.Repository)), Number: op.Change, Title: clean(op.Title), URL: op.URL,
			Cause: clean(string(op.Cause)), Actor: clean(op.Actor), Commit: short(op.Commit),
			Status: look(string(op.Status), ""), Created: at(op.CreatedAt, now),
		}
		for i, run := range op.Runs {
			if i == maxRuns {
				one.MoreRuns = len(op.Runs) - maxRuns
				break
			}
			status := look(string(run.Status), "")
			if run.Status == engine.Running && run.Phase != engine.PhaseNone {
				status.Word = clean(string(run.Phase))
			}
			one.Runs = append(one.Runs, runView{clean(run.Workspace), status})
		}
		v.Operations = append(v.Operations, one)
	}
	return v
}

// looks of statuses that are neither good nor bad are quiet.
var looks = map[string]string{
	string(engine.Applied): "good", string(engine.Planned): "good", string(engine.Unchanged): "good", string(engine.Released): "good",
	string(engine.Failed): "bad", string(engine.Partly): "bad", string(engine.Interrupted): "bad",
	string(engine.Held): "waits", string(engine.Running): "waits", string(engine.Queued): "waits", string(engine.Waiting): "waits",
	string(engine.SweepClean): "good", string(engine.SweepDrifted): "waits", string(engine.SweepUnknown): "bad",
}

func look(status, none string) statusView {
	if status == "" {
		return statusView{none, "quiet"}
	}
	if l, ok := looks[status]; ok {
		return statusView{status, l}
	}
	return statusView{clean(status), "quiet"}
}

func short(commit string) string {
	if len(commit) > 10 {
		return clean(commit[:10])
	}
	return clean(commit)
}

// clean makes a name fit for a line of the page.
func clean(s string) string { return forge.Cut(spelled(s), maxText) }

// spelled replaces what one cannot see and what turns the direction of text around: such a name could look like another.
func spelled(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ', c >= 0x7f && c < 0xa0, c == 0xad, c == 0x61c, c >= 0x200b && c <= 0x200f,
			c >= 0x2028 && c <= 0x202e, c >= 0x2060 && c <= 0x206f, c == 0xfeff, c >= 0xe0000 && c <= 0xe007f:
			return '\uFFFD'
		}
		return c
	}, s)
}

// at says how long ago t was. A time that is to come, by a clock that was wrong, is now.
func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{Exact: t.UTC().Format(time.RFC3339)}
	switch ago := now.Sub(t); {
	case ago < time.Minute:
		m.Ago = "just now"
	case ago < time.Hour:
		m.Ago = count(int(ago/time.Minute), "minute")
	case ago < 48*time.Hour:
		m.Ago = count(int(ago/time.Hour), "hour")
	default:
		m.Ago = count(int(ago/(24*time.Hour)), "day")
	}
	return m
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit + " ago"
	}
	return fmt.Sprintf("%d %ss ago", n, unit)
}
