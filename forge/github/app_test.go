package github_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
)

func app(t *testing.T) (*forgetest.GitHub, *github.Client) {
	t.Helper()
	g := forgetest.StartGitHub(t)
	return g, newClient(t, github.Options{URL: g.URL, App: &github.App{ID: forgetest.AppID, PrivateKey: g.AppKey}, WebhookSecret: g.WebhookSecret})
}

func TestAppServesSeveralOwners(t *testing.T) {
	t.Parallel()
	g, client := app(t)
	one, two := forge.Repo{Owner: "acme", Name: "live"}, forge.Repo{Owner: "umbrella", Name: "live"}
	g.AddRepo(t, one, true)
	g.AddRepo(t, two, true)
	repos, err := client.Repos(t.Context())
	if err != nil || !slices.Equal(repos, []forge.Repo{one, two}) {
		t.Errorf("Repos = %v, %v, want both owners'", repos, err)
	}
	for _, repo := range []forge.Repo{one, two, {Owner: "ACME", Name: "Live"}} {
		if _, err := client.Branch(t.Context(), repo, "main"); err != nil {
			t.Errorf("Branch of %s: %v", repo, err)
		}
	}
	if _, err := client.Branch(t.Context(), forge.Repo{Owner: "stranger", Name: "live"}, "main"); !errors.Is(err, forge.ErrNotFound) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("Branch where the App is not installed: %v, want ErrNotFound that says so", err)
	}
}

func TestAppWritesCheckRunsWhereItMay(t *testing.T) {
	t.Parallel()
	g, client := app(t)
	repo := g.NewRepo(t)
	commit := g.Commit(t, repo, "main", "", map[string]string{"a.tf": "# a"})
	set := func(state forge.StatusState) forge.Status {
		t.Helper()
		if err := client.SetStatus(t.Context(), repo, commit, forge.Status{Context: "plumbline", State: state, Description: string(state), Summary: "**details**"}); err != nil {
			t.Fatal(err)
		}
		return g.Statuses(t, repo, commit)["plumbline"]
	}
	set(forge.Pending)
	if got := set(forge.Error); got.State != forge.Failure || got.Summary != "**details**" {
		t.Errorf("check run = %+v, want failure, with the summary", got)
	}
	if n := g.CheckRuns(t, repo, commit); n != 1 {
		t.Errorf("%d check runs after pending and a result, want the same one", n)
	}
	set(forge.Pending)
	if got := set(forge.Success); got.State != forge.Success || g.CheckRuns(t, repo, commit) != 2 {
		t.Errorf("planned again: %+v in %d check runs, want success in a second one", got, g.CheckRuns(t, repo, commit))
	}

	g.SetAppPermission("checks", "")
	g.Reinstall(repo.Owner)
	client = newClient(t, github.Options{URL: g.URL, App: &github.App{ID: forgetest.AppID, PrivateKey: g.AppKey}})
	if err := client.SetStatus(t.Context(), repo, commit, forge.Status{Context: "plain", State: forge.Failure, Summary: "**details**"}); err != nil {
		t.Fatal(err)
	}
	if got := g.Statuses(t, repo, commit)["plain"]; got.State != forge.Failure || got.Summary != "" {
		t.Errorf("without the permission: %+v, want a commit status, which has no summary", got)
	}
	if n := g.CheckRuns(t, repo, commit); n != 2 {
		t.Errorf("%d check runs, want no other without the permission", n)
	}
}

