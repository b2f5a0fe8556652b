package api

import (
	"context"
	_ "embed"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

//go:embed openapi.json
var openAPI []byte

// description serves openapi.json as it is written.
func (a *API) description(*call) work {
	return func(context.Context) (any, error) { return written(openAPI), nil }
}

// written is JSON that stands there already.
type written []byte

func (t written) appendJSON(to []byte) []byte {
	if n := len(t); n > 0 && t[n-1] == '\n' {
		t = t[:n-1]
	}
	return append(to, t...)
}

// Server is what a client must know of the server.
type Server struct {
	Name    string `json:"name"` // "plumbline"
	Version string `json:"version"`
	API     string `json:"api"`
}

func (a *API) server(*call) work {
	return func(context.Context) (any, error) { return Server{"plumbline", a.Version, Version}, nil }
}

// Repository is one that the server serves.
type Repository struct {
	ID            string `json:"id"`    // FORGE/OWNER/NAME
	Forge         string `json:"forge"` // its name in server.yaml
	Name          string `json:"name"`  // OWNER/NAME
	DefaultBranch string `json:"default_branch"`
	Archived      bool   `json:"archived"`
	Problem       string `json:"problem"` // why nothing can be done with it now
	PolledAt      Time   `json:"polled_at"`
}

func repositoryOf(r engine.Repository) Repository {
	return Repository{string(r.ID), r.Forge, r.Repo.String(), r.DefaultBranch, r.Archived, r.Problem, at(r.PolledAt)}
}

func (a *API) repositories(c *call) work {
	return func(ctx context.Context) (any, error) {
		rows, err := a.Views.Repositories(ctx, c.sight)
		if err != nil {
			return nil, err
		}
		return List[Repository]{Items: all(rows, repositoryOf)}, nil
	}
}

// Status is how it stands with everything, and what wants somebody.
type Status struct {
	Workspaces   int            `json:"workspaces"`
	States       map[string]int `json:"states"` // how many workspaces are in each
	Overdue      int            `json:"overdue"`
	FindingCount int            `json:"finding_count"`
	Running      int            `json:"running"`
	Waiting      int            `json:"waiting"`
	Retries      int            `json:"retries"`
	Pauses       []Pause        `json:"pauses"`
	Repositories int            `json:"repositories"`
	Problems     []Repository   `json:"problems"` // repositories with which nothing can be done now
	Wanting      []Workspace    `json:"wanting"`  // somebody: the most urgent first
	MoreWanting  int            `json:"more_wanting"`
}

func (a *API) status(c *call) work {
	return func(ctx context.Context) (any, error) {
		s, err := a.Views.Standing(ctx, c.sight)
		if err != nil {
			return nil, err
		}
		v := Status{
			Workspaces: s.All, States: map[string]int{}, Overdue: s.Overdue, FindingCount: s.Findings, Running: s.Running, Waiting: s.Waiting, Retries: s.Retries,
			Pauses: all(s.Pauses, pauseOf), Repositories: s.Repositories, Problems: all(s.Problems, repositoryOf), Wanting: all(s.Wanting, workspaceOf), MoreWanting: s.More,
		}
		for _, state := range engine.WorkspaceStates() {
			v.States[word(state)] = s.States[state]
		}
		return v, nil
	}
}
