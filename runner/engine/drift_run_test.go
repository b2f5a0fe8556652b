package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// driftWorld is a workspace on a toy cloud that was applied, and whose looks for drift a test works one by one.
type driftWorld struct {
	*runsWorld
	cloud *toycloud.Server
	// applied is the commit that was applied, and tip the one at the tip of the branch.
	applied, tip string
}

const driftSettings = `version: 1
defaults:
  env: ["TOY_*"]
  drift: { correct: { cluster: update, node: replace, resource: update }, who: cloudtrail }
workspaces:
  - dir: app
`

const driftHead = `terraform {
  required_providers {
    toy = { source = "plumbline-dev/toy" }
  }
}
`

const driftBucket = driftHead + `
resource "toy_bucket" "logs" {
  name       = "logs"
  versioning = true
  tags       = { owner = "me" }
}
`

const driftCluster = driftHead + `
resource "toy_network" "main" {
  name = "main"
  cidr = "10.0.0.0/16"
}
resource "toy_cluster" "main" {
  name    = "main"
  network = toy_network.main.id
  version = "1.33"
  size    = 3
}
`

func newDriftWorld(t *testing.T, config string) *driftWorld {
	t.Helper()
	cloud, err := toycloud.Serve(context.Background(), toycloud.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	w := &driftWorld{runsWorld: newRunsWorld(t, map[string]string{"plumbline.yaml": driftSettings, "app/main.tf": driftHead}), cloud: cloud}
	mirror := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := provider.Mirror(mirror, self); err != nil {
		t.Fatal(err)
	}
	w.job.Config = parts.MirrorConfig(t, mirror)
	w.credentials(cloud.Token)
	if config != "" {
		w.apply(config)
	}
	return w
}

// credentials starts the server with others.
func (w *driftWorld) credentials(token string) {
	w.Helper()
	w.job.Environ = []string{provider.EndpointVariable + "=" + w.cloud.URL, provider.TokenVariable + "=" + token}
	w.start()
}

// apply applies a configuration.
func (w *driftWorld) apply(config string) {
	w.Helper()
	w.tip = w.commit(map[string]string{"app/main.tf": config})
	w.applied = w.tip
	w.work(w.merged(7, w.tip, w.planned(7, w.tip).Plan), Applied)
}

// begin makes a run that looks.
func (w *driftWorld) beginLook() Run {
	w.Helper()
	r := w.add(Operation{Kind: KindDrift, Cause: CauseSchedule, Commit: w.applied, HeadCommit: w.tip}, Run{Workspace: "app", Dir: "app"})[0]
	w.tx(func(tx *sql.Tx) error {
		s, _, err := w.store.sweep(w.Context(), tx, r.Repository, "app")
		if err != nil {
			return err
		}
		if s.Workspace == "" {
			s = Sweep{Repository: r.Repository, Workspace: "app", State: SweepNever}
		}
		s.Every, s.Operation = "1h", r.Operation
		return w.store.putSweep(w.Context(), tx, s)
	})
	return r
}

// seen looks, and wants a status of the run and a state of the workspace.
func (w *driftWorld) seen(status Status, state SweepState) (Sweep, []FindingRow) {
	w.Helper()
	r := w.beginLook()
	if err := w.workAs(w.Context(), r.ID); err != nil {
		w.Fatal(err)
	}
	s, found := w.known()
	w.tx(func(tx *sql.Tx) (err error) {
		r, _, err = w.store.run(w.Context(), tx, r.ID)
		return err
	})
	o, err := openResult(w.plans(), r)
	if err != nil {
		w.Fatal(err)
	}
	if r.Status != status {
		for _, f := range found {
			d, _ := openFinding(w.plans(), f)
			w.Logf("%s: %s; doubt %q; %s; refused: %s", f.Key, d.Detail, d.Doubt, d.Reason, d.Refused)
		}
		w.Fatalf("the run is %s (%s, %q), want %s", r.Status, o.Error, o.Notes, status)
	}
	if s.State != state || s.Operation != "" {
		w.Fatalf("the workspace is %q, and looked at by %q, want %q; the run: %s %v", s.State, s.Operation, state, o.Error, o.Notes)
	}
	if r.Writes || r.Phase != "" {
		w.Errorf("a look that has ended is kept as %+v", r)
	}
	return s, found
}

// known is what is known of the workspace, and of all its findings.
func (w *driftWorld) known() (s Sweep, found []FindingRow) {
	w.Helper()
	w.tx(func(tx *sql.Tx) (err error) {
		if s, _, err = w.store.sweep(w.Context(), tx, w.hub.row().ID, "app"); err != nil {
			return err
		}
		found, err = w.store.findings(w.Context(), tx, w.hub.row().ID, "app", time.UnixMilli(1))
		return err
	})
	return s, found
}

// told lists findings: ADDRESS CAUSE, a + where it may be corrected, and what has become of it.
func (w *driftWorld) told(found []FindingRow) string {
	w.Helper()
	var lines []string
	for _, f := range found {
		d, err := openFinding(w.plans(), f)
		if err != nil {
			w.Fatal(err)
		}
		line := f.Address + " " + string(f.Cause)
		for _, has := range []struct {
			word string
			so   bool
		}{{"+", d.Allowed}, {"noise", f.Noise}, {"stopped", !f.StoppedAt.IsZero()}, {"gone", !f.GoneAt.IsZero()}, {"corrected", !f.CorrectedAt.IsZero()}} {
			if has.so {
				line += " " + has.word
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

func (w *driftWorld) wants(found []FindingRow, want string) {
	w.Helper()
	if got := w.told(found); got != want {
		w.Errorf("the findings are %q, want %q", got, want)
	}
}

// edit changes the bucket behind Terraform's back.
func (w *driftWorld) edit(owner string) {
	w.Helper()
	if err := w.cloud.EditBucket("logs", func(b *toycloud.Bucket) { b.Tags["owner"] = owner }); err != nil {
		w.Fatal(err)
	}
}

func (w *driftWorld) behave(b toycloud.Behaviour) {
	w.Helper()
	if err := w.cloud.SetBehaviour(b); err != nil {
		w.Fatal(err)
	}
}

// updates is how often a kind was written to through the API.
func (w *driftWorld) updates(kind toycloud.Kind) int { return w.cloud.Counters().Kinds[kind].Updates }

// corrections are the decisions to correct, as the audit log has them.
func (w *driftWorld) corrections() string {
	w.Helper()
	return strings.Join(slices.DeleteFunc(w.decisions(), func(s string) bool { return !strings.HasPrefix(s, actionCorrect) }), ", ")
}

// later lets the first look after an apply be over, in which all that differs is noise.
func (w *driftWorld) later() {
	w.Helper()
	w.seen(Unchanged, SweepClean)
}

func TestDriftIsCorrected(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.later()
	w.edit("canary-you")
	_, found := w.seen(Unchanged, SweepClean)
	w.wants(found, "toy_bucket.logs outside + gone corrected")
	if got := w.updates(toycloud.Buckets); got != 1 {
		t.Errorf("the bucket was written to %d times, want once", got)
	}
	if got, want := w.corrections(), "correct true begun, correct true clean"; got != want {
		t.Errorf("decisions: got %q, want %q", got, want)
	}
	if strings.Contains(string(found[0].Detail), "canary") {
		t.Error("what was found stands in the row in clear")
	}
	d, err := openFinding(w.plans(), found[0])
	if err != nil || !slices.ContainsFunc(d.Attributes, func(a drift.Attribute) bool {
		return a.Path == "tags.owner" && strings.Contains(a.Before, "canary-you")
	}) {
		t.Errorf("what is told of it: %+v, %v", d, err)
	}
	var looks []Look
	w.tx(func(tx *sql.Tx) (err error) {
		looks, err = w.store.newestLooks(t.Context(), tx, w.hub.row().ID, "app", time.Time{}, 9)
		return err
	})
	if len(looks) != 2 || looks[0].Corrected != 1 || looks[0].State != SweepClean {
		t.Errorf("history: %+v", looks)
	}

	// A pause holds at once, and the clock may jump.
	w.edit("you")
	w.tx(func(tx *sql.Tx) error {
		return w.store.putPause(t.Context(), tx, Pause{Reason: "an incident", Actor: "ann", At: w.Now()})
	})
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_bucket.logs outside corrected")
	if d, err := openFinding(w.plans(), found[0]); err != nil || !strings.Contains(d.Reason, "an incident") {
		t.Errorf("the reason is %q, %v, want the pause's", d.Reason, err)
	}
	w.tx(func(tx *sql.Tx) error { _, err := w.store.endPause(t.Context(), tx, ""); return err })
	for _, hours := range []int{-24 * 400, 24 * 400} {
		w.job.Hours = hours
		w.start()
		w.edit("you")
		if _, found = w.seen(Unchanged, SweepClean); len(found) != 1 || found[0].GoneAt.IsZero() {
			t.Errorf("with the clock %d hours off: %s", hours, w.told(found))
		}
	}
}

// TestDriftIsFoughtOver has an autoscaler that takes each correction back.
func TestDriftIsFoughtOver(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftCluster)
	w.later()
	fight := func() {
		t.Helper()
		// It lets a while go by each time, or the correction would be known as noise at once.
		if err := w.cloud.EditCluster("main", func(c *toycloud.Cluster) { c.Size = 7 }); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		fight()
		_, found := w.seen(Unchanged, SweepClean)
		w.wants(found, "toy_cluster.main outside + gone corrected")
	}
	for range 2 {
		fight()
		_, found := w.seen(Drifted, SweepDrifted)
		w.wants(found, "toy_cluster.main outside stopped corrected")
		if d, err := openFinding(w.plans(), found[0]); err != nil || !strings.Contains(d.Reason, "waits for a person") || found[0].Corrections != 3 {
			t.Errorf("the reason is %q, %v, after %d corrections", d.Reason, err, found[0].Corrections)
		}
	}
	if got := w.updates(toycloud.Clusters); got != 3 {
		t.Errorf("the cluster was written to %d times, want 3", got)
	}
	if got, want := w.corrections(), strings.Repeat("correct true begun, correct true clean, ", 3)+"correct false drifted"; got != want {
		t.Errorf("decisions: got %q, want %q", got, want)
	}
	// It goes on waiting long after, until a person says otherwise.
	w.job.Hours = 24 * 30
	w.start()
	_, found := w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_cluster.main outside stopped corrected")
	w.tx(func(tx *sql.Tx) error {
		n, err := w.store.endFights(t.Context(), tx, w.hub.row().ID, "app", "")
		if n != 1 {
			t.Errorf("%d fights ended, want 1", n)
		}
		return err
	})
	w.seen(Unchanged, SweepClean)

	// One that answers at once is fought with as well: the look after the apply has seen the cluster as it was applied.
	w.behave(toycloud.Behaviour{Autoscalers: []toycloud.Autoscaler{{Size: 7}}})
	before := w.updates(toycloud.Clusters)
	if err := w.cloud.EditCluster("main", func(c *toycloud.Cluster) { c.Size = 7 }); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // with the one after the person's word, that is three
		_, found = w.seen(Drifted, SweepDrifted)
		w.wants(found, "toy_cluster.main outside + corrected")
		if d, err := openFinding(w.plans(), found[0]); err != nil || !strings.Contains(d.Reason, "there again at once") || found[0].Corrections != 5+i {
			t.Errorf("the reason is %q, %v, after %d corrections", d.Reason, err, found[0].Corrections)
		}
	}
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_cluster.main outside stopped corrected")
	if got := w.updates(toycloud.Clusters) - before; got != 2 {
		t.Errorf("the cluster was written to %d times, want twice", got)
	}
}

// TestDriftIsNotKnown has a cloud that does not answer: that is never taken for no drift.
func TestDriftIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.later()
	w.edit("you")
	refuse := func(fault toycloud.Fault, verb toycloud.Verb) {
		w.behave(toycloud.Behaviour{Rules: []toycloud.Rule{{Verb: verb, Kind: toycloud.Buckets, Fault: fault, Rate: 1, RetryAfter: time.Millisecond}}})
	}
	var wait time.Duration
	for i, broken := range []struct {
		as   func()
		says string // of the provider's message
	}{
		{func() { refuse(toycloud.FaultThrottle, toycloud.Read) }, "toy_bucket.logs"},
		{func() { refuse(toycloud.FaultHalf, toycloud.Read) }, "toy_bucket.logs"},
		{func() { w.behave(toycloud.Behaviour{}); w.credentials("canary-expired") }, "token is missing or wrong"},
	} {
		broken.as()
		s, found := w.seen(Failed, SweepUnknown)
		problem, err := openProblem(w.plans(), s)
		if err != nil || problem == "" || s.Failures != i+1 || s.CheckedAt.IsZero() {
			t.Errorf("after %d failures: %+v, %q, %v", i+1, s, problem, err)
		}
		if !strings.Contains(problem, broken.says) || strings.Contains(problem+string(s.Problem), "canary") {
			t.Errorf("the problem is %q, want %q in it and no secret", problem, broken.says)
		}
		if next := s.NextAt.Sub(w.Now()); next < wait {
			t.Errorf("after %d failures the next look is in %s, sooner than the %s before", i+1, next, wait)
		} else {
			wait = next
		}
		w.wants(found, "")
	}
	w.credentials(w.cloud.Token)

	// It is found, and its correction fails: that is told, too.
	refuse(toycloud.FaultError, toycloud.Update)
	_, found := w.seen(Partly, SweepDrifted)
	if len(found) != 1 || !found[0].CorrectedAt.IsZero() || !found[0].GoneAt.IsZero() {
		t.Errorf("a correction that failed left %s", w.told(found))
	}
	if got, want := w.corrections(), "correct true begun, correct false drifted"; got != want {
		t.Errorf("decisions: got %q, want %q", got, want)
	}
}

// TestDriftIsNoise has an API that answers in a form of its own: a plan right after the apply is not empty.
func TestDriftIsNoise(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, "")
	w.behave(toycloud.Behaviour{Normalise: true})
	config := strings.Replace(driftBucket, "versioning = true", `policy     = "{ \"z\": 1, \"a\": 2 }"`, 1)
	w.apply(config)
	for range 2 {
		_, found := w.seen(Unchanged, SweepClean)
		w.wants(found, "toy_bucket.logs perpetual noise")
	}
	w.edit("you")
	_, found := w.seen(Drifted, SweepDrifted)
	if got := w.told(found); strings.Contains(got, "corrected") || strings.Contains(got, "+") {
		t.Errorf("noise beside drift: %s", got)
	}
	w.edit("me")

	// One apply does not prove it: later it is told of, and left alone. Another apply does.
	w.job.Hours = 1
	w.start()
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found[:1], "toy_bucket.logs outside")
	if d, err := openFinding(w.plans(), found[0]); err != nil || !strings.Contains(d.Doubt, "right after the last apply already") {
		t.Errorf("the doubt is %q, %v", d.Doubt, err)
	}
	w.apply(config + "# again\n")
	for _, hours := range []int{1, 2} {
		w.job.Hours = hours
		w.start()
		_, found = w.seen(Unchanged, SweepClean)
		w.wants(found[:1], "toy_bucket.logs perpetual noise")
	}
	if got := w.updates(toycloud.Buckets); got != 1 || w.corrections() != "" {
		t.Errorf("the bucket was written to %d times (%s), want once, by the apply", got, w.corrections())
	}
}

