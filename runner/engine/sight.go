package engine

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
)

// Sight is which repositories somebody sees. The zero value sees nothing.
//
// What is not in sight is as if it were not there: it is in no row, no count and no search, and an id of it answers as one that
// there is not. Rows of the server as a whole, such as a pause of everything, are seen by whoever sees RepoID "".
type Sight struct {
	all  bool
	only func(RepoID) bool
}

// Everything sees all repositories and the server as a whole.
func Everything() Sight { return Sight{all: true} }

// Only sees the repositories that a function says, and the server as a whole if it says so of "".
func Only(sees func(RepoID) bool) Sight { return Sight{only: sees} }

// Sees reports whether a repository is in sight; with "", whether the server as a whole is.
func (s Sight) Sees(id RepoID) bool { return s.all || s.only != nil && s.only(id) }

// horizon is a Sight in terms of rows.
type horizon struct {
	all   bool
	whole bool // rows of no repository are seen
	ids   []string
	// names are OWNER/NAME, which is what the audit log knows: of repositories of the same name on several forges, all must be
	// in sight.
	names []string
}

// horizon finds which of the known repositories are in sight.
func (v *Views) horizon(ctx context.Context, tx *sql.Tx, sight Sight) (horizon, error) {
	if sight.all {
		return horizon{all: true, whole: true}, nil
	}
	h := horizon{whole: sight.Sees("")}
	all, err := list(ctx, tx, scanText, "SELECT id FROM repository ORDER BY id")
	if err != nil {
		return horizon{}, err
	}
	hidden := map[string]bool{}
	for _, id := range all {
		if name := RepoID(id).repo().String(); !sight.Sees(RepoID(id)) {
			hidden[name] = true
		} else {
			h.ids, h.names = append(h.ids, id), append(h.names, name)
		}
	}
	h.names = slices.DeleteFunc(h.names, func(name string) bool { return hidden[name] })
	return h, nil
}

// where is a condition on a column that holds a repository, for the end of another condition, and args with what it needs.
func (h horizon) where(column string, args ...any) (condition string, all []any) {
	if h.all {
		return "", args
	}
	var marks []string
	add := func(id string) {
		args = append(args, id)
		marks = append(marks, "$"+strconv.Itoa(len(args)))
	}
	for _, id := range h.ids {
		add(id)
	}
	if h.whole {
		add("")
	}
	if len(marks) == 0 {
		return " AND 1 = 0", args
	}
	return " AND " + column + " IN (" + strings.Join(marks, ", ") + ")", args
}

// named reports whether all repositories of a name are in sight.
func (h horizon) named(name string) bool { return h.all || slices.Contains(h.names, name) }

// audit narrows a filter of the audit log to what is in sight.
func (h horizon) audit(f audit.Filter) audit.Filter {
	if !h.all {
		f.Repositories = append([]string{}, h.names...)
		if h.whole {
			f.Repositories = append(f.Repositories, "")
		}
	}
	return f
}

// inSight leaves out the repositories that are not seen.
func (v *Views) inSight(sight Sight, all []Repository) []Repository {
	all = slices.DeleteFunc(all, func(r Repository) bool { return !sight.Sees(r.ID) })
	for i := range all {
		all[i].Problem = v.plain.Line(all[i].Problem)
	}
	return all
}

// pausesInSight leaves out the pauses that are not seen, and hides secrets in the others.
func (v *Views) pausesInSight(sight Sight, all []Pause) []Pause {
	all = slices.DeleteFunc(all, func(p Pause) bool { return !sight.Sees(p.Repository) })
	for i := range all {
		all[i].Reason, all[i].Actor = v.plain.Line(all[i].Reason), v.plain.Line(all[i].Actor)
	}
	return all
}

// RepositoryIDs are all repositories that rows tell of, in order.
func RepositoryIDs(ctx context.Context, db *database.DB) ([]RepoID, error) {
	var ids []RepoID
	err := db.Read(ctx, func(tx *sql.Tx) error {
		all, err := list(ctx, tx, scanText, "SELECT id FROM repository ORDER BY id")
		ids = nil
		for _, id := range all {
			ids = append(ids, RepoID(id))
		}
		return err
	})
	return ids, err
}
