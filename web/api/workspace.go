package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Workspace is how it stands with a workspace of a default branch.
type Workspace struct {
	Repository    string          `json:"repository"`
	Name          string          `json:"name"`
	Dir           string          `json:"dir"`
	State         string          `json:"state"`
	Class         string          `json:"class"` // the most dangerous one that has drifted
	FindingCount  int             `json:"finding_count"`
	Paused        bool            `json:"paused"`
	Overdue       bool            `json:"overdue"`
	AppliedCommit string          `json:"applied_commit"`
	AppliedAt     Time            `json:"applied_at"`
	LastApply     string          `json:"last_apply"` // how the newest apply ended
	Drift         string          `json:"drift"`      // what the newest look for drift saw
	CheckedAt     Time            `json:"checked_at"`
	Changes       []PlannedChange `json:"changes"` // that are open and touch it
}

// PlannedChange is an open change, and what is planned of it for one workspace.
type PlannedChange struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	URL    string `json:"url"`
	Run    string `json:"run"`
	Status string `json:"status"`
}

// word is a state as the API writes it: without spaces.
func word[T ~string](state T) string { return strings.ReplaceAll(string(state), " ", "_") }

// outward is the address of a page elsewhere, if it is one that may be shown; else "".
func outward(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return text
}

func workspaceOf(c engine.WorkspaceCard) Workspace {
	return Workspace{
		Repository: string(c.Repository), Name: c.Name, Dir: c.Dir, State: word(c.State), Class: string(c.Class), FindingCount: c.Findings, Paused: c.Paused, Overdue: c.Overdue,
		AppliedCommit: c.AppliedCommit, AppliedAt: at(c.AppliedAt), LastApply: string(c.LastStatus), Drift: string(c.Sweep), CheckedAt: at(c.CheckedAt),
		Changes: all(c.Changes, func(c engine.ChangeCard) PlannedChange {
			return PlannedChange{c.Number, c.Title, outward(c.URL), c.Run, string(c.Status)}
		}),
	}
}

func (a *API) workspaces(c *call) work {
	var states []string
	for _, state := range engine.WorkspaceStates() {
		states = append(states, word(state))
	}
	f := engine.WorkspaceFilter{
		Text: c.text("q"), Repository: engine.RepoID(c.name("repository")), Limit: c.limit(),
		State: engine.WorkspaceState(strings.ReplaceAll(c.choice("state", states...), "_", " ")),
	}
	var after engine.WorkspacePlace
	if parts := c.cursor("workspaces", 2); parts != nil {
		after = engine.WorkspacePlace{Repository: engine.RepoID(parts[0]), Name: parts[1]}
	}
	return func(ctx context.Context) (any, error) {
		part, err := a.Views.WorkspacesAfter(ctx, c.sight, f, after)
		if err != nil {
			return nil, err
		}
		l := workspaceList{cards: part.Cards}
		if n := len(part.Cards); part.More {
			l.next = c.next("workspaces", string(part.Cards[n-1].Repository), part.Cards[n-1].Name)
		}
		return l, nil
	}
}

// workspaceList is a List of Workspace that writes itself.
type workspaceList struct {
	cards []engine.WorkspaceCard
	next  *string
}

func (l workspaceList) appendJSON(to []byte) []byte {
	to = append(slices.Grow(to, 100+400*len(l.cards)), `{"items":[`...)
	for i := range l.cards {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendWorkspace(to, &l.cards[i])
	}
	to = append(to, `],"next":`...)
	if l.next == nil {
		return append(to, "null}"...)
	}
	return append(appendText(to, *l.next), '}')
}

// appendWorkspace writes what workspaceOf returns, as encoding/json would.
func appendWorkspace(to []byte, c *engine.WorkspaceCard) []byte {
	to = appendText(append(to, `{"repository":`...), string(c.Repository))
	to = appendText(append(to, `,"name":`...), c.Name)
	to = appendText(append(to, `,"dir":`...), c.Dir)
	to = appendText(append(to, `,"state":`...), word(c.State))
	to = appendText(append(to, `,"class":`...), string(c.Class))
	to = appendNumber(append(to, `,"finding_count":`...), c.Findings)
	to = appendBool(append(to, `,"paused":`...), c.Paused)
	to = appendBool(append(to, `,"overdue":`...), c.Overdue)
	to = appendText(append(to, `,"applied_commit":`...), c.AppliedCommit)
	to = appendTime(append(to, `,"applied_at":`...), c.AppliedAt)
	to = appendText(append(to, `,"last_apply":`...), string(c.LastStatus))
	to = appendText(append(to, `,"drift":`...), string(c.Sweep))
	to = appendTime(append(to, `,"checked_at":`...), c.CheckedAt)
	to = append(to, `,"changes":[`...)
	for i, change := range c.Changes {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendNumber(append(to, `{"number":`...), change.Number)
		to = appendText(append(to, `,"title":`...), change.Title)
		to = appendText(append(to, `,"url":`...), outward(change.URL))
		to = appendText(append(to, `,"run":`...), change.Run)
		to = append(appendText(append(to, `,"status":`...), string(change.Status)), '}')
	}
	return append(to, "]}"...)
}