// TestChangedRightAfterAnApply: somebody is quicker than the first look. That is taken for noise for a while only.
func TestChangedRightAfterAnApply(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.edit("you")
	_, found := w.seen(Unchanged, SweepClean)
	w.wants(found, "toy_bucket.logs perpetual noise")
	w.job.Hours = 1
	w.start()
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_bucket.logs outside")

	// Once it is away it was no noise, and is corrected when it comes again.
	w.edit("me")
	w.seen(Unchanged, SweepClean)
	w.edit("you")
	_, found = w.seen(Unchanged, SweepClean)
	w.wants(found, "toy_bucket.logs outside + gone corrected")
}

// TestGitFollowsReality: the configuration is brought to what is real, and there is nothing to apply. Then nothing differs.
func TestGitFollowsReality(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.later()
	w.edit("you")
	w.tip = w.commit(map[string]string{"app/main.tf": strings.Replace(driftBucket, `"me"`, `"you"`, 1)})
	w.applied = w.tip
	p := w.add(Operation{Kind: KindPlan, Change: 8, HeadCommit: w.tip, Commit: w.tip}, Run{Workspace: "app", Dir: "app"})[0]
	p, _ = w.work(p, Unchanged)
	w.work(w.merged(8, w.tip, p.Plan), Unchanged)
	_, found := w.seen(Unchanged, SweepClean)
	w.wants(found, "")
}

