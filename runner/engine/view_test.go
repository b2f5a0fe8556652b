package engine

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/planstore"
)

// views are those of the rows, without a plan store.
func (w *rowsWorld) views() *Views {
	w.Helper()
	log, err := audit.New(audit.Options{})
	if err != nil {
		w.Fatal(err)
	}
	return NewViews(ViewsOptions{
		DB: w.db, Audit: log, Now: w.store.now, Secrets: []string{"canary-of-the-views"},
		Plans: func(string) (*planstore.Store, error) { return nil, errors.New("there is no plan store") },
	})
}

func TestTheMostUrgentStateIsShown(t *testing.T) {
	t.Parallel()
	planned := []ChangeCard{{Status: Unchanged}, {Status: Planned}}
	for _, c := range []struct {
		card     WorkspaceCard
		applying bool
		want     WorkspaceState
	}{
		{WorkspaceCard{}, false, StateNew},
		{WorkspaceCard{Sweep: SweepNever}, false, StateNew},
		{WorkspaceCard{Sweep: SweepNever, LastStatus: Applied, AppliedAt: time.Unix(1, 0)}, false, StateApplied},
		{WorkspaceCard{Sweep: SweepNever, LastStatus: Superseded, AppliedAt: time.Unix(1, 0)}, false, StateApplied},
		{WorkspaceCard{Sweep: SweepClean, LastStatus: Skipped}, false, StateHeld},
		{WorkspaceCard{Sweep: SweepClean}, false, StateInSync},
		{WorkspaceCard{Sweep: SweepClean, Changes: planned}, false, StatePlanned},
		{WorkspaceCard{Sweep: SweepClean, Changes: planned[:1]}, false, StateInSync},
		{WorkspaceCard{Sweep: SweepClean, Changes: planned, Paused: true}, false, StatePaused},
		{WorkspaceCard{Sweep: SweepUnknown, Paused: true}, false, StateUnknown},
		{WorkspaceCard{Sweep: SweepDrifted, Paused: true}, false, StateDrifted},
		{WorkspaceCard{Sweep: SweepDrifted, LastStatus: Held}, false, StateHeld},
		{WorkspaceCard{Sweep: SweepClean, LastStatus: Partly}, false, StateFailed},
		{WorkspaceCard{Sweep: SweepClean, LastStatus: Interrupted}, false, StateFailed},
		{WorkspaceCard{Sweep: SweepDrifted, LastStatus: Failed}, true, StateApplying},
	} {
		if got := c.card.stateOf(c.applying); got != c.want {
			t.Errorf("%+v, applying %v: %s, want %s", c.card, c.applying, got, c.want)
		}
		if !slices.Contains(WorkspaceStates(), c.want) {
			t.Errorf("%s is not in the list of states", c.want)
		}
	}
}

func TestGraphIsInWaves(t *testing.T) {
	t.Parallel()
	var cards []WorkspaceCard
	for _, name := range []string{"app", "dns", "net", "odd", "self"} {
		cards = append(cards, WorkspaceCard{Name: name})
	}
	nodes := graphOf(cards, map[string][]string{"app": {"dns", "net"}, "dns": {"net", "gone"}, "self": {"self"}})
	var got []string
	for _, n := range nodes {
		got = append(got, fmt.Sprint(n.Wave, " ", n.Name, n.Needs))
	}
	if want := "0 net[]; 0 odd[]; 1 dns[net]; 1 self[self]; 2 app[dns net]"; strings.Join(got, "; ") != want {
		t.Errorf("the order is %s, want %s", strings.Join(got, "; "), want)
	}
}

