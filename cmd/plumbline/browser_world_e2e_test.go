//go:build e2e

package main

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/browsertest"
	"github.com/plumbline-dev/plumbline/internal/oidctest"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/demo"
)

// busyServer is `plumbline serve` after a busy day, so that each page has something to show: two repositories, one of them with
// workspaces that are in sync, drifted, failed, paused and planned; a correction that was made, a command that was refused, a
// large plan, and a plan that is under way for as long as the cloud does not answer.
type busyServer struct {
	*world.World
	oidc    *oidctest.Provider
	desk    *http.Client // signed in as Ada
	url     string
	dir     string
	environ []string
	planned *world.Pull // open, with a large plan
	failed  *world.Pull // merged, and its apply has failed
	stuck   *world.Pull // open; its plan does not end

	requested string // address of the page of what somebody asked for and got
}

// registry is where the large plan is; its name is long on purpose.
const registry = "platform/eu-west-1/container-registry"

// Ada administers everything. Alice works on acme/live, and sees acme/edge. Mallory, who may only read acme/live on the forge, is
// its operator by server.yaml alone, and so sees it.
const ada = "ada"

// startBusyServer starts the server and plays the day. It takes most of a minute, so tests share it.
func startBusyServer(t *testing.T) *busyServer {
	t.Helper()
	s := &busyServer{dir: t.TempDir(), oidc: oidctest.Start(t), World: world.New(t, world.Options{
		Repo: forge.Repo{Owner: "acme", Name: "live"}, Files: map[string]string{"plumbline.yaml": world.Settings(), "README.md": "# live\n"}, Patience: 3 * time.Minute,
	})}
	edge := forge.Repo{Owner: "acme", Name: "edge"}
	s.GitHub.AddRepo(t, edge, false)
	s.GitHub.Commit(t, edge, "main", "", map[string]string{
		"plumbline.yaml": world.Settings(), "north/main.tf": world.Bucket("", "north", "1"), "south/main.tf": world.Bucket("", "south", "1"),
	})
	for _, repo := range []forge.Repo{s.Repo, edge} {
		s.Forge.Grant(t, repo, ada, forge.Admin)
		s.Forge.Grant(t, repo, world.Alice, forge.Write)
		s.Forge.Grant(t, repo, world.Mallory, forge.Read)
	}
	for _, who := range []string{ada, world.Alice, world.Mallory} {
		s.oidc.Person(who, map[string]any{"preferred_username": who, "login": who})
	}
	s.serve(t)
	s.desk = s.as(t, ada)

	first := s.Open(t, world.Alice, "first", s.base(t))
	first.AwaitStatus(t, "plumbline", forge.Success)
	first.Read()
	first.Merge(t, forge.Squash)
	s.AwaitStatus(t, first.Merged, "plumbline", forge.Success)

	s.failed = s.Open(t, world.Alice, "move-dns", map[string]string{"dns/main.tf": world.Bucket("", "dns", "2") + `
resource "toy_node" "resolver" {
  cluster = "a-cluster-that-nobody-made"
  name    = "resolver"
  size    = "small"
  image   = "debian"
}
`})
	s.failed.AwaitStatus(t, "plumbline", forge.Success)
	s.failed.Read()
	s.failed.Merge(t, forge.Squash)
	s.AwaitStatus(t, s.failed.Merged, "plumbline", forge.Failure)

	files := tree(t, demo.Change())
	files[registry+"/main.tf"] = buckets(5, 45, "2")
	s.planned = s.Open(t, world.Alice, "add-web-3", files)
	s.planned.AwaitStatus(t, "plumbline", forge.Success)
	s.planned.AwaitReaction(t, s.planned.Say(t, world.Mallory, "plumbline apply"), forge.Refused)

	if _, err := demo.Meddle(s.Cloud); err != nil {
		t.Fatal(err)
	}
	s.run(t, "drift", "--config", "server.yaml", "--repo", "acme/live", "network", "cluster", "storage")
	s.run(t, "drift", "pause", "--repo", "acme/live", "--reason", "the accounts are moved this week", registry)

	if err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: s.never()}); err != nil {
		t.Fatal(err)
	}
	s.stuck = s.Open(t, world.Alice, "widen-the-network", map[string]string{"network/main.tf": "resource \"toy_network\" \"main\" {\n  name = \"main\"\n  cidr = \"10.20.0.0/15\"\n}\n"})
	s.Await(t, "a plan that is under way", func() bool { return strings.Contains(s.get(t, "/queue"), ">1 running") }, func() string { return s.get(t, "/queue") })
	return s
}

// base is the demo's repository with two more workspaces.
func (s *busyServer) base(t *testing.T) map[string]string {
	files := tree(t, demo.Base())
	files["plumbline.yaml"] = world.Settings(
		"workspaces:",
		"  - dir: network",
		"  - { dir: cluster, depends_on: [network] }",
		"  - dir: storage",
		"  - { dir: dns, depends_on: [cluster] }",
		"  - { dir: "+registry+", depends_on: [network, storage] }",
		"classes: { toy_cluster: cluster, toy_node: node }",
	)
	files["plumbline.yaml"] = strings.Replace(files["plumbline.yaml"], `env: ["TOY_*"]`, `env: ["TOY_*"], drift: { every: 1d, correct: { cluster: never, node: create, resource: never } }`, 1)
	files["dns/main.tf"] = world.Bucket("", "dns", "1")
	files[registry+"/main.tf"] = buckets(0, 40, "1")
	return files
}

