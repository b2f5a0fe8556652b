package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/plumbline-dev/plumbline/internal/notify"
	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/signin"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// canary stands for every secret in the cases below; no message may hold it.
const canary = "canary-secret"

// serverEnviron is the environment of the cases.
func serverEnviron(name string) (string, bool) {
	value, ok := map[string]string{
		"GITHUB_WEBHOOK_SECRET": canary, "GITEA_WEBHOOK_SECRET": canary, "GITEA_TOKEN": canary, "PASSWORD": canary, "OIDC_CLIENT_SECRET": canary, "GITHUB_CLIENT_SECRET": canary,
		"SLACK_URL": "generic+https://hooks.example.com/" + canary, "MAIL_URL": "smtp://mail.example.com:587/?from=a@example.com&to=b@example.com",
		"EMPTY": "", "TWO_LINES": canary + "\n" + canary,
	}[name]
	return value, ok
}

// writeKeys writes a private key, and the same where others may read it.
func writeKeys(t testing.TB, dir string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, mode := range map[string]os.FileMode{"app.pem": 0o600, "open.pem": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), text, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServerConfigFindsEveryMistake reads each case of testdata/server: a
// server.yaml and every problem that is found in it.
//
//	UPDATE_SCRIPTS=1 go test ./cmd/plumbline -run TestServerConfigFinds
func TestServerConfigFindsEveryMistake(t *testing.T) {
	paths, err := filepath.Glob("testdata/server/*.txtar")
	if err != nil || len(paths) < 5 {
		t.Fatalf("the cases: %q, %v", paths, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			writeKeys(t, dir)
			mode := os.FileMode(0o600)
			if text, ok := strings.CutPrefix(strings.TrimSpace(string(archive.Comment)), "mode: "); ok {
				bits, err := strconv.ParseUint(text, 8, 32)
				if err != nil {
					t.Fatal(err)
				}
				mode = os.FileMode(bits)
			}
			file := filepath.Join(dir, "server.yaml")
			if err := os.WriteFile(file, archive.Files[0].Data, mode); err != nil {
				t.Fatal(err)
			}
			_, warnings, err := readServerConfig(configSource{file: file, getenv: serverEnviron})
			var got strings.Builder
			for _, p := range workspaces.Problems(err) {
				got.WriteString(p.Error() + "\n")
			}
			for _, p := range warnings {
				got.WriteString("warning: " + p.Error() + "\n")
			}
			text := strings.ReplaceAll(got.String(), dir+"/", "")
			if strings.Contains(text, canary) || strings.Contains(text, "hunter2") {
				t.Errorf("a message holds a secret:\n%s", text)
			}
			if strings.HasPrefix(name, "good-") != (text == "") {
				t.Errorf("problems of %s:\n%s", name, text)
			}
			if os.Getenv("UPDATE_SCRIPTS") != "" {
				archive.Files[1].Data = []byte(text)
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), text); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// readCase reads the server.yaml of a case, with what flags and variables say.
func readCase(t *testing.T, name string, over map[string]setting) (*serverConfig, string) {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata/server", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeKeys(t, dir)
	file := filepath.Join(dir, "server.yaml")
	if err := os.WriteFile(file, archive.Files[0].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := readServerConfig(configSource{file: file, getenv: serverEnviron, over: over})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("read %s: %v, %v", name, err, warnings)
	}
	return c, dir
}

var compareConfigs = cmp.Options{cmp.AllowUnexported(serverConfig{}, forgeConfig{}, signInConfig{}), cmp.FilterPath(func(p cmp.Path) bool {
	return p.Last().String() == ".place" || p.Last().String() == ".privateKey"
}, cmp.Ignore())}

// What the configurations say about drift: nothing, and something for each key.
var (
	defaultDrift = engine.DriftOptions{Every: "1h", Share: .5, Rates: schedule.Governor{Account: 60, Total: 300}, Correct: true, FightWithin: 24 * time.Hour, FightAfter: 3}
	otherDrift   = engine.DriftOptions{Every: "0 6 * * Mon-Fri Europe/Berlin", Share: .25, Rates: schedule.Governor{Account: 30}, FightWithin: 7 * 24 * time.Hour, FightAfter: 5}
)

func TestServerConfigOfTheGuide(t *testing.T) {
	got, dir := readCase(t, "good-issue", nil)
	want := &serverConfig{
		drift:  defaultDrift,
		listen: "127.0.0.1:4141", publicURL: "https://plumbline.example.com", dataDir: filepath.Join(dir, "data"),
		planStore: filepath.Join(dir, "data", "plans"), planKeyFile: filepath.Join(dir, "data", "plan.key"),
		statusLimit: 20, grace: 10 * time.Minute, logLevel: "info", logFormat: "text",
		forges: []forgeConfig{
			{kind: "github", name: "github", url: "https://api.github.com", appID: 12345, webhookSecret: canary, repos: []string{"acme/*"}, poll: time.Minute, statuses: true},
			{kind: "gitea", name: "gitea", url: "https://git.example.com", token: canary, webhookSecret: canary, repos: []string{"infra/live"}, poll: time.Minute, statuses: true},
		},
		hidden: []string{"GITHUB_WEBHOOK_SECRET", "GITEA_TOKEN", "GITEA_WEBHOOK_SECRET"},
	}
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if !bytes.Contains(got.forges[0].privateKey, []byte("PRIVATE KEY")) {
		t.Error("the App's key was not read")
	}
	if secrets := got.secrets(); len(secrets) != 4 {
		t.Errorf("%d secrets, want the key, the token and two secrets of webhooks", len(secrets))
	}
}

// everyCredential is what good-every-key.txtar lists under credentials.
var everyCredential = []access.Rule{{
	Repos: []string{"acme/live", "hub-1/acme/terraform-*"}, Roles: []string{"arn:aws:iam::111122223333:role/plumbline-*"},
	Env: []string{"HCLOUD_TOKEN"}, Files: []string{"/run/secrets/token"}, Commands: [][]string{{"/bin/token", "plan", "plan"}},
}}

func TestServerConfigReadsEveryKey(t *testing.T) {
	got, dir := readCase(t, "good-every-key", nil)
	want := &serverConfig{
		listen: "[::]:80", publicURL: "https://plumbline.example.com/pl", dataDir: "/var/lib/plumbline",
		database:  "postgres://plumbline:" + canary + "@db/plumbline",
		planStore: "s3://plans/live", planKeyFile: filepath.Join(dir, "plan.key"), planKMSKey: "alias/plans", parallel: 4, statusLimit: 5, grace: 90 * time.Second,
		logLevel: "debug", logFormat: "json", traces: "http://collector:4318",
		drift:       otherDrift,
		credentials: everyCredential,
		forges: []forgeConfig{
			{kind: "github", name: "hub-1", url: "https://github.example.com/api/v3", token: canary, webhookSecret: "a ${ in clear",
				repos: []string{"acme/live", "acme/terraform-*"}, gitURL: "https://git.example.com/{owner}/{repo}.git", branches: []string{"stable", "release/*"},
				trustForks: []string{"ada", "renovate[bot]"}},
			{kind: "gitea", name: "local", url: "http://127.0.0.1:3000/git", token: canary, webhookSecret: canary, repos: []string{"infra/*"},
				poll: 5 * time.Second, trustForks: []string{"*"}, statuses: true},
		},
		hidden: []string{"PASSWORD", "GITEA_TOKEN", "GITEA_TOKEN", "GITEA_WEBHOOK_SECRET"},
	}
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if secrets := got.secrets(); secrets[0] != canary || len(secrets) != 5 {
		t.Errorf("%d secrets, want the database's password first of five", len(secrets))
	}
}

func TestServerConfigFlagsAndVariablesWin(t *testing.T) {
	over := map[string]setting{}
	for key, value := range map[string]string{
		"listen": "127.0.0.1:9", "public_url": "", "data_dir": "/elsewhere", "database": "", "plan_store": "/plans", "plan_key_file": "/k", "plan_kms_key": "",
		"parallel": "9", "status_limit": "9", "grace": "9s", "log.level": "error", "log.format": "text", "traces.endpoint": "",
	} {
		over[key] = override("--"+overName(key), value)
	}
	if len(over) != len(overKeys) {
		t.Errorf("the test knows %d settings, and there are %d", len(over), len(overKeys))
	}
	got, _ := readCase(t, "good-every-key", over)
	got.forges = nil
	want := &serverConfig{drift: otherDrift, credentials: everyCredential, listen: "127.0.0.1:9", dataDir: "/elsewhere", planStore: "/plans", planKeyFile: "/k", parallel: 9, statusLimit: 9,
		grace: 9 * time.Second, logLevel: "error", logFormat: "text", hidden: []string{"GITEA_TOKEN", "GITEA_TOKEN", "GITEA_WEBHOOK_SECRET"}}
	if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestServerConfigNamesTheFlagThatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte("forges: [{ type: github, token: x, repos: [a/b] }]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := readServerConfig(configSource{file: file, getenv: serverEnviron, over: map[string]setting{
		"parallel": override("$PLUMBLINE_PARALLEL", "x"), "listen": override("--listen", "0.0.0.0:1"),
	}})
	for _, want := range []string{`$PLUMBLINE_PARALLEL: parallel is "x"`, `--listen: listen is "0.0.0.0:1"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to hold %q", err, want)
		}
	}
}

func TestServerConfigFileThatIsNotThere(t *testing.T) {
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "server.yaml"): "no such file or directory",
		t.TempDir(): "it is not a regular file",
	} {
		_, _, err := readServerConfig(configSource{file: path, getenv: serverEnviron})
		if err == nil || !strings.Contains(err.Error(), path+": "+want) || !strings.Contains(err.Error(), "docs/serve.md") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// FuzzServerConfig holds the reader to this: it does not panic, names lines
// that exist, keeps messages to a line, and never repeats the environment.
func FuzzServerConfig(f *testing.F) {
	paths, err := filepath.Glob("testdata/server/*.txtar")
	if err != nil || len(paths) == 0 {
		f.Fatal(err, "no cases")
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	const secret = "s3cr3t-of-the-environment"
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := parseServerConfig(configSource{file: filepath.Join(dir, "server.yaml"), getenv: func(string) (string, bool) { return secret, true }}, data, 0o644)
		lines := 2 + bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
			bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029"))
		failed := false
		for _, p := range problems {
			failed = failed || p.IsError()
			if p.Text == "" || p.Line < 0 || p.Line > lines {
				t.Errorf("problem %+v of a file of %d lines", p, lines)
			}
			if strings.Contains(p.Error(), secret) {
				t.Errorf("%q repeats the environment", p.Error())
			}
			if strings.ContainsFunc(p.Error(), isControl) {
				t.Errorf("%q breaks out of its line", p.Error())
			}
		}
		if !failed && (c == nil || len(c.forges) == 0 || c.listen == "" || c.dataDir == "") {
			t.Errorf("a good file made %+v", errors.New("an empty configuration"))
		}
	})
}

// TestGuideOfTheServer reads every server.yaml of the guide, and wants each key
// in it.
func TestGuideOfTheServer(t *testing.T) {
	data, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(data)
	for _, key := range slices.Concat([]string{"id", "private_key_file", "level", "format", "endpoint"}, topKeys, forgeKeys, driftKeys, fightKeys, signInKeys) {
		if !strings.Contains(guide, "`"+key+"`") {
			t.Errorf("docs/serve.md does not name `%s`", key)
		}
	}
	dir := t.TempDir()
	writeKeys(t, dir)
	examples := strings.Split(guide, "```yaml\n")[1:]
	for _, other := range []string{"credentials.md", "web.md"} {
		text, err := os.ReadFile("../../docs/" + other)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range slices.Concat(wayKeys, roleKeys) {
			if other == "web.md" && !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("docs/web.md does not name `%s`", key)
			}
		}
		for _, part := range strings.Split(string(text), "```yaml\n") {
			if strings.HasPrefix(part, "# server.yaml\n") {
				examples = append(examples, part)
			}
		}
	}
	if len(examples) < 3 {
		t.Errorf("%d examples, want at least 3", len(examples))
	}
	for _, part := range examples {
		example, _, _ := strings.Cut(part, "```")
		if !strings.Contains(example, "forges:") { // a part of a file
			example += "forges: [{ type: github, token: \"${GITEA_TOKEN}\", webhook_secret: \"${GITEA_WEBHOOK_SECRET}\", repos: [acme/live] }]\n"
		}
		_, problems := parseServerConfig(configSource{file: filepath.Join(dir, "server.yaml"), getenv: serverEnviron}, []byte(example), 0o600)
		for _, p := range problems {
			t.Errorf("%s\n%v", example, p)
		}
	}
}

func TestServerConfigOfSigningIn(t *testing.T) {
	got, _ := readCase(t, "good-sign-in", nil)
	want := signInConfig{
		idle: 2 * time.Hour, absolute: 12 * time.Hour,
		ways: []signin.Way{
			{ID: "oidc", Kind: signin.OIDC, Name: "Example", URL: "https://login.example.com/realms/acme", ClientID: "plumbline", ClientSecret: canary,
				Scopes: []string{"groups"}, GroupsClaim: "roles", Accounts: map[string]string{"hub": "github_login"}},
			{ID: "hub", Kind: signin.GitHub, Name: "GitHub", URL: "https://api.github.com", ClientID: "Iv1.abc", ClientSecret: canary, Teams: true},
			{ID: "local", Kind: signin.Gitea, Name: "Gitea", URL: "http://127.0.0.1:3000", ClientID: "id", ClientSecret: canary},
		},
		grants: []signin.Grant{
			{Role: signin.Viewer, Repos: []string{"acme/*"}, People: []string{"*"}},
			{Role: signin.Operator, Repos: []string{"acme/live", "hub/acme/*"}, Groups: []string{"platform", "on call"}, Teams: []string{"hub:acme/platform"}},
			{Role: signin.Admin, Repos: []string{"*"}, People: []string{"hub:ada", "grace@example.com", "oidc:1234"}},
		},
	}
	if diff := cmp.Diff(want, got.signIn, compareConfigs); diff != "" {
		t.Errorf("who may what (-want +got):\n%s", diff)
	}
	if got.metricsToken != "0123456789abcdef" {
		t.Error("the token of the metrics was not read")
	}
	secrets := got.secrets()
	if !slices.Contains(secrets, canary) || !slices.Contains(secrets, got.metricsToken) {
		t.Error("the clients' secrets and the token of the metrics are no secrets")
	}
	if !slices.Contains(got.hidden, "PASSWORD") {
		t.Errorf("Terraform would see the clients' secrets: %q are hidden", got.hidden)
	}
}

func TestServerConfigOfNotifications(t *testing.T) {
	got, _ := readCase(t, "good-notify", nil)
	if len(got.notify) != 2 || len(got.targets()) != 2 {
		t.Fatalf("%d targets", len(got.notify))
	}
	ops, mail := got.targets()[0], got.targets()[1]
	want := notify.Rule{
		Classes: []string{"cluster", "node"}, Causes: []string{"outside"}, Workspaces: []string{"prod/**"}, Repos: []string{"acme/*"},
		States: []notify.State{notify.Drifted, notify.Fight},
	}
	if diff := cmp.Diff(want, ops.Rule); diff != "" || ops.String() != "ops (generic)" || ops.Digest != time.Hour {
		t.Errorf("%s, gathered for %s, has the rule (-want +got):\n%s", ops, ops.Digest, diff)
	}
	if diff := cmp.Diff(notify.Rule{}, mail.Rule); diff != "" || mail.String() != "notify-2 (smtp)" || mail.Digest != 0 {
		t.Errorf("%s, gathered for %s, has the rule (-want +got):\n%s", mail, mail.Digest, diff)
	}
	secrets := got.secrets()
	for _, n := range got.notify {
		if !slices.Contains(secrets, n.url) {
			t.Errorf("the address of %s is no secret", n.name)
		}
	}
	if !slices.Contains(got.hidden, "PASSWORD") {
		t.Errorf("Terraform would see the variables of addresses: %q are hidden", got.hidden)
	}
}