// workspacesAreFound: by words, state and repository, in pages, with what is open on them.
func workspacesAreFound(t *testing.T, w *rowsWorld) {
	w.tx(func(tx *sql.Tx) error {
		return w.store.putWorkspaces(t.Context(), tx, repo, []WorkspaceRow{
			{Name: "net", Dir: "base/net"}, {Name: "app", Dir: "top/app", Settings: `{"depends_on":["net"]}`}, {Name: "dns", Dir: "base/dns"},
		})
	})
	w.putChange(change(1, w.store.now()))
	o, _ := w.add(KindPlan, 1, "app")
	w.end(w.claim(o, "app", "p"), Planned)
	apply, _ := w.add(KindApply, 2, "dns")
	w.claim(apply, "dns", "p")
	w.tx(func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), "UPDATE change SET operation = $1 WHERE number = 1", o.ID); err != nil {
			return err
		}
		if err := w.store.putSweep(t.Context(), tx, Sweep{Repository: repo, Workspace: "net", State: SweepDrifted, OverdueAt: w.store.now().Add(-time.Hour), KnownAt: w.store.now()}); err != nil {
			return err
		}
		return w.store.putFindings(t.Context(), tx, repo, "net", w.store.now(), []FindingRow{
			{Key: "a", Address: "toy_bucket.a", Class: drift.ClassResource, Cause: drift.CauseOutside},
			{Key: "b", Address: "toy_node.b", Class: drift.ClassNode, Cause: drift.CauseOutside},
		})
	})
	v := w.views()
	for _, c := range []struct {
		filter WorkspaceFilter
		want   string
		found  int
	}{
		{WorkspaceFilter{Limit: 9}, "dns applying, net drifted, app planned", 3},
		{WorkspaceFilter{Limit: 1, From: 1}, "net drifted", 3},
		{WorkspaceFilter{Limit: 9, Text: "BASE live"}, "dns applying, net drifted", 2},
		{WorkspaceFilter{Limit: 9, State: StateDrifted}, "net drifted", 1},
		{WorkspaceFilter{Limit: 9, Repository: "gh/acme/none"}, "", 0},
		{WorkspaceFilter{Limit: 9, Text: "%"}, "", 0},
	} {
		l, err := v.Workspaces(t.Context(), Everything(), c.filter)
		var got []string
		for _, card := range l.Cards {
			got = append(got, card.Name+" "+string(card.State))
		}
		if err != nil || strings.Join(got, ", ") != c.want || l.Found != c.found || l.All != 3 {
			t.Errorf("%+v finds %q, %d of %d, %v; want %q, %d of 3", c.filter, got, l.Found, l.All, err, c.want, c.found)
		}
	}
	d, err := v.Workspace(t.Context(), Everything(), repo, "net", "")
	if err != nil || d.Class != drift.ClassNode || d.WorkspaceCard.Findings != 2 || !d.Overdue || len(d.NeededBy) != 1 || d.NeededBy[0].Name != "app" || !d.Findings[0].Closed {
		t.Errorf("the workspace is %+v, %v", d, err)
	}
	if d, err = v.Workspace(t.Context(), Everything(), repo, "app", ""); err != nil || len(d.Changes) != 1 || len(d.Needs) != 1 || len(d.Runs) != 1 || d.Runs[0].Change != 1 {
		t.Errorf("the workspace is %+v, %v", d, err)
	}
	for _, name := range []string{"", "none", "net'--"} {
		if _, err := v.Workspace(t.Context(), Everything(), repo, name, ""); !errors.Is(err, ErrNoSuch) {
			t.Errorf("the workspace %q: %v, want ErrNoSuch", name, err)
		}
	}
	if _, err := v.Graph(t.Context(), Everything(), "gh/acme/none"); !errors.Is(err, ErrNoSuch) {
		t.Errorf("the order of no repository: %v", err)
	}
	if g, err := v.Graph(t.Context(), Everything(), ""); err != nil || g.Home.ID != repo || len(g.Nodes) != 3 {
		t.Errorf("the order is %+v, %v", g, err)
	}
	b, err := v.Drift(t.Context(), Everything(), DriftFilter{Class: drift.ClassNode, Limit: 9})
	if err != nil || b.Found != 1 || b.Findings[0].Address != "toy_node.b" || b.Counts[drift.ClassResource][drift.CauseOutside] != 1 {
		t.Errorf("the board is %+v, %v", b, err)
	}
	if _, err := v.Run(t.Context(), Everything(), "none"); !errors.Is(err, ErrNoSuch) {
		t.Errorf("a run that there is not: %v", err)
	}
}

