package web

import (
	"context"
	"path"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// workspacesPage is how many workspaces a page has.
const workspacesPage = 100

type (
	workspacesView struct {
		Text, State, Repo string // the filter, for the form
		Repos             []option
		Chips             []chip
		Count             string
		Groups            []groupView
		Pages             pagesView
		Problems          []problemLine
		Several           bool // there is more than one repository
		Filtered          bool
		Empty             bool // there is no workspace at all
	}
	// groupView is workspaces of one folder.
	groupView struct {
		Repo, Folder string
		Graph        string // address of the repository's order
		Cards        []cardView
	}
	cardView struct {
		Name, URL string
		State     mark
		Class     string // cluster, node or resource, of what has drifted
		Remarks   []mark
		Commit    string
		Applied   moment
		Checked   moment
		Changes   []changeView
		More      int // changes that are not shown
	}
	changeView struct {
		Number int
		Title  string
		URL    string // of the run that plans it
		Status mark
	}
	option struct{ Value, Text string }
	chip   struct {
		mark
		URL    string
		Count  string
		Chosen bool
	}
	problemLine struct{ Repository, Problem string }
	pagesView   struct{ Earlier, Later, Text string }
)

func (s *site) workspaces(ctx context.Context, q *query) (any, error) {
	f := engine.WorkspaceFilter{Text: q.text("q"), Repository: engine.RepoID(q.text("repo")), From: q.number("from"), Limit: workspacesPage}
	var states []string
	for _, state := range engine.WorkspaceStates() {
		states = append(states, string(state))
	}
	f.State = engine.WorkspaceState(q.choice("state", states...))
	if q.wrong != "" {
		return nil, q
	}
	l, err := s.views.Workspaces(ctx, q.sight, f)
	if err != nil {
		return nil, err
	}
	to := func(state engine.WorkspaceState, n int) string {
		return address("/", "q", f.Text, "repo", string(f.Repository), "state", string(state), "from", from(n))
	}
	v := workspacesView{
		Text: f.Text, State: string(f.State), Repo: string(f.Repository), Several: len(l.Repositories) > 1,
		Filtered: f.Text != "" || f.State != "" || f.Repository != "", Empty: l.All == 0, Count: plural(l.All, "workspace"),
		Pages: pagesOf(f.From, len(l.Cards), l.Found, workspacesPage, func(n int) string { return to(f.State, n) }),
	}
	if v.Filtered {
		v.Count = number(l.Found) + " of " + v.Count
	}
	for _, r := range l.Repositories {
		v.Repos = append(v.Repos, option{string(r.ID), repoName(r.ID)})
		if r.Problem != "" {
			v.Problems = append(v.Problems, problemLine{repoName(r.ID), sentence(r.Problem)})
		}
	}
	for _, state := range engine.WorkspaceStates() {
		if n := l.States[state]; n > 0 || state == f.State {
			c := chip{mark: markOf(state), Count: number(n), Chosen: state == f.State, URL: to(state, 0)}
			if c.Chosen {
				c.URL = to("", 0)
			}
			v.Chips = append(v.Chips, c)
		}
	}
	now := s.now()
	for _, c := range l.Cards {
		folder := path.Dir(c.Dir)
		if folder == "." {
			folder = ""
		}
		g := groupView{Repo: repoName(c.Repository), Folder: clean(folder), Graph: address("/graph", "repo", string(c.Repository))}
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Repo != g.Repo || v.Groups[n-1].Folder != g.Folder {
			v.Groups = append(v.Groups, g)
		}
		last := &v.Groups[len(v.Groups)-1]
		last.Cards = append(last.Cards, cardOf(c, at(c.AppliedAt, now), at(c.CheckedAt, now)))
	}
	return v, nil
}

func cardOf(c engine.WorkspaceCard, applied, checked moment) cardView {
	card := cardView{
		Name: clean(c.Name), URL: workspaceURL(c.Repository, c.Name), State: markOf(c.State),
		Commit: short(c.AppliedCommit), Applied: applied, Checked: checked,
	}
	if c.State == engine.StateDrifted {
		card.Class = clean(string(c.Class))
	}
	if c.Class != "" && c.State != engine.StateDrifted {
		card.Remarks = append(card.Remarks, markOf(engine.StateDrifted))
	}
	if c.Paused && c.State != engine.StatePaused {
		card.Remarks = append(card.Remarks, markOf(engine.StatePaused))
	}
	if c.Overdue {
		card.Remarks = append(card.Remarks, markOf("overdue"))
	}
	const most = 4
	for i, change := range c.Changes {
		if i == most {
			card.More = len(c.Changes) - most
			break
		}
		card.Changes = append(card.Changes, changeView{change.Number, clean(change.Title), runURL(change.Run), markOf(change.Status)})
	}
	return card
}

func workspaceURL(repo engine.RepoID, name string) string {
	return address("/workspace", "repo", string(repo), "name", name)
}

func runURL(id string) string {
	if id == "" {
		return ""
	}
	return "/run/" + id
}

// pagesOf says which part of a list is shown, and leads to the others, which have size each.
func pagesOf(first, shown, found, size int, to func(n int) string) pagesView {
	var v pagesView
	if first > 0 {
		v.Earlier = to(max(0, first-size))
	}
	if first+shown < found {
		v.Later = to(first + shown)
	}
	if v.Earlier != "" || v.Later != "" {
		v.Text = number(first+1) + "–" + number(first+shown) + " of " + number(found)
		if shown == 0 {
			v.Text = "none of " + number(found)
		}
	}
	return v
}