// TestDriftBesideGit: Git has moved on without an apply.
func TestDriftBesideGit(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.later()
	w.edit("you")
	w.tip = w.commit(map[string]string{"app/main.tf": strings.Replace(driftBucket, "versioning = true", "versioning = false", 1)})
	_, found := w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_bucket.logs unapplied, toy_bucket.logs outside + gone corrected")
	if buckets := w.cloud.Snapshot().Buckets; !buckets[0].Versioning || buckets[0].Tags["owner"] != "me" {
		t.Errorf("the bucket is %+v, want it as it was applied", buckets[0])
	}

	// The settings at the tip count, for files of before.
	w.tip = w.commit(map[string]string{"plumbline.yaml": strings.Replace(driftSettings, "resource: update", "resource: never", 1)})
	w.edit("you")
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found, "toy_bucket.logs unapplied, toy_bucket.logs outside corrected")

	// A tip that cannot be planned hides nothing.
	w.tip = w.commit(map[string]string{"app/main.tf": driftBucket + "resource \"toy_bucket\" \"x\" {\n}\n"})
	_, found = w.seen(Drifted, SweepDrifted)
	w.wants(found[1:], "toy_bucket.logs outside corrected")

	// And a workspace that goes is left.
	w.tip = w.commit(map[string]string{"app/main.tf": "", "app/gone.md": "x", "plumbline.yaml": strings.Replace(driftSettings, "dir: app", "dir: other", 1), "other/main.tf": driftHead})
	w.work(w.beginLook(), Removed)
	if s, _ := w.known(); s.Operation != "" {
		t.Errorf("a workspace that is gone is looked at by %q", s.Operation)
	}
}

