package gitrepo

import (
	"context"
	"fmt"
	"slices"
	"sort"
)

// MergedChange is a pull request of which the forge says that it was merged.
type MergedChange struct {
	Number int
	Head   string // its last commit, as it was pushed
	// MergeCommit is the commit on the branch that the forge names: the merge,
	// the squashed commit, or the last of the rebased ones. "" if not known.
	MergeCommit string
	// Base is the tip of the branch that the change was last seen on, "" if not
	// known. It tells where a change begins that was merged without a trace
	// (fast-forward).
	Base string
}

// Method is how a change came to its branch.
type Method string

// The methods. A direct push has none. Of one commit, nothing but its message
// tells a squash from a rebase.
const (
	MergeMethod       Method = "merge"
	SquashMethod      Method = "squash"
	RebaseMethod      Method = "rebase"
	FastForwardMethod Method = "fast-forward"
)

// Span is a part of a branch's way that belongs together: a merged change, or
// what was pushed without one.
type Span struct {
	From, To string // from the one commit, exclusive, to the other, inclusive
	Change   int    // 0 for direct pushes
	Method   Method
	// Also are further changes that came with this span, because its head held
	// theirs. Nothing else on the branch is theirs.
	Also []int
}

// Spans divides what came to a branch between two commits among the changes
// that were merged, oldest first. The spans follow one another without a gap
// from the commit from to the commit to. Changes that are not in between are
// passed over. Direct pushes that follow one another are one span.
//
// It is an error if from is not in the history of to; ask [Repo.FirstParents]
// before.
func (r *Repo) Spans(ctx context.Context, from, to string, merged []MergedChange) ([]Span, error) {
	commits, forward, err := r.FirstParents(ctx, from, to)
	if err == nil && !forward {
		err = fmt.Errorf("%s is not in the history of %s: the branch was pushed with force", from, to)
	}
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 {
		return nil, nil
	}
	if !isID(from) {
		if from, err = r.Resolve(ctx, from); err != nil {
			return nil, err
		}
	}
	w := &way{repo: r, from: from, commits: commits, at: map[string]int{}, claims: make([]claim, len(commits))}
	for i, c := range commits {
		w.at[c.ID] = i
	}
	if err := w.claim(ctx, merged); err != nil {
		return nil, fmt.Errorf("divide %s..%s among the merged changes: %w", from, to, err)
	}
	return w.spans(), nil
}

// way is the commits of a branch that are being divided.
type way struct {
	repo    *Repo
	from    string
	commits []Commit
	at      map[string]int // index in commits by id
	claims  []claim        // whose each commit is
}

// claim is what is known of one commit.
type claim struct {
	change int // 0: nobody's
	method Method
	also   []int
}

// claim gives commits to changes: first the one commit that the forge names,
// then what lies before it, so that no change takes what another is named for.
func (w *way) claim(ctx context.Context, merged []MergedChange) error {
	type ending struct {
		MergedChange
		at int
	}
	var ends []ending
	var unplaced []MergedChange
	merged = slices.Clone(merged)
	sort.SliceStable(merged, func(i, j int) bool { return merged[i].Number < merged[j].Number })
	for _, c := range merged {
		at, ok := w.at[c.MergeCommit]
		if !ok {
			at, ok = w.at[c.Head]
		}
		switch {
		case !ok:
			unplaced = append(unplaced, c)
		case w.claims[at].change != 0:
			w.claims[at].also = append(w.claims[at].also, c.Number)
		default:
			w.claims[at] = claim{change: c.Number}
			ends = append(ends, ending{c, at})
		}
	}
	slices.SortFunc(ends, func(a, b ending) int { return a.at - b.at })
	for _, e := range ends {
		var err error
		switch c := w.commits[e.at]; {
		case c.ID == e.Head:
			err = w.fastForward(ctx, e.MergedChange, e.at)
		case len(c.Parents) > 1:
			w.claims[e.at].method = MergeMethod
		default:
			err = w.rebased(ctx, e.MergedChange, e.at)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range unplaced {
		if err := w.inside(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// rebased claims the commit of a change and those before it that are the
// change's own, rebased. None before it: it was squashed.
func (w *way) rebased(ctx context.Context, c MergedChange, at int) error {
	w.claims[at].method = SquashMethod
	if known, err := w.repo.has(ctx, c.Head); err != nil || !known {
		return err
	}
	own, err := w.repo.log(ctx, "--no-merges", c.Head, "^"+w.commits[at].ID)
	if err != nil {
		return err
	}
	type likeness struct {
		email   string
		date    int64
		subject string
	}
	like := func(c Commit) likeness { return likeness{c.AuthorEmail, c.AuthorDate, c.Subject} }
	left := map[likeness]int{}
	for _, o := range own {
		left[like(o)]++
	}
	for i := at; i >= 0; i-- {
		commit := w.commits[i]
		if i < at && w.claims[i].change != 0 || len(commit.Parents) > 1 || left[like(commit)] == 0 {
			break
		}
		left[like(commit)]--
		w.claims[i].change, w.claims[i].method = c.Number, RebaseMethod
	}
	return nil
}

// fastForward claims the commits that a change brought as they were: those
// after the tip that it was last seen on, or after whatever else is claimed.
func (w *way) fastForward(ctx context.Context, c MergedChange, at int) error {
	base := -1
	if c.Base != "" {
		known, err := w.repo.has(ctx, c.Base)
		if err != nil {
			return err
		}
		after := false // some forges tell the tip after the merge
		if known {
			if after, err = w.repo.IsAncestor(ctx, c.Head, c.Base); err != nil {
				return err
			}
		}
		if known && !after {
			// The first commit that the base does not hold begins the change.
			var failed error
			base = sort.Search(at, func(i int) bool {
				inside, err := w.repo.IsAncestor(ctx, w.commits[i].ID, c.Base)
				if err != nil {
					failed = err
				}
				return !inside
			}) - 1
			if failed != nil {
				return failed
			}
		}
	}
	w.claims[at].method = FastForwardMethod
	for i := at - 1; i > base && w.claims[i].change == 0; i-- {
		w.claims[i] = claim{change: c.Number, method: FastForwardMethod}
	}
	return nil
}

// inside places a change whose head came with a merge that somebody made by
// hand, or with another change's head: the oldest commit that holds it.
func (w *way) inside(ctx context.Context, c MergedChange) error {
	known, err := w.repo.has(ctx, c.Head)
	if err != nil || !known {
		return err
	}
	if before, err := w.repo.IsAncestor(ctx, c.Head, w.from); err != nil || before {
		return err
	}
	var failed error
	at := sort.Search(len(w.commits), func(i int) bool {
		inside, err := w.repo.IsAncestor(ctx, c.Head, w.commits[i].ID)
		if err != nil {
			failed = err
		}
		return inside
	})
	if failed != nil || at == len(w.commits) {
		return failed
	}
	if w.claims[at].change == 0 {
		w.claims[at] = claim{change: c.Number, method: MergeMethod}
	} else {
		w.claims[at].also = append(w.claims[at].also, c.Number)
	}
	return nil
}

// spans joins neighbours that belong to one change, or to none.
func (w *way) spans() []Span {
	var spans []Span
	last := w.from
	for i, commit := range w.commits {
		c := w.claims[i]
		if n := len(spans); n > 0 && spans[n-1].Change == c.change {
			spans[n-1].To = commit.ID
			spans[n-1].Also = append(spans[n-1].Also, c.also...)
		} else {
			spans = append(spans, Span{From: last, To: commit.ID, Change: c.change, Method: c.method, Also: c.also})
		}
		last = commit.ID
	}
	return spans
}
