package engine

import (
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// whatIsNotInSightIsAbsent: a repository that somebody does not see changes nothing of what is told to them, wherever that is.
func whatIsNotInSightIsAbsent(t *testing.T, w *rowsWorld) {
	const seen = RepoID("gh/acme/seen")
	v, ctx := w.views(), t.Context()
	sight := Only(func(id RepoID) bool { return id == seen })
	run := map[RepoID]string{}
	// fill puts something of a repository on every page, with the same names in each.
	fill := func(repo RepoID) {
		t.Helper()
		w.tx(func(tx *sql.Tx) error {
			if err := w.store.putRepository(ctx, tx, Repository{ID: repo, Forge: "gh", Repo: repo.repo(), DefaultBranch: "main"}); err != nil {
				return err
			}
			if err := w.store.putWorkspaces(ctx, tx, repo, []WorkspaceRow{{Name: "net", Dir: "net"}, {Name: "app", Dir: "app", Settings: `{"depends_on":["net"]}`}}); err != nil {
				return err
			}
			o, runs, err := w.store.addOperation(ctx, tx, Operation{Repository: repo, Change: 1, Kind: KindApply, Cause: CausePushed, Branch: "main"}, []Run{{Workspace: "net", Dir: "net", Around: []string{"net"}}})
			if err != nil {
				return err
			}
			if _, err := w.store.settle(ctx, tx, o.ID); err != nil {
				return err
			}
			run[repo] = runs[0].ID
			now := w.store.now()
			for _, name := range []string{"net", "app"} {
				if err := w.store.putSweep(ctx, tx, Sweep{Repository: repo, Workspace: name, State: SweepDrifted, OverdueAt: now.Add(-time.Hour), NextAt: now, KnownAt: now}); err != nil {
					return err
				}
				if err := w.store.putFindings(ctx, tx, repo, name, now, []FindingRow{{Key: "k", Address: "toy_bucket.a", Class: drift.ClassNode, Cause: drift.CauseOutside}}); err != nil {
					return err
				}
			}
			for _, p := range []Pause{{Repository: repo, Workspace: "app", Actor: "ann", At: now}, {Actor: "ann", Reason: "of " + string(repo), At: now}} {
				if _, err := w.store.pauseDrift(ctx, tx, p); err != nil {
					return err
				}
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO event VALUES ($1, $1, 9, 'opened', '{}', 'poll', 'waiting', '', 3, 1, 'no answer', 0, 0)", string(repo)); err != nil {
				return err
			}
			for _, e := range []audit.Entry{{Repository: repo.repo().String(), Action: actionCorrect}, {Repository: repo.repo().String(), Action: "apply", Details: map[string]string{"run": runs[0].ID}}, {Action: actionPause}} {
				e.Actor = "ann"
				if _, err := v.Audit.Append(ctx, tx, e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	told := func() string {
		t.Helper()
		all := map[string]any{}
		tell := func(name string, what any, err error) {
			if all[name] = what; err != nil {
				all[name] = err.Error()
			}
		}
		workspaces, err := v.Workspaces(ctx, sight, WorkspaceFilter{Limit: 9})
		tell("workspaces", workspaces, err)
		workspace, err := v.Workspace(ctx, sight, seen, "net", "")
		tell("workspace", workspace, err)
		graph, err := v.Graph(ctx, sight, "")
		tell("graph", graph, err)
		board, err := v.Drift(ctx, sight, DriftFilter{Limit: 9})
		tell("drift", board, err)
		log, err := v.AuditLog(ctx, sight, audit.Filter{Limit: 9})
		tell("audit", log, err)
		queue, err := v.Queue(ctx, sight)
		tell("queue", queue, err)
		part, err := v.WorkspacesAfter(ctx, sight, WorkspaceFilter{Limit: 1}, WorkspacePlace{})
		tell("part", part, err)
		rest, err := v.WorkspacesAfter(ctx, sight, WorkspaceFilter{Limit: 1}, WorkspacePlace{seen, "app"})
		tell("rest", rest, err)
		runs, err := v.Runs(ctx, sight, RunFilter{Limit: 1})
		tell("runs", runs, err)
		standing, err := v.Standing(ctx, sight)
		tell("standing", standing, err)
		repositories, err := v.Repositories(ctx, sight)
		tell("repositories", repositories, err)
		text, err := json.MarshalIndent(all, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	fill(seen)
	before := told()
	fill(repo)                // it comes first in every order
	fill("other/acme/seen.x") // and this last
	after := told()
	// What everything is paused for is the server's own, and the newest reason replaced the one before.
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what is not in sight is told (-before +after):\n%s", diff)
	}
	for name, absent := range map[string]error{
		"workspace": second(v.Workspace(ctx, sight, repo, "net", "")), "repository": second(v.Graph(ctx, sight, repo)),
		"run": second(v.Run(ctx, sight, run[repo])), "log": v.VerifyAudit(ctx, sight),
	} {
		there := map[string]error{
			"workspace": second(v.Workspace(ctx, Everything(), "gh/acme/none", "net", "")), "repository": second(v.Graph(ctx, Everything(), "gh/acme/none")),
			"run": second(v.Run(ctx, Everything(), "none")), "log": ErrNoSuch,
		}[name]
		if absent == nil || absent.Error() != there.Error() {
			t.Errorf("a %s that is not in sight answers %v, one that there is not %v", name, absent, there)
		}
	}
	nothing, err := v.Workspaces(ctx, Sight{}, WorkspaceFilter{Limit: 9})
	if err != nil || nothing.All != 0 || len(nothing.Repositories) != 0 {
		t.Errorf("who sees nothing sees %+v, %v", nothing, err)
	}
	// The same name on another forge: the log does not say on which, so both must be in sight.
	fill("twin/acme/seen")
	log, err := v.AuditLog(ctx, sight, audit.Filter{Limit: 9})
	if err != nil || len(log.Entries) != 0 {
		t.Errorf("the log tells %+v, %v", log.Entries, err)
	}
	whole := Only(func(id RepoID) bool { return id == seen || id == "" })
	if log, err = v.AuditLog(ctx, whole, audit.Filter{Limit: 9}); err != nil || len(log.Entries) != 4 || !log.Whole || log.Entries[0].Action != actionPause {
		t.Errorf("who sees the server is told %+v, %v", log.Entries, err)
	}
}

func second[T any](_ T, err error) error { return err }
