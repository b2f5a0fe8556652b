package planstore_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/planstore"
)

// Keys for tests. No real store uses them.
var (
	key1 = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	key2 = base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))
)

// TestStore walks through what users do, in a directory. TestStoreInS3 does it
// in S3.
func TestStore(t *testing.T) {
	walkStore(t, func(t *testing.T, _ int) string { return t.TempDir() })
}

// walkStore walks through what users do, each time in a location of its own.
func walkStore(t *testing.T, location func(t *testing.T, n int) string) {
	t.Helper()
	for n, walk := range []struct {
		name string
		run  func(t *testing.T, location string)
	}{
		{"a plan comes back as it went in", planComesBack},
		{"the newest plan counts", newestCounts},
		{"ids may be shortened", idsMayBeShortened},
		{"repositories do not see each other", repositoriesApart},
		{"it can be told whose plans there are", repositoriesAreTold},
		{"broken plans do not hide good ones", brokenDoNotHide},
		{"the last apply counts", lastApplyCounts},
		{"states are kept", statesAreKept},
		{"many write at once", manyWrite},
		{"what is foreign is left alone", foreignIsLeftAlone},
		{"everything is sealed anew", everythingSealedAnew},
	} {
		t.Run(walk.name, func(t *testing.T) {
			t.Parallel()
			walk.run(t, location(t, n))
		})
	}
}

func planComesBack(t *testing.T, location string) {
	s := open(t, planstore.Options{Location: location})
	want := planstore.Plan{
		Workspace: "network/prod@eu", Dir: "network/prod", TerraformWorkspace: "eu", Commit: "0123abcd", Dirty: true,
		InputsDigest: "inputs", Lineage: "lineage", Serial: 1<<63 + 7, Fingerprint: "print", Engine: "tofu",
		TerraformVersion: "1.12.6", Providers: map[string]string{"registry.terraform.io/hashicorp/local": "1.4.0"},
		FloatingModules: []string{"module.vpc"}, Counts: planstore.Counts{Create: 1, Outputs: 2},
		Targets: []string{"local_file.a"}, Purpose: planstore.PurposePlan,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
	}
	// Larger than the cipher's segments, and with nothing in them.
	for _, size := range []int{0, 1, 100_000} {
		file := bytes.Repeat([]byte("plan file\n\x00"), size/11+1)[:size]
		text := bytes.Repeat([]byte(`{"json":1}`), size/10+1)[:size]
		put, err := s.Put(t.Context(), want, bytes.NewReader(file), bytes.NewReader(text))
		if err != nil {
			t.Fatalf("put: %v", err)
		}
		want := want
		want.ID, want.Repository = put.ID, "repo"
		want.PlanBytes, want.JSONBytes = int64(size), int64(size)
		want.PlanSHA256, want.JSONSHA256 = sum(file), sum(text)
		if diff := cmp.Diff(want, put); diff != "" {
			t.Errorf("put returns (-want +got):\n%s", diff)
		}
		got, err := s.Get(t.Context(), put.ID)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("get returns %v (-want +got):\n%s", err, diff)
		}
		gotText, err := s.JSON(t.Context(), put.ID)
		if !bytes.Equal(gotText, text) || err != nil {
			t.Errorf("got %d bytes of JSON, %v; want the %d that were put", len(gotText), err, size)
		}
		path := filepath.Join(t.TempDir(), "plan")
		if err := s.WritePlanFile(t.Context(), put.ID, path); err != nil {
			t.Errorf("write the plan file: %v", err)
		}
		gotFile, err := os.ReadFile(path)
		if !bytes.Equal(gotFile, file) || err != nil {
			t.Errorf("got a plan file of %d bytes, %v; want the %d that were put", len(gotFile), err, size)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the plan file has mode %v, %v; want 0600", info.Mode(), err)
		}
		if err := s.Verify(t.Context(), put.ID); err != nil {
			t.Errorf("verify: %v", err)
		}
		if err := s.Delete(t.Context(), put.ID); err != nil {
			t.Errorf("delete: %v", err)
		}
		if _, err := s.Get(t.Context(), put.ID); !errors.Is(err, planstore.ErrNotFound) {
			t.Errorf("get after delete says %v, want ErrNotFound", err)
		}
	}
}

