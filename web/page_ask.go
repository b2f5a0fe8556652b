package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// What somebody asks for on a page has three: a link leads to one that says what would happen (ask), its form asks (doAsk),
// and the third says what became of it (request). Nothing of it needs the script.

type (
	askView struct {
		Title, What            string
		Repo                   string
		Change                 int
		ChangeTitle, ChangeURL string
		Workspace              string
		Notice                 string // why the page is here again
		Refused                string // why it would be refused, as far as is known
		Destroys               string // the worst of it
		Targets                []targetLine
		MoreTargets            int
		Findings               []findingView
		MoreFindings           int
		Pause                  bool // it asks until when, and why
		Hidden                 []setting
		Button                 string
		Danger                 bool
		Back                   string
	}
	targetLine struct {
		Workspace, URL, Run string
		Does, Left          string
		Destroys            bool
		Approvals           string
	}
	requestView struct {
		Title, Repo            string
		Change                 int
		ChangeTitle, ChangeURL string
		Workspaces             []link
		State                  mark
		Why                    string
		Waits                  bool
		By, Via                string
		Asked, Ended, Next     moment
		Runs                   []runLine
		Again                  string
	}
	// actionLink leads to the page that asks whether something is meant.
	actionLink struct {
		Text, URL string
	}
)

func (v askView) title() string { return v.Title }

func (v requestView) title() string { return v.Title }

// How much of what would happen is listed.
const (
	askTargets  = 100
	askFindings = 30
)

// requestOf reads what is asked for.
func requestOf(q *query) engine.Request {
	r := engine.Request{
		Action: engine.Action(q.choice("action", texts(engine.Actions())...)), Repository: engine.RepoID(q.name("repo")), Change: q.number("change"),
		Event: q.text("event"), Report: q.choice("report", "yes") != "", Operation: q.id("operation"),
	}
	if name := q.name("workspace"); name != "" {
		r.Workspaces = []string{name}
	}
	if one := q.text("address"); one != "" {
		r.Addresses = []string{one}
	}
	if r.Action == engine.ActPause {
		r.Reason = q.text("reason")
		if day := q.day("until"); !day.IsZero() {
			r.Until = day.AddDate(0, 0, 1) // to the end of the day
		}
	}
	if r.Action == "" {
		q.fail("It must say what is asked for.")
	}
	return r
}

// askFields are requestOf's parameters for a request, without those that its form asks for.
func askFields(r engine.Request) []string {
	report := ""
	if r.Report {
		report = "yes"
	}
	change := ""
	if r.Change > 0 {
		change = strconv.Itoa(r.Change)
	}
	return []string{
		"action", string(r.Action), "repo", string(r.Repository), "change", change, "workspace", strings.Join(r.Workspaces, ""),
		"address", strings.Join(r.Addresses, ""), "event", r.Event, "report", report, "operation", r.Operation,
	}
}

func askURL(r engine.Request) string { return address("/ask", askFields(r)...) }

// offers are those requests that whoever asks is offered.
func offers(ctx context.Context, all ...engine.Request) []actionLink {
	var links []actionLink
	who := signin.From(ctx)
	for _, r := range all {
		if who.Offered(ctx, r) {
			links = append(links, actionLink{askTitle(r), askURL(r)})
		}
	}
	return links
}

// askTitle says in a few words what a request is for.
func askTitle(r engine.Request) string {
	var of string
	switch {
	case r.Change > 0 && len(r.Workspaces) == 1:
		of = clean(r.Workspaces[0]) + " of #" + strconv.Itoa(r.Change)
	case r.Change > 0:
		of = "#" + strconv.Itoa(r.Change)
	case len(r.Workspaces) == 1:
		of = clean(r.Workspaces[0])
	case r.Repository != "":
		of = "all of " + repoName(r.Repository)
	default:
		of = "everything"
	}
	switch r.Action {
	case engine.ActPlan:
		return "Plan " + of + " again"
	case engine.ActApply:
		return "Apply " + of
	case engine.ActUnlock:
		return "Unlock the state of " + of
	case engine.ActDrift:
		return "Look for drift in " + of
	case engine.ActCorrect:
		return "Correct drift in " + of
	case engine.ActPause:
		return "Pause " + of
	case engine.ActResume:
		return "Resume " + of
	}
	if r.Change == 0 {
		of = repoName(r.Repository)
	}
	return "Try again now: " + of
}

