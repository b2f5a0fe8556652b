package planstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
)

// TestScopes puts plans of two changes and of the command line into one workspace: each finds and replaces its own only.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	cli := put(t, s, planstore.Plan{Workspace: "a", Dir: "cli"})
	seven := put(t, s, planstore.Plan{Workspace: "a", Dir: "seven-old", Change: "7"})
	put(t, s, planstore.Plan{Workspace: "a", Dir: "eight", Change: "8"})
	newer := put(t, s, planstore.Plan{Workspace: "a", Dir: "seven", Change: "7"})
	put(t, s, planstore.Plan{Workspace: "a", Dir: "proposed", Change: "7", Purpose: planstore.PurposeProposal})
	put(t, s, planstore.Plan{Workspace: "b", Dir: "other-workspace", Change: "7"})

	if got, err := s.Latest(t.Context(), "a"); err != nil || got.ID != cli.ID {
		t.Errorf("Latest: got %q, %v, want the command line's", got.Dir, err)
	}
	if got, err := s.LatestOf(t.Context(), "a", "7"); err != nil || got.ID != newer.ID {
		t.Errorf("LatestOf 7: got %q, %v, want seven, which is not the proposal", got.Dir, err)
	}
	if _, err := s.LatestOf(t.Context(), "a", "9"); !errors.Is(err, planstore.ErrNotFound) {
		t.Errorf("LatestOf 9: got %v, want not found", err)
	}
	list := func() string {
		t.Helper()
		plans, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return dirs(plans)
	}
	// What was reviewed before in the same change goes; other changes and newer plans stay.
	if err := s.DeleteThrough(t.Context(), seven); err != nil {
		t.Fatal(err)
	}
	if got, want := list(), "other-workspace proposed seven eight cli"; got != want {
		t.Errorf("after DeleteThrough: got %q, want %q", got, want)
	}
	if err := s.DeleteThrough(t.Context(), seven); err != nil {
		t.Errorf("DeleteThrough once more: %v", err)
	}
	if err := s.DeleteChange(t.Context(), "7"); err != nil {
		t.Fatal(err)
	}
	if got, want := list(), "eight cli"; got != want {
		t.Errorf("after DeleteChange: got %q, want %q", got, want)
	}
	if err := s.DeleteChange(t.Context(), ""); err == nil {
		t.Error("DeleteChange without a change is no error")
	}
}

// TestPruneKnowsScopes applies a plan of one change: that makes plans of this change superfluous, not those of another.
func TestPruneKnowsScopes(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	put(t, s, planstore.Plan{Workspace: "a", Dir: "seven", Change: "7"})
	put(t, s, planstore.Plan{Workspace: "a", Dir: "eight", Change: "8"})
	applied := put(t, s, planstore.Plan{Workspace: "a", Dir: "applied", Change: "8"})
	if err := s.PutApplied(t.Context(), planstore.Applied{Plan: applied}); err != nil {
		t.Fatal(err)
	}
	gone, err := s.Prune(t.Context(), planstore.PruneOptions{Superseded: true, Newest: true})
	if err != nil || dirs(gone) != "eight applied" {
		t.Errorf("got %q, %v, want eight and applied", dirs(gone), err)
	}
	since, err := s.AppliedSince(t.Context(), "a", applied.ID)
	if err != nil || len(since) != 1 || since[0].Plan.ID != applied.ID {
		t.Errorf("AppliedSince the plan that was applied: got %d records, %v, want the one", len(since), err)
	}
	later := put(t, s, planstore.Plan{Workspace: "a"})
	if since, err := s.AppliedSince(t.Context(), "a", later.ID); err != nil || len(since) != 0 {
		t.Errorf("AppliedSince a later plan: got %d records, %v, want none", len(since), err)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	location := t.TempDir()
	s := open(t, planstore.Options{Location: location})
	for _, data := range []string{"", "canary-5512", strings.Repeat("long ", 20_000)} {
		sealed, err := s.Seal("run 1", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if data != "" && strings.Contains(string(sealed), data) {
			t.Errorf("%.20q stands in clear in what was sealed", data)
		}
		if got, err := s.Unseal("run 1", sealed); err != nil || string(got) != data {
			t.Errorf("got %.20q, %v, want %.20q", got, err, data)
		}
		// Another store of the same repository, whose first key is a newer one.
		if got, err := open(t, planstore.Options{Location: location, Key: key2 + "," + key1}).Unseal("run 1", sealed); err != nil || string(got) != data {
			t.Errorf("after a new key: got %.20q, %v, want %.20q", got, err, data)
		}
		refused := func(what string, s *planstore.Store, context string, sealed []byte, reason planstore.Reason) {
			t.Helper()
			got, err := s.Unseal(context, sealed)
			var broken *planstore.BrokenError
			if !errors.As(err, &broken) || broken.Reason != reason || got != nil {
				t.Errorf("%s: got %.20q, %v, want nothing and %q", what, got, err, reason)
			}
			if strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("%s: the error shows the content: %v", what, err)
			}
		}
		refused("another context", s, "run 2", sealed, planstore.Tampered)
		refused("another repository", open(t, planstore.Options{Location: location, Repository: "other"}), "run 1", sealed, planstore.Tampered)
		refused("another key", open(t, planstore.Options{Location: location, Key: key2}), "run 1", sealed, planstore.OtherKey)
		refused("cut off", s, "run 1", sealed[:len(sealed)-1], planstore.Tampered)
		refused("something else", s, "run 1", []byte("something else"), planstore.Tampered)
		for i := range 200 {
			changed := []byte(string(sealed))
			changed[len(changed)*i/200] ^= 1
			if got, err := s.Unseal("run 1", changed); err == nil {
				t.Errorf("changed at byte %d of %d: got %.20q and no error", len(changed)*i/200, len(changed), got)
			}
		}
	}
}