func TestAppLacksAPermission(t *testing.T) {
	t.Parallel()
	g, client := app(t)
	g.SetAppPermission("administration", "")
	g.SetAppPermission("contents", "read")
	repo := g.NewRepo(t)
	if _, err := client.Protection(t.Context(), repo, "main"); err != nil {
		t.Errorf("Protection of an unprotected branch: %v", err)
	}
	g.ProtectByRules(t, repo, "main", forge.Protection{Approvals: 1, Checks: []string{"lint"}})
	got, err := client.Protection(t.Context(), repo, "main")
	if err != nil || got.Approvals != 1 || !slices.Equal(got.Checks, []string{"lint"}) {
		t.Errorf("Protection by a ruleset = %+v, %v, want one approval and lint", got, err)
	}
	g.Protect(t, repo, "main", forge.Protection{Approvals: 2})
	var refused *forge.NotAllowedError
	if got, err := client.Protection(t.Context(), repo, "main"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "Administration: read") {
		t.Errorf("Protection that cannot be seen = %+v, %v, want a NotAllowedError that says what to grant", got, err)
	}
	if _, err := client.PushCredential(t.Context(), repo); !errors.As(err, &refused) || !strings.Contains(err.Error(), "Contents: write") {
		t.Errorf("PushCredential without the permission: %v, want a NotAllowedError that says what to grant", err)
	}
	if _, err := client.Credential(t.Context(), repo); err != nil {
		t.Errorf("Credential to read: %v", err)
	}
	g.SetAppPermission("administration", "read")
	g.Reinstall(repo.Owner)
	client = newClient(t, github.Options{URL: g.URL, App: &github.App{ID: forgetest.AppID, PrivateKey: g.AppKey}})
	if got, err := client.Protection(t.Context(), repo, "main"); err != nil || got.Approvals != 2 {
		t.Errorf("Protection in both ways = %+v, %v, want the stricter: two approvals", got, err)
	}

	g.Commit(t, repo, "feature", "main", map[string]string{"a.tf": "# a"})
	c, err := client.Change(t.Context(), repo, g.Open(t, repo, "alice", "feature", "main", "Add a", false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Merge(t.Context(), c, forge.Squash); !errors.As(err, &refused) || refused.Fix == "" {
		t.Errorf("Merge without the permission: %v, want a NotAllowedError that says what to do", err)
	}
}

func TestAppIsInstalledAgain(t *testing.T) {
	t.Parallel()
	g, client := app(t)
	repo := g.NewRepo(t)
	if _, err := client.Branch(t.Context(), repo, "main"); err != nil {
		t.Fatal(err)
	}
	g.Reinstall(repo.Owner)
	// The first call may find out the hard way.
	_, _ = client.Branch(t.Context(), repo, "main")
	if _, err := client.Branch(t.Context(), repo, "main"); err != nil {
		t.Errorf("after the App was installed again: %v", err)
	}
}

func TestGitTokenReadsOneRepository(t *testing.T) {
	t.Parallel()
	g, client := app(t)
	repo, other := forge.Repo{Owner: "acme", Name: "live"}, forge.Repo{Owner: "acme", Name: "secret"}
	g.AddRepo(t, repo, true)
	g.AddRepo(t, other, true)
	cred, err := client.Credential(t.Context(), repo)
	if err != nil || cred.Expires.IsZero() {
		t.Fatalf("Credential = %+v, %v, want one that expires", cred, err)
	}
	remote := func(r forge.Repo) string {
		return strings.Replace(g.URL, "://", "://"+cred.Username+":"+cred.Password+"@", 1) + "/" + r.String() + ".git"
	}
	for r, want := range map[forge.Repo]bool{repo: true, other: false} {
		if err := exec.CommandContext(t.Context(), "git", "ls-remote", remote(r)).Run(); (err == nil) != want {
			t.Errorf("git ls-remote of %s with a token for %s: %v", r, repo, err)
		}
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q"}, {"fetch", "-q", remote(repo), "main"}} {
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v %s", args[0], err, out)
		}
	}
	if err := exec.CommandContext(t.Context(), "git", "-C", dir, "push", "-q", remote(repo), "FETCH_HEAD:refs/heads/new").Run(); err == nil {
		t.Error("a token to clone with can push")
	}
}

// TestCheckRunHidesNoStatus has a check run and a commit status of one name. Where that is required it takes both, so neither
// stands for the other.
func TestCheckRunHidesNoStatus(t *testing.T) {
	t.Parallel()
	g, asApp := app(t)
	repo := g.NewRepo(t)
	withToken := newClient(t, github.Options{URL: g.URL, Token: g.Token})
	for _, c := range []struct{ status, run, want forge.StatusState }{
		{forge.Failure, forge.Success, forge.Failure},
		{forge.Pending, forge.Success, forge.Pending},
		{forge.Success, forge.Failure, forge.Failure},
		{forge.Success, forge.Pending, forge.Pending},
		{forge.Success, forge.Success, forge.Success},
	} {
		commit := g.Commit(t, repo, "main", "", map[string]string{"a.tf": "# " + string(c.status+c.run)})
		for client, state := range map[*github.Client]forge.StatusState{withToken: c.status, asApp: c.run} {
			if err := client.SetStatus(t.Context(), repo, commit, forge.Status{Context: "ci", State: state}); err != nil {
				t.Fatal(err)
			}
		}
		verdicts, err := asApp.Verdicts(t.Context(), repo, commit)
		if err != nil || verdicts["ci"] != c.want {
			t.Errorf("a status that is %s and a check run that is %s: got %q, %v, want %s", c.status, c.run, verdicts["ci"], err, c.want)
		}
	}
}