// askWords say what happens then.
var askWords = map[engine.Action]string{
	engine.ActPlan:    "Terraform plans this again. Nothing is changed.",
	engine.ActApply:   "Terraform applies the plans below, if they still hold: if the state or the pull request has moved since, they are held instead.",
	engine.ActUnlock:  "The lock of the state is released if the run that left it is surely gone. Otherwise it stays, and you are told whose it is.",
	engine.ActDrift:   "Terraform looks for drift as soon as there is a worker. Nothing is changed.",
	engine.ActCorrect: "Terraform looks again, and corrects what plumbline.yaml allows, also where it had stopped because something fights back.",
	engine.ActPause:   "Nothing is looked at or corrected there until that is over. A correction that Terraform applies already comes to its end.",
	engine.ActResume:  "Looks for drift, and corrections that plumbline.yaml allows, go on there.",
	engine.ActRetry:   "What waits to be tried again is tried at once.",
}

// ask says what would happen.
func (s *site) ask(ctx context.Context, q *query) (any, error) {
	r := requestOf(q)
	if q.wrong != "" {
		return nil, q
	}
	v, _, err := s.confirm(ctx, q.sight, r)
	return v, err
}

// confirm makes the page that says what a request would do, and the plans that are on it.
func (s *site) confirm(ctx context.Context, sight engine.Sight, r engine.Request) (v askView, seen map[string]string, err error) {
	who := signin.From(ctx)
	if !sight.Sees(r.Repository) {
		return v, nil, engine.ErrNoSuch
	}
	why, err := who.May(ctx, r)
	if err != nil {
		return v, nil, err
	}
	r.By = who.As(engine.ViaWeb, r.Repository)
	p, err := s.views.Preview(ctx, sight, r)
	var wrong *engine.MisaskedError
	if errors.As(err, &wrong) {
		err = &query{wrong: wrong.Why}
	}
	if err != nil {
		return v, nil, err
	}
	if why == "" && p.Refused != "" {
		why = unquoted(strings.ToUpper(p.Refused[:1]) + p.Refused[1:])
	}
	v = askView{
		Title: askTitle(r), What: askWords[r.Action], Refused: why, Change: r.Change, ChangeTitle: clean(p.Change.Title), ChangeURL: outward(p.Change.URL),
		Pause: r.Action == engine.ActPause, Danger: r.Action == engine.ActApply || r.Action == engine.ActCorrect || r.Action == engine.ActUnlock, Back: backTo(r),
	}
	if r.Repository != "" {
		v.Repo = repoName(r.Repository)
	}
	v.Button = askTitle(r)
	if r.Action == engine.ActPause || r.Action == engine.ActResume {
		v.What += " That is about " + plural(p.Covered, "workspace") + "."
	}
	if p.Waiting != "" {
		v.What += " The last attempt said: " + sentence(p.Waiting)
	}
	var total planstore.Counts
	for _, t := range p.Targets {
		if t.Left == "" {
			total.Delete, total.Replace = total.Delete+t.Counts.Delete, total.Replace+t.Counts.Replace
		}
		if len(v.Targets) == askTargets {
			v.MoreTargets++
			continue
		}
		v.Targets = append(v.Targets, targetOf(r, t))
	}
	if r.Action == engine.ActApply && why == "" {
		switch n := total.Delete + total.Replace; {
		case n > 0:
			v.Destroys = "This destroys " + plural(n, "object") + "."
			if total.Replace > 0 {
				v.Destroys = "This destroys " + plural(n, "object") + ", of which " + strconv.Itoa(total.Replace) + " are made anew."
			}
		default:
			v.What += " It destroys nothing."
		}
	}
	room := budget{left: 30_000}
	shown := p.Findings[:min(len(p.Findings), askFindings)]
	for _, f := range shown {
		v.Findings = append(v.Findings, findingOf(f, s.now(), &room))
	}
	v.MoreFindings = p.MoreFindings + len(p.Findings) - len(shown)
	fields := append(askFields(r), "nonce", rand.Text(), "seen", digestOf(p.Request.Seen), signin.FormField, who.FormToken())
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			v.Hidden = append(v.Hidden, setting{Name: fields[i], Value: fields[i+1]})
		}
	}
	return v, p.Request.Seen, nil
}