// TestApplyGoesBeforeALook begins an apply while its workspace is looked at.
func TestApplyGoesBeforeALook(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	next := w.commit(map[string]string{"app/main.tf": strings.Replace(driftBucket, `"me"`, `"us"`, 1)})
	plan := w.planned(8, next)
	started, let := w.slowTerraform()
	r := w.beginLook()
	ended := make(chan error, 1)
	go func() { ended <- w.workAs(t.Context(), r.ID) }()
	appears(t, started)
	w.work(w.merged(8, next, plan.Plan), Applied)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	let()
	w.look(r, Queued)
	if buckets := w.cloud.Snapshot().Buckets; buckets[0].Tags["owner"] != "us" {
		t.Errorf("the bucket is %+v, want what was merged", buckets[0])
	}
	w.tip, w.applied = next, next
	w.seen(Unchanged, SweepClean)
}

// TestLookIsStopped stops a look in the middle: its workspace has gone.
func TestLookIsStopped(t *testing.T) {
	t.Parallel()
	w := newDriftWorld(t, driftBucket)
	w.edit("you")
	started, let := w.slowTerraform()
	r := w.beginLook()
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.workAs(ctx, r.ID) }()
	appears(t, started)
	cancel(errCancelled)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	let()
	w.look(r, Superseded)
	if got := w.updates(toycloud.Buckets); got != 0 {
		t.Errorf("the bucket was written to %d times", got)
	}
}