func newestCounts(t *testing.T, location string) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := open(t, planstore.Options{Location: location, Now: func() time.Time { return now }})
	if _, err := s.Latest(t.Context(), "a"); !errors.Is(err, planstore.ErrNotFound) || !strings.Contains(err.Error(), `workspace "a"`) {
		t.Errorf("latest of nothing says %v, want ErrNotFound and the workspace", err)
	}
	// All at one instant of a clock: the order in which they were put decides.
	var ids []string
	for i := range 5 {
		ids = append(ids, put(t, s, planstore.Plan{Workspace: "a", Serial: uint64(i)}).ID)
	}
	put(t, s, planstore.Plan{Workspace: "b"})
	put(t, s, planstore.Plan{Workspace: "a", Purpose: planstore.PurposeCorrection})
	got, err := s.Latest(t.Context(), "a")
	if err != nil || got.ID != ids[4] || got.Serial != 4 || !got.CreatedAt.Equal(now) {
		t.Errorf("latest is %+v, %v; want %s", got, err, ids[4])
	}
	plans, err := s.List(t.Context())
	if err != nil || len(plans) != 7 {
		t.Fatalf("list: %d plans, %v; want 7", len(plans), err)
	}
	for i := range plans[1:] {
		if plans[i].ID <= plans[i+1].ID {
			t.Errorf("list is not newest first: %s before %s", plans[i].ID, plans[i+1].ID)
		}
	}
}

func idsMayBeShortened(t *testing.T, location string) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := open(t, planstore.Options{Location: location, Now: func() time.Time { return now }})
	first := put(t, s, planstore.Plan{Workspace: "a"})
	now = now.Add(24 * time.Hour)
	second := put(t, s, planstore.Plan{Workspace: "b"})
	for _, c := range []struct{ id, want, err string }{
		{first.ID, first.ID, ""},
		{"20260102", first.ID, ""},
		{"20260103-", second.ID, ""},
		{"2026", "", "2 ids begin so (" + first.ID + ", " + second.ID},
		{"2027", "", "not found in " + s.Location()},
		{"", "", "the id is empty"},
		{"../" + first.ID, "", "not found"},
	} {
		got, err := s.Get(t.Context(), c.id)
		if got.ID != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("get %q: %q, %v; want %q, %q", c.id, got.ID, err, c.want, c.err)
		}
	}
}

func repositoriesApart(t *testing.T, location string) {
	one := open(t, planstore.Options{Location: location, Repository: "example.com/one"})
	two := open(t, planstore.Options{Location: location, Repository: "example.com/two"})
	p := put(t, one, planstore.Plan{Workspace: "a"})
	if _, err := two.Get(t.Context(), p.ID); !errors.Is(err, planstore.ErrNotFound) {
		t.Errorf("another repository's plan: %v, want ErrNotFound", err)
	}
	if plans, err := two.List(t.Context()); err != nil || len(plans) != 0 {
		t.Errorf("the other repository lists %v, %v; want nothing", plans, err)
	}
	_, err := two.Put(t.Context(), p, strings.NewReader(""), strings.NewReader(""))
	if err == nil || !strings.Contains(err.Error(), `of repository "example.com/one"`) {
		t.Errorf("put of another repository's receipt says %v", err)
	}
	if err := two.PutApplied(t.Context(), planstore.Applied{Plan: p}); err == nil {
		t.Errorf("another repository's apply was recorded")
	}
}

func repositoriesAreTold(t *testing.T, location string) {
	if all, err := planstore.Repositories(t.Context(), location); err != nil || len(all) != 0 {
		t.Errorf("in an empty location there are plans of %q, %v", all, err)
	}
	for _, name := range []string{"github/acme/live", "GitHub/ACME/live", "gitea/acme/live"} {
		s := open(t, planstore.Options{Location: location, Repository: name})
		for range 2 {
			put(t, s, planstore.Plan{Workspace: "a"})
		}
	}
	if err := open(t, planstore.Options{Location: location, Repository: "only/applied", Key: key2}).PutApplied(t.Context(), planstore.Applied{Plan: planstore.Plan{Workspace: "a"}}); err != nil {
		t.Fatal(err)
	}
	// Another store within: its plans are not this one's.
	path, query, _ := strings.Cut(location, "?")
	within := path + "/team?" + query
	if query == "" {
		within = path + "/team"
	}
	put(t, open(t, planstore.Options{Location: within, Repository: "theirs"}), planstore.Plan{Workspace: "a"})
	all, err := planstore.Repositories(t.Context(), location)
	if got := strings.Join(all, " "); err != nil || got != "GitHub/ACME/live gitea/acme/live github/acme/live only/applied" {
		t.Errorf("there are plans of %s, %v", got, err)
	}
	if all, err := planstore.Repositories(t.Context(), within); err != nil || len(all) != 1 || all[0] != "theirs" {
		t.Errorf("within there are plans of %q, %v", all, err)
	}
}

