package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// meet makes sure that the errand's repository is known and may be served.
func (h *errand) meet(ctx context.Context) error {
	name, _, _ := strings.Cut(string(h.event.Repository), "/")
	options, served := h.Engine.forge(name)
	if !served {
		return &overError{fmt.Sprintf("the forge %q is not configured any more", name)}
	}
	h.forge = options
	known := false
	err := h.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		h.repo, known, err = h.store.repository(ctx, tx, h.event.Repository)
		return err
	})
	if err != nil {
		return err
	}
	repo := h.event.Repository.repo()
	if !options.allows(repo) {
		return &overError{fmt.Sprintf("%s is not among the repositories that are served", repo)}
	}
	if !known || h.repo.DefaultBranch == "" || h.repo.Problem != "" || h.repo.Archived {
		if h.repo, err = h.ask(ctx, repo); err != nil {
			return err
		}
	}
	if h.repo.Archived {
		return &overError{fmt.Sprintf("%s is archived: nothing can be told there", repo)}
	}
	return nil
}

// ask asks the forge about a repository and keeps the answer.
func (h *errand) ask(ctx context.Context, repo forge.Repo) (Repository, error) {
	answer, err := h.forge.Client.Repository(ctx, repo)
	if err != nil {
		return Repository{}, err
	}
	row := Repository{
		ID: h.forge.repoID(repo), Forge: h.forge.Name, Repo: repo,
		DefaultBranch: answer.DefaultBranch, CloneURL: answer.CloneURL, Archived: answer.Archived,
	}
	moved := !strings.EqualFold(answer.String(), repo.String())
	if moved {
		// Events come under the new name from now on, if that is served. Rows, mirrors and plans of the old name stay its own:
		// whoever takes the old name later is somebody else.
		row.Problem = fmt.Sprintf("It is called %s now.", answer.Repo)
	}
	err = h.DB.Tx(ctx, func(tx *sql.Tx) error { return h.store.putRepository(ctx, tx, row) })
	if err == nil && moved {
		err = &overError{fmt.Sprintf("%s is called %s now", repo, answer.Repo)}
	}
	return row, err
}

// putSet writes which workspaces the default branch has, for who looks at the repository as a whole.
func (h *errand) putSet(ctx context.Context, tx *sql.Tx, branch string, set *workspaces.Set) error {
	if branch != h.repo.DefaultBranch || set == nil {
		return nil
	}
	rows, err := workspaceRows(set)
	if err != nil {
		return err
	}
	return h.putWorkspaces(ctx, tx, h.repo.ID, rows)
}

// putWorkspaces writes which workspaces a default branch has, and has those looked at for drift, as they say themselves.
func (e *Engine) putWorkspaces(ctx context.Context, tx *sql.Tx, repo RepoID, rows []WorkspaceRow) error {
	if _, err := e.store.hold(ctx, tx, repo); err != nil {
		return err
	}
	if err := e.store.putWorkspaces(ctx, tx, repo, rows); err != nil {
		return err
	}
	// Runs of this process that are cancelled so are noticed like those of others: see sweepCancelled.
	_, err := e.followSettings(ctx, tx, repo, rows)
	return err
}

// workspaceRows are the rows of a commit's workspaces.
func workspaceRows(set *workspaces.Set) ([]WorkspaceRow, error) {
	rows := make([]WorkspaceRow, 0, len(set.Workspaces))
	for _, w := range set.Workspaces {
		settings, err := json.Marshal(w)
		if err != nil {
			return nil, fmt.Errorf("write down the workspace %s: %w", w.Name, err)
		}
		rows = append(rows, WorkspaceRow{Name: w.Name, Dir: w.Dir, Settings: string(settings)})
	}
	return rows, nil
}
