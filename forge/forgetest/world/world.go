// Package world is everything around a Plumbline server in a test: a forge with a repository and people, a toy cloud that
// counts what is done to it, a place for Terraform's states, and the environment in which Terraform finds all of that.
//
// The main type is World. A test makes one with New, starts a server of its own against it (an engine in its own process,
// or the real program), and then tells a story through Pull, which is a pull request in the hands of the people who work on
// it: open, push, say, merge, and await what Plumbline makes of it. What is awaited is what people see, comments and
// statuses, and what was really done, the cloud's counters. When something does not come in time the failure shows what
// there is instead.
//
// It knows nothing of the server: no rows, no clients, no configuration. Whoever starts one brings that.
package world

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/internal/parts"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// Forge is a forge as its users see it: forgetest's GitHub and Gitea.
type Forge interface {
	forgetest.Host
	AddRepo(t testing.TB, repo forge.Repo, private bool)
	Fork(t testing.TB, repo forge.Repo, user string) forge.Repo
	Retarget(t testing.TB, repo forge.Repo, user string, number int, base string)
	Merge(t testing.TB, repo forge.Repo, user string, number int, method forge.MergeMethod) string
	EditComment(t testing.TB, repo forge.Repo, user, id, body string)
	DeleteComment(t testing.TB, repo forge.Repo, user, id string)
	Thread(t testing.TB, repo forge.Repo, number int) []forge.Comment
	ReactionsTo(t testing.TB, repo forge.Repo, id string) []string
	SendWebhooksOf(t testing.TB, repo forge.Repo, address string)
}

// Alice may write to the repository, Mallory may only read it.
const (
	Alice   = "alice"
	Mallory = "mallory"
)

// Options say what is in a World. The zero value is the forge that stands in for GitHub, with the repository of Files.
type Options struct {
	// Forge is where the repository lives; nil for a new GitHub.
	Forge Forge
	// Repo is the repository's name; none for one that is made up.
	Repo forge.Repo
	// Files of the repository's first commit; nil for Files.
	Files map[string]string
	// Remote says which backend each workspace of Files has: (*States).Backend, (*States).Bucket, or something that chooses;
	// nil for none.
	Remote func(s *States, workspace string) string
	// Patience is how long an Await waits; 0 means two minutes, which only a failure takes.
	Patience time.Duration
}

// World is what a server under test lives in, for the duration of a test.
type World struct {
	Forge  Forge
	GitHub *forgetest.GitHub // Forge, if it is that
	Repo   forge.Repo
	Cloud  *toycloud.Server
	States *States
	// Environ is the environment for a server: where programs and the toy provider are, and the cloud's address.
	Environ []string

	patience time.Duration
}