func brokenDoNotHide(t *testing.T, location string) {
	s := open(t, planstore.Options{Location: location, Key: key1})
	good := put(t, s, planstore.Plan{Workspace: "a"})
	bad := put(t, open(t, planstore.Options{Location: location, Key: key2}), planstore.Plan{Workspace: "a"})

	plans, err := s.List(t.Context())
	var broken *planstore.BrokenError
	if !errors.As(err, &broken) || broken.ID != bad.ID || broken.Reason != planstore.OtherKey {
		t.Errorf("list says %v, want that %s has another key", err, bad.ID)
	}
	if len(plans) != 1 || plans[0].ID != good.ID {
		t.Errorf("list returns %v, want the plan that can be read", plans)
	}
	if got, err := s.Latest(t.Context(), "a"); !errors.As(err, &broken) {
		t.Errorf("latest passes off %s, %v, though the newest plan cannot be read", got.ID, err)
	}
	options := planstore.PruneOptions{OlderThan: time.Hour}
	if gone, err := s.Prune(t.Context(), options); !errors.As(err, &broken) || len(gone) != 0 {
		t.Errorf("prune removes %v, %v; want nothing, and the broken plan reported", gone, err)
	}
	options.Broken = true
	if gone, err := s.Prune(t.Context(), options); err != nil || len(gone) != 1 || gone[0].ID != bad.ID {
		t.Errorf("prune of the broken removes %v, %v; want %s", gone, err, bad.ID)
	}
	if got, err := s.Latest(t.Context(), "a"); err != nil || got.ID != good.ID {
		t.Errorf("latest is now %s, %v; want %s", got.ID, err, good.ID)
	}
}

func lastApplyCounts(t *testing.T, location string) {
	s := open(t, planstore.Options{Location: location})
	if _, err := s.LastApplied(t.Context(), "a"); !errors.Is(err, planstore.ErrNotFound) {
		t.Errorf("the last of no applies: %v, want ErrNotFound", err)
	}
	want := planstore.Applied{
		Plan:      put(t, s, planstore.Plan{Workspace: "a"}),
		AppliedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Lineage:   "lineage", Serial: 8, Perpetual: []string{"x"}, Partial: true, Error: "stopped",
	}
	for _, a := range []planstore.Applied{{Plan: want.Plan}, want, {Plan: planstore.Plan{Workspace: "b"}}} {
		if err := s.PutApplied(t.Context(), a); err != nil {
			t.Fatalf("put the record of an apply: %v", err)
		}
	}
	got, err := s.LastApplied(t.Context(), "a")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("the last apply: %v (-want +got):\n%s", err, diff)
	}
	if got, err := s.LastApplied(t.Context(), "b"); err != nil || got.AppliedAt.IsZero() || got.Plan.Repository != "repo" {
		t.Errorf("the last apply of b is %+v, %v; want it completed", got, err)
	}
}

// Two stores with keys of their own share a prefix, and somebody else's object lies there, too: nobody takes away or passes
// off what is another's.
func foreignIsLeftAlone(t *testing.T, location string) {
	one := open(t, planstore.Options{Location: location, Key: key1})
	two := open(t, planstore.Options{Location: location, Key: key2})
	apart := open(t, planstore.Options{Location: location, Key: key2, Repository: "apart"})
	mine, theirs := put(t, one, planstore.Plan{Workspace: "a"}), put(t, two, planstore.Plan{Workspace: "b"})
	put(t, apart, planstore.Plan{Workspace: "a"})
	for _, c := range []struct {
		store        *planstore.Store
		sees, others planstore.Plan
	}{{one, mine, theirs}, {two, theirs, mine}} {
		v, err := c.store.VerifyAll(t.Context())
		if len(v.Plans) != 1 || v.Plans[0] != c.sees.ID || !is(err, planstore.OtherKey) || !strings.Contains(err.Error(), c.others.ID) {
			t.Errorf("verify finds %+v, %v; want its own plan, and the other named", v, err)
		}
		if gone, err := c.store.Prune(t.Context(), planstore.PruneOptions{OlderThan: 1, Newest: true, DryRun: true}); len(gone) != 1 || gone[0].ID != c.sees.ID || !is(err, planstore.OtherKey) {
			t.Errorf("prune would take %v, %v; want its own alone", gone, err)
		}
		if did, err := c.store.Rekey(t.Context(), false); did.Rewritten != 0 || !is(err, planstore.OtherKey) {
			t.Errorf("rekey says %+v, %v", did, err)
		}
	}
	if v, err := apart.VerifyAll(t.Context()); err != nil || len(v.Plans) != 1 {
		t.Errorf("another repository's store finds %+v, %v; want its plan alone", v, err)
	}
}

