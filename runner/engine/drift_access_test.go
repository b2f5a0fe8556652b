package engine

import (
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
