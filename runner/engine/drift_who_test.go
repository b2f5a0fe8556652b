package engine

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestWhoChangedIt: a look names who changed something outside, the issue and the page tell it, and what was found once stays
// known. The toy cloud stands for AWS, in CloudTrail as in Terraform.
func TestWhoChangedIt(t *testing.T) {
	t.Parallel()
	aws := awstest.New(t)
	aws.SetTrailLimit(1000)
	w := newDriftWorld(t, "")
	for name, value := range aws.Environ() {
		w.job.Environ = append(w.job.Environ, name+"="+value)
	}
	begin := func() {
		w.start()
		w.Trail = cloudtrail.New(cloudtrail.Options{
			Pause: time.Nanosecond, Rows: []cloudtrail.Row{{Type: "toy_bucket", Names: []string{"name"}, Service: "toy", Events: []string{"PutBucket*"}}},
		})
	}
	begin()
	w.apply(driftBucket)
	w.later()
	if n := len(aws.Calls()); n != 0 {
		t.Errorf("CloudTrail was asked %d times though nothing has drifted", n)
	}
	put := func(who, agent, key string) {
		aws.AddEvent(awstest.TrailEvent{
			At: time.Now(), Name: "PutBucketTagging", Service: "toy.amazonaws.com", Principal: "arn:aws:iam::111122223333:user/" + who, Address: "203.0.113.7",
			Agent: agent, AccessKey: key, Resources: []string{"logs"}, Request: map[string]any{"tagging": "canary-5512"},
		})
	}
	put("plumbline", "Terraform/1.13.0 plumbline/1", awstest.AccessKey)
	w.tx(func(tx *sql.Tx) error {
		return w.store.putPause(t.Context(), tx, Pause{Reason: "an incident", Actor: "ann", At: w.Now()})
	})
	named := func(found []FindingRow, want string) findingDetail {
		t.Helper()
		w.wants(found, strings.Split(want, " | ")[0])
		d, err := openFinding(w.plans(), found[0])
		if err != nil {
			t.Fatal(err)
		}
		var who []string
		for _, trace := range d.Who {
			who = append(who, trace.By+" "+trace.Event+" "+trace.Service+" "+trace.From)
		}
		if got := strings.Join(who, "; "); got != strings.Split(want, " | ")[1] {
			t.Errorf("it was changed by %q, want %q", got, want)
		}
		return d
	}
	// CloudTrail tells of an event minutes after it has happened.
	w.edit("you")
	_, found := w.seen(Drifted, SweepDrifted)
	first := named(found, "toy_bucket.logs outside | ")
	put("ann", "console.amazonaws.com", "AKIAANN")
	w.Trail = nil
	begin() // nothing is remembered any more
	_, found = w.seen(Drifted, SweepDrifted)
	const ann = "arn:aws:iam::111122223333:user/ann PutBucketTagging toy.amazonaws.com 203.0.113.7"
	second := named(found, "toy_bucket.logs outside | "+ann)
	if first.Absent.IsZero() || !second.Absent.Equal(first.Absent) {
		t.Errorf("it was not there at %s, and by the next look at %s", first.Absent, second.Absent)
	}
	s, err := w.readIssue(t.Context(), w.hub.row().ID, workspaceIssue+"app")
	if err != nil {
		t.Fatal(err)
	}
	body := prcomment.RenderIssue(s.issue, 0)
	if !strings.Contains(body, "- Changed by `arn:aws:iam::111122223333:user/ann` at 20") || strings.Contains(body, "canary-5512") {
		t.Errorf("the issue says:\n%s", body)
	}
	if strings.Contains(string(found[0].Detail), "ann") {
		t.Error("who changed it stands in the row in clear")
	}
	views := NewViews(ViewsOptions{DB: w.DB, Audit: w.Audit, Plans: w.Plans, Now: w.Now})
	page, err := views.Workspace(t.Context(), Everything(), w.hub.row().ID, "app", "")
	if err != nil || len(page.Findings) != 1 || len(page.Findings[0].Who) != 1 || page.Findings[0].Address != "toy_bucket.logs" || page.State != StateDrifted {
		t.Errorf("the page tells %+v, %v", page.Findings, err)
	}

	// It forgets, or does not want to say any more.
	aws.Deny("LookupEvents", true)
	begin()
	_, found = w.seen(Drifted, SweepDrifted)
	named(found, "toy_bucket.logs outside | "+ann)

	// What is corrected is told with who made it necessary.
	aws.Deny("LookupEvents", false)
	w.tx(func(tx *sql.Tx) error { _, err := w.store.endPause(t.Context(), tx, ""); return err })
	begin()
	_, found = w.seen(Unchanged, SweepClean)
	named(found, "toy_bucket.logs outside + gone corrected | "+ann)
}
