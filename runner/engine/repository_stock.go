package engine

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
)

// takeStock notes which workspaces a repository's default branch has, for the page and for looks for drift. That it cannot
// be found out stops nothing: a plumbline.yaml with mistakes is told of on the changes that bring it.
func (h *errand) takeStock(ctx context.Context, c *clone, branch, tip string) {
	if branch != h.repo.DefaultBranch {
		return
	}
	set, err := c.set(ctx, tip)
	if err != nil {
		h.log.Info("the workspaces of a repository are not known", "repository", h.repo.ID, "commit", tip, "error", said(err))
		return
	}
	present, err := workspaceRows(set)
	if err != nil {
		h.log.Warn("the workspaces of a repository could not be noted", "repository", h.repo.ID, "error", said(err))
		return
	}
	same := func(a, b WorkspaceRow) bool { return a.Name == b.Name && a.Dir == b.Dir && a.Settings == b.Settings }
	byName := func(a, b WorkspaceRow) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(present, byName)
	err = h.DB.Tx(ctx, func(tx *sql.Tx) error {
		known, err := h.store.workspaces(ctx, tx, h.repo.ID)
		if err != nil {
			return err
		}
		known = slices.DeleteFunc(known, func(w WorkspaceRow) bool { return !w.Present })
		slices.SortFunc(known, byName)
		if slices.EqualFunc(known, present, same) {
			return nil
		}
		return h.putWorkspaces(ctx, tx, h.repo.ID, present)
	})
	if err != nil {
		h.log.Warn("the workspaces of a repository could not be noted", "repository", h.repo.ID, "error", said(err))
	}
}
