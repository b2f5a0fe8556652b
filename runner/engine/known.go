package engine

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
)

// meet makes sure that the errand's repository is known and may be served. With fresh the forge is asked even about one
// that is known.
func (h *errand) meet(ctx context.Context, fresh bool) error {
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
	branch := h.event.Event.Ref
	if !known || h.repo.DefaultBranch == "" || h.repo.Problem != "" || fresh && branch != h.repo.DefaultBranch {
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
	moved := !strings.EqualFold(answer.Repo.String(), repo.String())
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

// meetAll makes rows for the repositories of a forge that the allow-list names and that its credentials can see, so that
// they are polled. It returns their ids.
func (e *Engine) meetAll(ctx context.Context, forgeName string) ([]RepoID, error) {
	options, served := e.forge(forgeName)
	if !served {
		return nil, fmt.Errorf("list repositories: no forge is called %q", forgeName)
	}
	all, err := options.Client.Repos(ctx)
	if err != nil {
		return nil, err
	}
	var ids []RepoID
	err = e.DB.Tx(ctx, func(tx *sql.Tx) error {
		ids = nil
		for _, repo := range all {
			if !options.allows(repo) {
				continue
			}
			id := options.repoID(repo)
			if err := e.store.meetRepository(ctx, tx, options.Name, id, repo); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}
