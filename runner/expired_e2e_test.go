//go:build e2e

package runner_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// TestTokenOfThePlanStoreEndsInAnApply: what Terraform has done is not lost when the store's credentials end while it works.
// The result says so, the plan and the traces stay, and whoever settles the apply once the store answers has its record.
func TestTokenOfThePlanStoreEndsInAnApply(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ended.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // who is answered earlier does not always hear it
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>`)
	}))
	t.Cleanup(front.Close)

	p := newPlace(t, map[string]string{"main.tf": data("a", "1")})
	p.Store = "s3://" + server.Bucket + "/live?endpoint=" + front.URL
	plan := p.plan(t, "7").Receipt
	r, set := p.open(t, "7", func(o *runner.Options) {
		o.Before = func(context.Context, *workspaces.Workspace, planstore.Plan) error {
			ended.Store(true)
			return nil
		}
	})
	res := r.ApplyChosen(t.Context(), workspace(t, set, ""), runner.Choice{PlanID: plan.ID})
	told := strings.Join(res.Notes, "\n")
	if res.Status != runner.Applied || !strings.Contains(told, "could not be recorded") || !strings.Contains(told, "expired") {
		t.Fatalf("an apply whose store refuses the record: %s, %v, %q", res.Status, res.Err, told)
	}
	if strings.Contains(told, server.SecretKey) || strings.Contains(told, server.AccessKey) {
		t.Errorf("a credential is told: %s", told)
	}

	ended.Store(false)
	if got := p.records(t, plan.Workspace, plan.ID); len(got) != 0 {
		t.Errorf("there is a record that could not be written: %+v", got)
	}
	if in := p.examine(t, "7", plan.ID); in.Fate != runner.Completed || in.Receipt.ID != plan.ID {
		t.Errorf("it is %s (%s), of the plan %q", in.Fate, in.Reason, in.Receipt.ID)
	}
	p.settle(t, "7", plan.ID, runner.Applied)
	if got := p.records(t, plan.Workspace, plan.ID); len(got) != 1 || got[0].Plan.ID != plan.ID || got[0].Partial || got[0].Serial == 0 {
		t.Errorf("the records are %+v", got)
	}
	if left := p.stored(t); left != "" {
		t.Errorf("applied plans are still stored: %s", left)
	}
	r, set = p.open(t, "8")
	if again := r.Plan(t.Context(), set.Workspaces)[0]; again.Err != nil || again.Status == runner.Planned {
		t.Errorf("a plan after it: %s, %v, want that nothing is left to do", again.Status, again.Err)
	}
}