func targetOf(r engine.Request, t engine.PreviewTarget) targetLine {
	line := targetLine{Workspace: clean(t.Workspace), URL: workspaceURL(r.Repository, t.Workspace), Run: runURL(t.Run), Left: unquoted(t.Left), Destroys: t.Counts.Delete+t.Counts.Replace > 0}
	if r.Action == engine.ActApply {
		line.Does = countsOf(t.Counts)
		if t.Approvals > 0 {
			line.Approvals = "It needs " + plural(t.Approvals, "approval") + "; the forge is asked for them then."
		}
	}
	return line
}

// countsOf says what a plan does, what is destroyed first.
func countsOf(c planstore.Counts) string {
	var parts []string
	for _, one := range []struct {
		n    int
		what string
	}{{c.Delete, "to destroy"}, {c.Replace, "to replace"}, {c.Update, "to change"}, {c.Create, "to add"}, {c.Import, "to import"}, {c.Forget, "to forget"}, {c.Move, "to move"}} {
		if one.n > 0 {
			parts = append(parts, number(one.n)+" "+one.what)
		}
	}
	return strings.Join(parts, ", ")
}

// digestOf tells whether the plans on a page are still those.
func digestOf(seen map[string]string) string {
	if len(seen) == 0 {
		return ""
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		h.Write([]byte(name + "\x00" + seen[name] + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// backTo is where somebody who thinks better of it goes.
func backTo(r engine.Request) string {
	switch {
	case r.Action == engine.ActRetry:
		return "/queue"
	case len(r.Workspaces) == 1:
		return workspaceURL(r.Repository, r.Workspaces[0])
	case r.Repository == "":
		return "/drift"
	}
	return address("/", "repo", string(r.Repository))
}

// doAsk asks.
func (s *site) doAsk(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), pageTime)
	defer cancel()
	who, q := signin.From(ctx), &query{values: req.PostForm}
	for _, values := range req.PostForm {
		if len(values) > 1 {
			q.fail("A field stands there twice.")
		}
	}
	r, nonce, sent := requestOf(q), q.text("nonce"), q.text("seen")
	if q.wrong != "" || nonce == "" {
		s.problem(w, req, http.StatusBadRequest, "Not done", "The form cannot be understood. Go back, reload the page and try again.")
		return
	}
	sight, err := who.Sight(ctx)
	var v askView
	if err == nil {
		v, r.Seen, err = s.confirm(ctx, sight, r)
	}
	var why string
	if err == nil {
		why, err = who.May(ctx, r)
	}
	switch {
	case err != nil:
		s.notAsked(w, req, err)
		return
	case why != "":
		s.problem(w, req, http.StatusForbidden, "Not done", why)
		return
	case r.Action == engine.ActApply && v.Refused == "" && digestOf(r.Seen) != sent:
		v.Notice = "Nothing was done: what would be applied is not what was on the page any more. Look again."
		s.write(w, req, http.StatusConflict, "ask", v.Title, v)
		return
	}
	if r.Action == engine.ActApply && r.Seen == nil {
		r.Seen = map[string]string{} // nothing was shown that could be applied
	}
	r.Nonce, r.By = nonce, who.As(engine.ViaWeb, r.Repository)
	id, err := s.engine.Ask(ctx, r)
	if err != nil {
		s.notAsked(w, req, err)
		return
	}
	http.Redirect(w, req, "/request/"+string(id), http.StatusSeeOther)
}

// notAsked answers that something could not be asked for.
func (s *site) notAsked(w http.ResponseWriter, req *http.Request, err error) {
	var wrong *engine.MisaskedError
	var bad *query
	switch {
	case errors.As(err, &wrong):
		s.problem(w, req, http.StatusBadRequest, "Not done", wrong.Why)
	case errors.As(err, &bad):
		s.problem(w, req, http.StatusBadRequest, "Not done", bad.wrong)
	case errors.Is(err, engine.ErrNoSuch):
		s.problem(w, req, http.StatusNotFound, "Not done", "What it was about is not there, or not any more.")
	case errors.Is(err, engine.ErrOtherRequest):
		s.problem(w, req, http.StatusConflict, "Not done", "This form was sent before, for something else. Go back, reload the page and try again.")
	default:
		s.log.Error("a request cannot be taken", "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "Not done", "The database or the forge does not answer as it should; the log says why.")
	}
}

// request says what became of a request.
func (s *site) request(ctx context.Context, q *query) (any, error) {
	if q.wrong != "" {
		return nil, q
	}
	if !isID(q.path) {
		return nil, engine.ErrNoSuch
	}
	d, err := s.views.Request(ctx, q.sight, engine.RequestID(q.path))
	if err != nil {
		return nil, err
	}
	now, r := s.now(), d.Request
	v := requestView{
		Title: askTitle(r), Change: r.Change, State: markOfRequest(d.State), Why: unquoted(d.Why), Waits: d.State == engine.RequestWaiting,
		By: clean(d.Actor), Via: map[string]string{engine.ViaWeb: "on the web", engine.ViaAPI: "through the API"}[d.Via],
		Asked: at(d.AskedAt, now), Ended: at(d.EndedAt, now), Next: at(d.NextAt, now),
	}
	if r.Repository != "" {
		v.Repo = repoName(r.Repository)
	}
	for _, name := range r.Workspaces {
		v.Workspaces = append(v.Workspaces, link{clean(name), workspaceURL(r.Repository, name)})
	}
	for _, run := range d.Runs {
		v.Runs = append(v.Runs, runLineOf(run, now))
	}
	if d.State == engine.RequestRefused || d.State == engine.RequestFailed {
		v.Again = askURL(r)
	}
	return v, nil
}

// unquoted is a sentence of the engine, which is written for comments: there, backticks make code.
func unquoted(text string) string { return sentence(strings.ReplaceAll(text, "`", "")) }

func markOfRequest(state engine.RequestState) mark {
	switch state {
	case engine.RequestTaken:
		return mark{"✓", "taken", lookGood}
	case engine.RequestRefused:
		return mark{"✕", "refused", lookBad}
	case engine.RequestFailed:
		return mark{"✕", "failed", lookBad}
	}
	return mark{"…", "waiting", lookQuiet}
}

// retryOf is the request to try again what waits.
func retryOf(r engine.RetryView) engine.Request {
	again := engine.Request{Action: engine.ActRetry, Repository: r.Repository, Event: r.Event}
	if r.What == "report" {
		again.Report, again.Change, again.Operation = true, r.Change, r.Operation
	}
	return again
}

// againOf are the requests that make sense after a run.
func againOf(d engine.RunDetail) []engine.Request {
	r, number := d.Run, d.Operation.Change
	names := []string{r.Workspace}
	of := func(a engine.Action) engine.Request {
		return engine.Request{Action: a, Repository: r.Repository, Change: number, Workspaces: names}
	}
	switch {
	case r.Kind == engine.KindDrift || r.Kind == engine.KindAdopt:
		return []engine.Request{{Action: engine.ActDrift, Repository: r.Repository, Workspaces: names}}
	case number == 0 || !r.Status.Ended() || r.Status == engine.Superseded || d.Change.Number == 0:
		return nil
	case r.Kind == engine.KindPlan && r.Status == engine.Planned:
		return []engine.Request{of(engine.ActApply), of(engine.ActPlan)}
	case r.Kind == engine.KindApply && (r.Status == engine.Applied || r.Status == engine.Unchanged):
		return nil
	case r.Kind == engine.KindApply:
		return []engine.Request{of(engine.ActApply), of(engine.ActPlan), of(engine.ActUnlock)}
	case r.Kind == engine.KindUnlock:
		return []engine.Request{of(engine.ActUnlock)}
	}
	return []engine.Request{of(engine.ActPlan)}
}

// asksOf are the requests that make sense about a workspace.
func asksOf(d engine.WorkspaceDetail) []engine.Request {
	names := []string{d.Name}
	of := func(a engine.Action) engine.Request {
		return engine.Request{Action: a, Repository: d.Repository, Workspaces: names}
	}
	var all []engine.Request
	for _, c := range d.Changes[:min(len(d.Changes), 3)] {
		plan := engine.Request{Action: engine.ActPlan, Repository: d.Repository, Change: c.Number, Workspaces: names}
		all = append(all, plan)
		if plan.Action = engine.ActApply; c.Status == engine.Planned {
			all = append(all, plan)
		}
	}
	if d.Look.Workspace == "" {
		return all // it is not known to those who look for drift
	}
	if len(d.Pauses) == 0 {
		all = append(all, of(engine.ActDrift))
		if d.WorkspaceCard.Findings > 0 {
			all = append(all, of(engine.ActCorrect))
		}
	}
	own, wider := false, false
	for _, p := range d.Pauses {
		own, wider = own || p.Workspace != "", wider || p.Repository != "" && p.Workspace == ""
	}
	whole := engine.Request{Action: engine.ActPause, Repository: d.Repository}
	if wider {
		whole.Action = engine.ActResume
	}
	if own {
		return append(all, of(engine.ActResume), whole)
	}
	return append(all, of(engine.ActPause), whole)
}