func everythingSealedAnew(t *testing.T, location string) {
	p, state := putAll(t, open(t, planstore.Options{Location: location, Key: key1}))
	s := open(t, planstore.Options{Location: location, Key: key2 + "," + key1})
	whole(t, s, p, state) // what it remembers of objects must not be what they were
	if did, err := s.Rekey(t.Context(), false); err != nil || did.Rewritten != 3 {
		t.Errorf("rekey says %+v, %v; want three rewritten", did, err)
	}
	whole(t, s, p, state)
	whole(t, open(t, planstore.Options{Location: location, Key: key2}), p, state)
}

func statesAreKept(t *testing.T, location string) {
	s := open(t, planstore.Options{Location: location})
	want := bytes.Repeat([]byte(`{"version":4}`), 10_000)
	place, err := s.KeepState(t.Context(), "a", bytes.NewReader(want))
	if err != nil {
		t.Fatalf("keep: %v", err)
	}
	if _, err := s.Prune(t.Context(), planstore.PruneOptions{OlderThan: 1, Newest: true, Broken: true}); err != nil {
		t.Errorf("prune: %v", err)
	}
	states, err := s.States(t.Context())
	if err != nil || len(states) != 1 {
		t.Fatalf("states: %v, %v; want one", states, err)
	}
	if got := states[0]; got.Place != place || got.Workspace != "a" || got.Bytes != int64(len(want)) || got.SHA256 != sum(want) || got.KeptAt.IsZero() {
		t.Errorf("the kept state is %+v", got)
	}
	got, err := s.State(t.Context(), place[:8])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got a state of %d bytes, %v; want the %d kept", len(got), err, len(want))
	}
	if _, err := s.Get(t.Context(), place); !errors.Is(err, planstore.ErrNotFound) {
		t.Errorf("a kept state passes for a plan: %v", err)
	}
	if err := s.DeleteState(t.Context(), place); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.State(t.Context(), place); !errors.Is(err, planstore.ErrNotFound) {
		t.Errorf("a deleted state: %v, want ErrNotFound", err)
	}
}

func manyWrite(t *testing.T, location string) {
	var wg sync.WaitGroup
	for range 4 {
		s := open(t, planstore.Options{Location: location})
		for range 5 {
			wg.Go(func() {
				p, err := s.Put(t.Context(), planstore.Plan{Workspace: "a"}, strings.NewReader("file"), strings.NewReader("{}"))
				if err != nil {
					t.Errorf("put: %v", err)
				} else if err := s.Verify(t.Context(), p.ID); err != nil {
					t.Errorf("verify: %v", err)
				}
			})
		}
	}
	wg.Wait()
	plans, err := open(t, planstore.Options{Location: location}).List(t.Context())
	if err != nil || len(plans) != 20 {
		t.Errorf("list: %d plans, %v; want 20", len(plans), err)
	}
}

func TestPutThatCannotReadStoresNothing(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	unreadable := fs.ErrPermission
	for _, c := range []struct {
		plan planstore.Plan
		text string
		err  error
		want string
	}{
		{planstore.Plan{Workspace: "a"}, "", unreadable, "read the plan that is to be stored"},
		{planstore.Plan{}, "{}", nil, "names no workspace"},
	} {
		_, err := s.Put(t.Context(), c.plan, failing{c.err}, strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("put says %v, want %q", err, c.want)
		}
	}
	if plans, err := s.List(t.Context()); err != nil || len(plans) != 0 {
		t.Errorf("list: %v, %v; want nothing", plans, err)
	}
}

func TestWritePlanFileThatFailsLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	p := put(t, s, planstore.Plan{Workspace: "a"})
	damage(t, objects(t, dir)[0], func(data []byte) []byte { data[len(data)-1] ^= 1; return data })
	path := filepath.Join(t.TempDir(), "plan")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.WritePlanFile(t.Context(), p.ID, path); err == nil {
		t.Error("a damaged plan was written")
	}
	got, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(got) != 1 {
		t.Errorf("beside the file lie %v, %v; want nothing else", got, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "before" {
		t.Errorf("the file holds %q, %v; want what it held before", text, err)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	// Plans of workspace a on days 0 to 4, of b on day 0; a was applied on day 2, at noon; it is day 10.
	for _, c := range []struct {
		name    string
		options planstore.PruneOptions
		want    string
	}{
		{"older", planstore.PruneOptions{OlderThan: 7*day + time.Hour}, "a0 a1 a2"},
		{"older, never the newest", planstore.PruneOptions{OlderThan: day}, "a0 a1 a2 a3"},
		{"older, even the newest", planstore.PruneOptions{OlderThan: day, Newest: true}, "a0 b0 a1 a2 a3 a4"},
		{"older, but keep", planstore.PruneOptions{OlderThan: day, Keep: 3}, "a0 a1"},
		{"keep", planstore.PruneOptions{Keep: 2}, "a0 a1 a2"},
		{"keep more than there are", planstore.PruneOptions{Keep: 9}, ""},
		{"superseded", planstore.PruneOptions{Superseded: true}, "a0 a1 a2"},
		{"superseded or older", planstore.PruneOptions{Superseded: true, OlderThan: 6*day + time.Hour, Newest: true}, "a0 b0 a1 a2 a3"},
		{"broken alone", planstore.PruneOptions{Broken: true, Newest: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := start
			s := open(t, planstore.Options{Location: t.TempDir(), Now: func() time.Time { return now }})
			for i := range 5 {
				now = start.Add(time.Duration(i) * day)
				put(t, s, planstore.Plan{Workspace: "a", Dir: fmt.Sprintf("a%d", i)})
				if i == 0 {
					put(t, s, planstore.Plan{Workspace: "b", Dir: "b0"})
				}
				if i == 2 {
					now = now.Add(12 * time.Hour)
					if err := s.PutApplied(t.Context(), planstore.Applied{Plan: planstore.Plan{Workspace: "a"}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			now = start.Add(10 * day)
			dry := c.options
			dry.DryRun = true
			for _, options := range []planstore.PruneOptions{dry, c.options} {
				gone, err := s.Prune(t.Context(), options)
				if got := dirs(gone); err != nil || got != c.want {
					t.Errorf("%+v removes %q, %v; want %q", options, got, err, c.want)
				}
			}
			left, err := s.List(t.Context())
			if wantLeft := 6 - len(strings.Fields(c.want)); err != nil || len(left) != wantLeft {
				t.Errorf("%d plans are left, %v; want %d", len(left), err, wantLeft)
			}
			if _, err := s.LastApplied(t.Context(), "a"); err != nil {
				t.Errorf("the record of the last apply is gone: %v", err)
			}
		})
	}
	for _, options := range []planstore.PruneOptions{{}, {Newest: true}, {OlderThan: -1}, {Keep: -1}} {
		if _, err := open(t, planstore.Options{Location: t.TempDir()}).Prune(t.Context(), options); err == nil {
			t.Errorf("prune takes %+v", options)
		}
	}
}

func TestPruneDropsOldRecordsOfApplies(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, planstore.Options{Location: dir, Now: func() time.Time { return now }})
	for i := range 3 {
		if err := s.PutApplied(t.Context(), planstore.Applied{Plan: planstore.Plan{Workspace: "a"}, Serial: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	now = now.Add(10 * time.Hour)
	if _, err := s.Prune(t.Context(), planstore.PruneOptions{OlderThan: 12 * time.Hour}); err != nil {
		t.Fatalf("prune: %v", err)
	}
	if got := len(objects(t, dir)); got != 2 {
		t.Errorf("%d records are left, want the newest and the one that is not old", got)
	}
	if a, err := s.LastApplied(t.Context(), "a"); err != nil || a.Serial != 2 {
		t.Errorf("the last apply is %+v, %v; want serial 2", a, err)
	}
}
