package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
	"github.com/plumbline-dev/plumbline/runner/access"
)

// TestDriftIsLookedForWithTheTipsCredentials: what was applied with credentials that are not allowed any more is looked at
// with those that the tip names. It is not corrected with them: nobody has applied it so.
func TestDriftIsLookedForWithTheTipsCredentials(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, "")
	token := w.cloud.Token
	allow := func(name string) {
		w.job.Environ = []string{provider.EndpointVariable + "=" + w.cloud.URL, "OLD=" + token, "NEW=" + token}
		w.start()
		w.Access = access.New(access.Options{Environ: w.job.Environ, Rules: []access.Rule{{Repos: []string{"*/*"}, Env: []string{name}}}})
	}
	settings := func(name string) map[string]string {
		both := "{ TOY_TOKEN: { env: " + name + " } }"
		return map[string]string{"plumbline.yaml": strings.Replace(driftSettings, `["TOY_*"]`, `{ names: ["TOY_*"], plan: `+both+`, apply: `+both+` }`, 1)}
	}
	allow("OLD")
	w.commit(settings("OLD"))
	w.apply(driftBucket)
	w.later()

	more := settings("NEW")
	more["app/main.tf"] = driftBucket + "output \"new\" {\n  value = 1\n}\n"
	w.tip = w.commit(more)
	allow("NEW")
	w.edit("you")
	_, found := w.seen(Drifted, SweepDrifted)
	if got := w.told(found); !strings.Contains(got, "toy_bucket.logs outside +") {
		t.Errorf("the findings are %q", got)
	}
	if got, want := w.corrections(), "correct false drifted"; got != want {
		t.Errorf("decisions: got %q, want %q", got, want)
	}
	if got := w.updates(toycloud.Buckets); got != 0 {
		t.Errorf("the bucket was written to %d times", got)
	}
}

// TestReplacedHeadHasNoRulesOfItsOwn: that a change is merged does not make the settings count of a head that was replaced
// before, although its plan may still be worked.
func TestReplacedHeadHasNoRulesOfItsOwn(t *testing.T) {
	t.Parallel()
	settings := func(name string) map[string]string {
		return map[string]string{"plumbline.yaml": "workspaces: [{ dir: app, env: { plan: { TOKEN: { env: " + name + " } } } }]\n"}
	}
	files := app("1")
	files["plumbline.yaml"] = settings("BASE")["plumbline.yaml"]
	w := newRunsWorld(t, files)
	base := w.commit(map[string]string{"README.md": "base\n"})
	replaced := w.hub.Commit(t, w.hub.repo, "replaced", "main", settings("REPLACED"))
	merged := w.commit(settings("MERGED"))
	c, err := w.clone(t.Context(), w.hub.row())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.fetch(t.Context(), branchRef("replaced")); err != nil {
		t.Fatal(err)
	}
	for commit, want := range map[string]string{replaced: "BASE", merged: "MERGED"} {
		run := &task{Engine: w.Engine, repo: w.hub.row(), merged: true, op: Operation{Kind: KindPlan, Cause: CauseOpened, Branch: "main", BaseCommit: base, Commit: commit}}
		set, err := run.rules(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := set.Get("app"); got.Access.Plan["TOKEN"].Env != want {
			t.Errorf("at %s the value comes from %q, want %q", short(commit), got.Access.Plan["TOKEN"].Env, want)
		}
	}
}

// TestAppliedCommitIsOpenedWithTheTipsEnvironment: a variable whose name the tip does not hand over any more is not handed over
// because an older commit is looked at, too.
func TestAppliedCommitIsOpenedWithTheTipsEnvironment(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, "")
	settings := func(names, account string) map[string]string {
		return map[string]string{"plumbline.yaml": strings.Replace(driftSettings, `["TOY_*"]`, "["+names+"]\n  account: "+account, 1)}
	}
	w.commit(settings("TOY_*, TAKEN_AWAY", "before"))
	w.apply(driftBucket)
	tip := settings("TOY_*", "after")
	tip["app/main.tf"] = driftBucket + "output \"new\" {\n  value = 1\n}\n"
	w.tip = w.commit(tip)
	c, err := w.clone(t.Context(), w.hub.row())
	if err != nil {
		t.Fatal(err)
	}
	run := &task{
		Engine: w.Engine, repo: w.hub.row(), plans: w.plans(), op: Operation{Branch: "main", Commit: w.applied},
		run: Run{Repository: w.hub.row().ID, Workspace: "app", Dir: "app", Kind: KindDrift},
	}
	at, err := run.openAt(t.Context(), c, Operation{Branch: "main", Commit: w.tip})
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	applied, notes, err := run.openApplied(t.Context(), c, at)
	if err != nil || applied == nil {
		t.Fatalf("the commit that was applied is not opened: %q, %v", notes, err)
	}
	defer applied.close()
	if got := applied.workspace; !slices.Equal(got.Env, []string{"TOY_*"}) || got.Account != "after" {
		t.Errorf("it is looked at with the variables %q and of the account %q", got.Env, got.Account)
	}
}