// lateTerraform waits for a while before it applies.
func (w *driftWorld) lateTerraform() (started string) {
	w.Helper()
	bin := w.TempDir()
	started = filepath.Join(bin, "started")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = apply ]; then touch %q; sleep 3; fi\nexec %q \"$@\"\n", started, parts.Terraform(w.T))
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o755); err != nil {
		w.Fatal(err)
	}
	w.job.Path = bin + string(os.PathListSeparator) + os.Getenv("PATH")
	w.start()
	return started
}

// TestKilledInACorrection kills the server while Terraform corrects: the correction goes on by itself, is made once, and is
// told of by the look that is begun again.
func TestKilledInACorrection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules []toycloud.Rule
		want  Status
		state SweepState
		found string
	}{
		"completes": {nil, Unchanged, SweepClean, "toy_bucket.logs outside + gone corrected"},
		"fails":     {[]toycloud.Rule{{Verb: toycloud.Update, Fault: toycloud.FaultError, Rate: 1}}, Drifted, SweepDrifted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDriftWorld(t, driftBucket)
			w.later()
			w.edit("you")
			w.behave(toycloud.Behaviour{Rules: c.rules})
			started := w.lateTerraform()
			r := w.beginLook()
			job := w.job
			job.Run = r.ID
			text, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			cmd := osexec.Command(os.Args[0], "-test.run=^TestDoomedRun$")
			cmd.Env = append(os.Environ(), "PLUMBLINE_TEST_DOOMED_RUN="+string(text))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			appears(t, started)
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()

			w.start()
			r, _ = w.look(r, Running)
			if r.Phase != PhaseApplying || !r.Writes || r.Plan == "" || r.Owner == w.process {
				t.Fatalf("left: got %+v, want one that corrects, of a dead process", r)
			}
			for range 600 {
				if err := w.recoverRun(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				w.tx(func(tx *sql.Tx) (err error) {
					r, _, err = w.store.run(t.Context(), tx, r.ID)
					return err
				})
				if r.Status != Running {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			w.behave(toycloud.Behaviour{})
			_, o := w.work(r, c.want)
			s, found := w.known()
			if s.State != c.state {
				t.Errorf("the workspace is %s, want %s; %v", s.State, c.state, o)
			}
			if c.found != "" {
				w.wants(found, c.found)
			} else if len(found) == 0 || strings.Contains(w.told(found), "corrected") {
				t.Errorf("the findings are %q, want one that is not corrected", w.told(found))
			}
			if got := w.updates(toycloud.Buckets); got > 1 {
				t.Errorf("the bucket was written to %d times, want at most once", got)
			}
			want := "correct true begun, correct true interrupted"
			if c.state == SweepClean {
				want += ", correct true clean"
			}
			if got := w.corrections(); got != want {
				t.Errorf("decisions: got %q, want %q", got, want)
			}
			var rows []CorrectionRow
			w.tx(func(tx *sql.Tx) (err error) {
				rows, err = w.store.correctionsOf(t.Context(), tx, w.hub.row().ID, "app", "")
				return err
			})
			if len(rows) != 1 {
				t.Errorf("corrections: %+v, want one", rows)
			}
		})
	}
}