// buckets is a workspace of many, which differ in number and version.
func buckets(from, to int, version string) string {
	return fmt.Sprintf(`terraform {
  required_providers {
    toy = {
      source  = "plumbline-dev/toy"
      version = "~> 1.0"
    }
  }
}

resource "toy_bucket" "repository" {
  for_each   = toset([for n in range(%d, %d) : format("registry-%%02d", n)])
  name       = each.key
  versioning = true
  tags       = { component = "registry", version = %q }
  policy     = jsonencode({ read = ["everyone"], version = %q })
}
`, from, to, version, version)
}

func tree(t *testing.T, from fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// serve starts the server and has the forge tell it of everything.
func (s *busyServer) serve(t *testing.T) {
	t.Helper()
	address := freeAddress(t)
	s.url = "http://" + address
	config := `listen: ` + address + `
public_url: ` + s.url + `
data_dir: data
drift: { starts_per_minute: 600 }
sign_in:
  ways:
    - { name: Acme, issuer: "${OIDC_URL}", client_id: plumbline, client_secret: "${OIDC_SECRET}", accounts: { github: login } }
roles:
  - { role: admin, repos: ["*"], people: [ada] }
  - { role: operator, repos: [acme/live], people: [alice, mallory] }
  - { role: viewer, repos: [acme/edge], people: [alice] }
forges:
  - type: github
    url: ${FORGE_URL}
    token: ${FORGE_TOKEN}
    webhook_secret: ${FORGE_SECRET}
    repos: ["acme/*"]
    poll: off
`
	if err := os.WriteFile(filepath.Join(s.dir, "server.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.environ = append(slices.Clone(s.Environ), "FORGE_URL="+s.GitHub.URL, "FORGE_TOKEN="+s.GitHub.Token, "FORGE_SECRET="+s.GitHub.WebhookSecret,
		"OIDC_URL="+s.oidc.URL, "OIDC_SECRET="+s.oidc.ClientSecret)
	file, err := os.Create(filepath.Join(s.dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	log := &serverLog{file: file, listen: make(chan string, 1)}
	cmd := s.command(t, "serve", "--config", "server.yaml")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the reason is in the log
		close(ended)
	}()
	t.Cleanup(func() {
		s.GitHub.SendWebhooks("")
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Error("the server does not stop")
			<-ended
		}
		if t.Failed() {
			t.Logf("the server's log ends with\n%s", log.tail(40))
		}
		_ = file.Close()
	})
	select {
	case <-log.listen:
		s.GitHub.SendWebhooks(s.url + "/webhook/github")
	case <-ended:
		t.Fatalf("the server ended:\n%s", log.tail(40))
	case <-time.After(time.Minute):
		t.Fatalf("the server does not listen:\n%s", log.tail(40))
	}
}

func (s *busyServer) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("plumbline") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = s.dir, s.environ
	return cmd
}

// run runs a command of the program beside the server. It may find changes, but not fail.
func (s *busyServer) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := s.command(t, args...)
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != exitChanges {
		t.Fatalf("plumbline %q: %v\n%s", args, err, out)
	}
}

// as is somebody who has signed in, without a browser.
func (s *busyServer) as(t *testing.T, who string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	s.oidc.Silent(who)
	defer s.oidc.Silent("")
	resp, err := client.Get(s.url + "/sign-in/oidc")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(text), who+"</bdi>") {
		t.Fatalf("%s cannot sign in: %s, %v: %.800s", who, resp.Status, err, text)
	}
	return client
}

// signIn has somebody sign in and come to the page of workspaces.
func (s *busyServer) signIn(t *testing.T, tab *browsertest.Tab, who string) {
	t.Helper()
	tab.Allow(s.oidc.URL)
	tab.Go(s.url + "/sign-in")
	tab.Do("document.querySelector('.way').click()")
	tab.Await("the provider's page", "document.getElementById('"+who+"')")
	tab.Do("document.getElementById('" + who + "').click()")
	tab.AwaitAddress("/")
}

// get returns what an address answers to Ada.
func (s *busyServer) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := s.desk.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s, %v: %.500s", path, resp.Status, err, text)
	}
	return string(text)
}

// workspace is the address of a workspace's page.
func (s *busyServer) workspace(name string) string {
	return "/workspace?" + url.Values{"name": {name}, "repo": {"github/acme/live"}}.Encode()
}

var runLink = regexp.MustCompile(`<a href="(/run/[^"]+)" data-row>([a-z]+)</a>`)

// newest is the address of the page of a workspace's newest run of a kind.
func (s *busyServer) newest(t *testing.T, workspace, kind string) string {
	t.Helper()
	text := s.get(t, s.workspace(workspace))
	for _, found := range runLink.FindAllStringSubmatch(text, -1) {
		if found[2] == kind {
			return found[1]
		}
	}
	t.Fatalf("the page of %s has no run of the kind %s:\n%s", workspace, kind, text)
	return ""
}