// listsGoOn: the parts of a list are what the whole is, however small they are.
func listsGoOn(t *testing.T, w *rowsWorld) {
	v, ctx := w.views(), t.Context()
	ids := []RepoID{"gh/acme/a", repo, "gh/acme/a-b", "other/Acme/Z"}
	for n, id := range ids {
		w.tx(func(tx *sql.Tx) error {
			if err := w.store.putRepository(ctx, tx, Repository{ID: id, Forge: "gh", Repo: id.repo(), DefaultBranch: "main"}); err != nil {
				return err
			}
			var rows []WorkspaceRow
			for _, name := range []string{"b", "a", "é/ü", "B", "a/b", "a b", "%"} {
				rows = append(rows, WorkspaceRow{Name: name, Dir: name + "/dir"})
			}
			if err := w.store.putWorkspaces(ctx, tx, id, rows); err != nil {
				return err
			}
			if err := w.store.putSweep(ctx, tx, Sweep{Repository: id, Workspace: "a/b", State: SweepDrifted, KnownAt: w.store.now()}); err != nil {
				return err
			}
			if err := w.store.putFindings(ctx, tx, id, "a/b", w.store.now(), []FindingRow{{Key: "k", Address: "toy_node.a", Class: drift.ClassNode, Cause: drift.CauseOutside}}); err != nil {
				return err
			}
			o, _, err := w.store.addOperation(ctx, tx, Operation{Repository: id, Change: n + 1, Kind: KindPlan, Cause: CausePushed, Branch: "main"}, []Run{{Workspace: "a", Dir: "a"}, {Workspace: "b", Dir: "b"}})
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO change VALUES ($1, 1, 'Change', 'ann', 'open', 0, 0, 'f', 'c', 'main', 'b', '', '', 0, 0, '', $2, 0)`, string(id), o.ID)
			return err
		})
	}
	for _, f := range []WorkspaceFilter{{}, {Repository: repo}, {Text: "A/B gh"}, {State: StateDrifted}, {Text: "no such"}} {
		for _, sight := range []Sight{Everything(), Only(func(id RepoID) bool { return id != repo })} {
			f.Limit = 1000
			whole, err := v.Workspaces(ctx, sight, f)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{}
			for _, c := range whole.Cards {
				want[fmt.Sprintf("%+v", c)]++
			}
			for _, limit := range []int{1, 3, 1000} {
				f.Limit = limit
				got, count := map[string]int{}, 0
				for at, more := (WorkspacePlace{}), true; more; {
					part, err := v.WorkspacesAfter(ctx, sight, f, at)
					if err != nil || len(part.Cards) > limit {
						t.Fatalf("%+v: a part has %d, %v", f, len(part.Cards), err)
					}
					for _, c := range part.Cards {
						got[fmt.Sprintf("%+v", c)]++
						at, count = WorkspacePlace{c.Repository, c.Name}, count+1
					}
					if more = part.More; more && len(part.Cards) == 0 {
						t.Fatalf("%+v: an empty part has others after it", f)
					}
				}
				if !maps.Equal(got, want) || count != len(whole.Cards) {
					t.Errorf("%+v: the parts are %v, the whole is %v", f, got, want)
				}
			}
		}
	}
	for _, c := range []struct {
		filter RunFilter
		want   int
	}{
		{RunFilter{}, 8}, {RunFilter{Repository: repo}, 2}, {RunFilter{Workspace: "a"}, 4}, {RunFilter{Change: 3}, 2}, {RunFilter{Kind: KindApply}, 0}, {RunFilter{Statuses: []Status{Waiting, Failed}}, 8},
		{RunFilter{Statuses: []Status{Waiting}, Since: w.store.now().Add(-time.Hour), Notable: true}, 8}, {RunFilter{Since: w.store.now().Add(time.Hour)}, 0}, {RunFilter{Statuses: []Status{Failed}}, 0},
	} {
		for _, limit := range []int{1, 1000} {
			c.filter.Limit, c.filter.Before = limit, ""
			count := 0
			for more := true; more; {
				l, err := v.Runs(ctx, Everything(), c.filter)
				if err != nil || len(l.Runs) > limit {
					t.Fatalf("%+v: %+v, %v", c.filter, l, err)
				}
				for _, r := range l.Runs {
					if c.filter.Before != "" && r.ID >= c.filter.Before {
						t.Errorf("%+v: the run %s comes next", c.filter, r.ID)
					}
					c.filter.Before, count = r.ID, count+1
				}
				more = l.More
			}
			if count != c.want {
				t.Errorf("%+v finds %d runs, want %d", c.filter, count, c.want)
			}
		}
	}
}

// queueTellsWhatWaits: for what it needs, and for earlier applies.
func queueTellsWhatWaits(t *testing.T, w *rowsWorld) {
	first, _ := w.add(KindApply, 1, "net", "app: net")
	w.claim(first, "net", "p")
	w.add(KindApply, 2, "net")
	w.event(3, 1)
	key := w.event(4, 1)
	w.tx(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE event SET problem = 'no canary-of-the-views', attempts = 2 WHERE key = $1", key)
		return err
	})
	q, err := w.views().Queue(t.Context(), Everything())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range append(q.Running, q.Waiting...) {
		got = append(got, fmt.Sprintf("%s of %d: %s", r.Workspace, r.Change, strings.Join(r.Waits, " ")))
	}
	if want := "net of 1: ; app of 1: It waits for net, which it needs.; net of 2: It waits for an earlier apply of net."; strings.Join(got, "; ") != want {
		t.Errorf("the queue is %q, want %q", strings.Join(got, "; "), want)
	}
	if len(q.Retries) != 1 || q.Retries[0].Attempts != 2 || strings.Contains(q.Retries[0].Problem, "canary") {
		t.Errorf("what is tried again is %+v", q.Retries)
	}
}

// auditIsVerified: once at a time, and the answer is kept.
func auditIsVerified(t *testing.T, w *rowsWorld) {
	v := w.views()
	w.tx(func(tx *sql.Tx) error {
		for range 3 {
			if _, err := v.Audit.Append(t.Context(), tx, audit.Entry{Actor: "ann", Action: "apply", Reason: "says canary-of-the-views"}); err != nil {
				return err
			}
		}
		return nil
	})
	a, err := v.AuditLog(t.Context(), Everything(), audit.Filter{Limit: 2})
	if err != nil || len(a.Entries) != 2 || !a.More || a.Checked != nil || strings.Contains(a.Entries[0].Reason, "canary") {
		t.Errorf("the log is %+v, %v", a, err)
	}
	v.verifying.Lock()
	if err := v.VerifyAudit(t.Context(), Everything()); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is verified: %v", err)
	}
	v.verifying.Unlock()
	if err := v.VerifyAudit(t.Context(), Everything()); err != nil {
		t.Fatal(err)
	}
	if a, err = v.AuditLog(t.Context(), Everything(), audit.Filter{Limit: 3}); err != nil || a.More || a.Checked == nil || a.Checked.Verified.Entries != 3 || a.Checked.Broken != nil {
		t.Errorf("the log is %+v, %v", a, err)
	}
}