// New makes a World. The test's own binary must be fit to be the toy provider: its TestMain calls IsProvider and then
// ServeProvider.
func New(t testing.TB, opts Options) *World {
	t.Helper()
	w := &World{Forge: opts.Forge, Repo: opts.Repo, States: startStates(t), patience: opts.Patience}
	if w.patience == 0 {
		w.patience = 4 * time.Minute
	}
	if w.Forge == nil {
		w.Forge = forgetest.StartGitHub(t)
	}
	w.GitHub, _ = w.Forge.(*forgetest.GitHub)
	cloud, err := toycloud.Serve(context.Background(), toycloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	w.Cloud = cloud

	if w.Repo == (forge.Repo{}) {
		w.Repo = w.Forge.NewRepo(t)
	} else {
		w.Forge.AddRepo(t, w.Repo, false)
	}
	w.Forge.Grant(t, w.Repo, Alice, forge.Write)
	files := opts.Files
	if files == nil {
		files = Files()
	}
	if opts.Remote != nil {
		for _, name := range []string{"a", "b", "c"} {
			files[name+"/main.tf"] = Bucket(opts.Remote(w.States, name), name, "1")
		}
	}
	w.Forge.Commit(t, w.Repo, "main", "", files)
	w.Environ = environ(t, cloud)
	return w
}

func environ(t testing.TB, cloud *toycloud.Server) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mirror, config := filepath.Join(dir, "providers"), filepath.Join(dir, "terraform.rc")
	if err := provider.Mirror(mirror, self); err != nil {
		t.Fatal(err)
	}
	text := "disable_checkpoint = true\n" + provider.CLIConfig(mirror)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"PATH=" + filepath.Dir(parts.Terraform(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + dir,
		"TMPDIR=" + os.TempDir(),
		"TF_CLI_CONFIG_FILE=" + config,
		"CHECKPOINT_DISABLE=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		provider.EndpointVariable + "=" + cloud.URL,
		provider.TokenVariable + "=" + cloud.Token,
	}
}

// IsProvider reports whether this process was started by Terraform as the toy provider.
func IsProvider() bool { return provider.IsProvider(os.Args[0]) }

// ServeProvider is what a test binary does that IsProvider. It returns the exit status.
func ServeProvider() int {
	err := provider.Serve(context.Background(), provider.Options{
		Endpoint: os.Getenv(provider.EndpointVariable), Token: os.Getenv(provider.TokenVariable),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Settings is a plumbline.yaml that lets Terraform reach the cloud, with more lines at the end.
func Settings(more ...string) string {
	return strings.Join(append([]string{`version: 1`, `defaults: { env: ["TOY_*"] }`}, more...), "\n") + "\n"
}

// Files are a repository of three workspaces without a backend: a, b that depends on a, and c. Each has one bucket of its
// own name, with the tag version = "1".
func Files() map[string]string {
	return map[string]string{
		"plumbline.yaml": Settings("workspaces:", "  - dir: a", "  - { dir: b, depends_on: [a] }", "  - dir: c"),
		"a/main.tf":      Bucket("", "a", "1"),
		"b/main.tf":      Bucket("", "b", "1"),
		"c/main.tf":      Bucket("", "c", "1"),
	}
}

// Bucket is the text of a workspace that has one bucket, whose tag has the version. The backend is a block such as
// States.Backend returns, or "" for none.
func Bucket(backend, name, version string) string {
	return fmt.Sprintf(`terraform {
  required_providers {
    toy = {
      source  = "plumbline-dev/toy"
      version = "~> 1.0"
    }
  }
%s}

resource "toy_bucket" "this" {
  name = %q
  tags = { version = %q }
}
`, backend, name, version)
}

// Versions returns the version of each bucket that exists, by name.
func (w *World) Versions() map[string]string {
	found := map[string]string{}
	for _, o := range w.Cloud.Snapshot().Buckets {
		found[o.Name] = o.Tags["version"]
	}
	return found
}

// Done returns how many buckets were created, updated and deleted since the start, by whoever did it through the API.
func (w *World) Done() (created, updated, deleted int) {
	n := w.Cloud.Counters().Kinds[toycloud.Buckets]
	return n.Creates, n.Updates, n.Deletes
}

// AwaitVersions waits until the buckets are as given, and no others exist.
func (w *World) AwaitVersions(t testing.TB, want map[string]string) {
	t.Helper()
	w.Await(t, fmt.Sprintf("buckets %v", want), func() bool { return maps.Equal(w.Versions(), want) }, func() string {
		return fmt.Sprintf("there are %v", w.Versions())
	})
}

// Await waits until something is so. When it does not come about, the test fails with what shows returns.
func (w *World) Await(t testing.TB, what string, so func() bool, shows func() string) {
	t.Helper()
	for deadline := time.Now().Add(w.patience); ; time.Sleep(50 * time.Millisecond) {
		if so() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s; %s", w.patience, what, shows())
		}
	}
}

// Push commits to a branch without a pull request.
func (w *World) Push(t testing.TB, branch string, files map[string]string) (commit string) {
	t.Helper()
	return w.Forge.Commit(t, w.Repo, branch, "", files)
}

// AwaitStatus waits for a verdict on a commit.
func (w *World) AwaitStatus(t testing.TB, commit, context string, want forge.StatusState) forge.Status {
	t.Helper()
	var got map[string]forge.Status
	w.Await(t, fmt.Sprintf("status %q of %.12s to be %s", context, commit, want), func() bool {
		got = w.Forge.Statuses(t, w.Repo, commit)
		return got[context].State == want
	}, func() string { return "there are:\n" + showStatuses(got) })
	return got[context]
}

func showStatuses(statuses map[string]forge.Status) string {
	var lines []string
	for _, context := range slices.Sorted(maps.Keys(statuses)) {
		s := statuses[context]
		lines = append(lines, fmt.Sprintf("  %s: %s: %s", context, s.State, s.Description))
	}
	return strings.Join(lines, "\n")
}
