package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/workspaces"
	"go.yaml.in/yaml/v3"
)

// forgeConfig is one item under "forges".
type forgeConfig struct {
	kind          string // github or gitea
	name          string
	url           string
	appID         int64 // 0 with a token
	privateKey    []byte
	token         string
	webhookSecret string
	repos         []string
	gitURL        string
	poll          time.Duration // 0: off
	branches      []string      // patterns, beside the default branch
	trustForks    []string      // "*" for all
	statuses      bool

	place workspaces.Problem
}

var (
	forgeName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	repoPattern   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_.*-]+$`)
	branchPattern = regexp.MustCompile(`^[^\s\\\[\]?~^:/-][^\s\\\[\]?~^:]*$`)
	loginPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(\[bot\])?$`)
	gitURLPattern = regexp.MustCompile(`\{[^}]*\}?`)
)

// forge reads one item of forges.
func (r *configReader) forge(c *serverConfig, n *yaml.Node, base string, mode os.FileMode) {
	const what = "an item of forges"
	values := r.mapping(n, what, forgeKeys...)
	if values == nil {
		return
	}
	f := forgeConfig{place: r.at(n), poll: defaultPoll, statuses: true}
	kind := r.scalar(values["type"], "type", false)
	if values["type"] == nil {
		r.wrong(f.place, "write type: github or type: gitea, which serves Forgejo too", "%s has no type", what)
	} else if kind.set {
		f.kind = r.choice(kind, "type of a forge", "", "github", "gitea")
	}
	f.name = f.kind
	if s := r.scalar(values["name"], "name", false); s.set {
		f.name = s.text
		if !forgeName.MatchString(s.text) {
			r.wrong(s.place, "write letters, digits and . _ -, beginning with a letter or digit, at most 63", "name is %s, and it is part of the webhook's address", shown(s.written))
		}
	}
	f.url = r.forgeURL(f, r.scalar(values["url"], "url", false))
	r.credentials(c, &f, values, base, mode)
	f.repos = r.repos(f, values["repos"])
	f.gitURL = r.gitURL(r.scalar(values["git_url"], "git_url", false))
	if s := r.scalar(values["poll"], "poll", false); s.set {
		if s.text == "off" || s.text == "false" {
			f.poll = 0
		} else {
			f.poll = r.duration(s, "poll", minPoll, defaultPoll)
		}
	}
	f.branches = r.branches(values["branches"])
	f.trustForks = r.trustForks(values["trust_forks"])
	if s := r.scalar(values["statuses"], "statuses", false); s.set {
		said := r.choice(s, "value of statuses", "on", "on", "off", "true", "false")
		f.statuses = said == "on" || said == "true"
	}
	c.forges = append(c.forges, f)
}

func (r *configReader) forgeURL(f forgeConfig, s setting) string {
	if !s.set || s.text == "" {
		if f.kind == "gitea" {
			r.wrong(f.place, "write url: https://HOST, as people open it", "a forge of type gitea has no url")
		}
		return defaultGitHub
	}
	example := defaultGitHub
	if f.kind == "gitea" {
		example = "https://git.example.com"
	}
	u, ok := r.secureURL(s, "url", example)
	if !ok {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case f.kind == "github" && (host == "github.com" || host == "www.github.com"):
		r.wrong(s.place, "leave it out, or write "+defaultGitHub, "url is that of GitHub's pages, not of its API")
		return ""
	case f.kind == "gitea" && strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v1"):
		r.wrong(s.place, "leave /api/v1 out", "url is that of Gitea's API, not of its pages")
		return ""
	}
	return strings.TrimSuffix(u.String(), "/")
}

// credentials reads what we are on the forge, and what it signs webhooks with.
func (r *configReader) credentials(c *serverConfig, f *forgeConfig, values map[string]*yaml.Node, base string, mode os.FileMode) {
	secret := func(key string) setting {
		s := r.scalar(values[key], key, true)
		c.hidden = append(c.hidden, s.variables...)
		if s.text != "" && len(s.variables) == 0 && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			r.warn(s.place, "write "+key+": ${NAME} and set the variable, or run chmod 600 "+r.file,
				"%s stands in clear in a file that other users may read (mode %04o)", key, mode.Perm())
		}
		return s
	}
	token, webhook := secret("token"), secret("webhook_secret")
	f.token, f.webhookSecret = token.text, webhook.text
	if strings.ContainsAny(f.token, " \t") {
		r.wrong(token.place, "copy it again", "token has a space in it")
	}
	app := values["app"]
	switch {
	case app != nil && values["token"] != nil:
		r.wrong(r.at(app), "remove one", "the forge has both an app and a token")
	case app != nil && f.kind == "gitea":
		r.wrong(r.at(app), "write token: ${GITEA_TOKEN}", "Gitea knows no apps")
	case app != nil:
		r.app(f, app, base)
	case values["token"] == nil:
		fix := "write token: ${GITEA_TOKEN}"
		if f.kind == "github" {
			fix = "write app: { id: …, private_key_file: … } or token: ${GITHUB_TOKEN}"
		}
		r.wrong(f.place, fix, "the forge has no credentials")
	case token.set && f.token == "":
		r.wrong(token.place, "write it as ${NAME} and set the variable", "token is empty")
	}
}

func (r *configReader) app(f *forgeConfig, n *yaml.Node, base string) {
	values := r.mapping(n, "app", "id", "private_key_file")
	if values == nil {
		return
	}
	at := r.at(n)
	if id := r.scalar(values["id"], "id of the app", false); id.set {
		number, err := strconv.ParseInt(id.text, 10, 64)
		if err != nil || number <= 0 {
			r.wrong(id.place, "copy the App ID from the App's settings page", "id of the app is %s, not a number", shown(id.written))
		}
		f.appID = number
	} else if values["id"] == nil {
		r.wrong(at, "copy the App ID from the App's settings page", "app has no id")
	}
	file := r.scalar(values["private_key_file"], "private_key_file", false)
	switch {
	case values["private_key_file"] == nil:
		r.wrong(at, "name the file with the private key that the App's settings page made", "app has no private_key_file")
	case file.set:
		path := r.path(file, "private_key_file", base, "")
		key, err := readPrivateKey(path)
		if err != nil {
			fix := ""
			if errors.Is(err, fs.ErrNotExist) {
				fix = "put there the private key that the App's settings page made; the path is seen from " + r.file
			}
			r.wrong(file.place, fix, "private_key_file %s: %v", path, err)
		}
		f.privateKey = key
	}
}

// readPrivateKey reads a key in PEM that nobody but us may read or change. (A
// group may read it: that is how containers get their secrets.)
func readPrivateKey(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, pathless(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Mode().Perm()&0o027 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("others than its owner may use it (mode %04o): run chmod 600 %s", info.Mode().Perm(), path)
	}
	key, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return nil, pathless(err)
	}
	if block, _ := pem.Decode(key); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("it holds no private key in PEM: download one from the App's settings page")
	}
	return key, nil
}

func (r *configReader) repos(f forgeConfig, n *yaml.Node) []string {
	const example = `["acme/*"]`
	if n == nil {
		r.wrong(f.place, "list those to serve: repos: "+example, "the forge has no repos")
		return nil
	}
	items := r.items(n, "repos", example)
	if len(items) == 0 && n.Kind == yaml.SequenceNode {
		r.wrong(r.at(n), "list those to serve: repos: "+example, "repos is empty, so nothing would be served")
	}
	var repos []string
	for _, item := range items {
		s := r.scalar(item, "repos", false)
		switch {
		case !s.set:
		case !repoPattern.MatchString(s.text):
			r.wrong(s.place, "write owner/name, where * in the name stands for any characters: acme/*", "repos has %s", shown(s.written))
		case slices.ContainsFunc(repos, func(other string) bool { return strings.EqualFold(other, s.text) }):
			r.wrong(s.place, "remove one", "repos has %s twice", shown(s.written))
		default:
			repos = append(repos, s.text)
		}
	}
	return repos
}

func (r *configReader) gitURL(s setting) string {
	const example = "https://git.example.com/{owner}/{repo}.git"
	if s.text == "" {
		return ""
	}
	for _, field := range gitURLPattern.FindAllString(s.text, -1) {
		if field != "{owner}" && field != "{repo}" {
			r.wrong(s.place, "write one such as "+example, "git_url has %s; what it knows are {owner} and {repo}", shown(field))
			return ""
		}
	}
	filled := s
	filled.text = strings.NewReplacer("{owner}", "owner", "{repo}", "repo").Replace(s.text)
	if _, ok := r.secureURL(filled, "git_url", example); !ok {
		return ""
	}
	if !strings.Contains(s.text, "{repo}") {
		r.wrong(s.place, "write one such as "+example, "git_url does not say {repo}: all repositories would be one")
		return ""
	}
	return s.text
}

// branches reads which branches are served beside the default one.
func (r *configReader) branches(n *yaml.Node) []string {
	const example = `["release/*"]`
	if n == nil {
		return nil
	}
	var branches []string
	for _, item := range r.items(n, "branches", example) {
		s := r.scalar(item, "branches", false)
		if !s.set {
			continue
		}
		if !branchPattern.MatchString(s.text) {
			r.wrong(s.place, "write names, in which * stands for any characters but /: "+example, "branches has %s", shown(s.written))
			continue
		}
		branches = append(branches, s.text)
	}
	return branches
}

// trustForks reads whose pull requests from forks are planned.
func (r *configReader) trustForks(n *yaml.Node) []string {
	const fix = "write all, none, or a list of logins: [ada, grace]"
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode:
		s := r.scalar(n, "trust_forks", false)
		switch {
		case s.text == "all":
			return []string{"*"}
		case s.set && s.text != "none":
			r.wrong(s.place, fix, "trust_forks is %s", shown(s.written))
		}
		return nil
	}
	var logins []string
	for _, item := range r.items(n, "trust_forks", "[ada, grace]") {
		s := r.scalar(item, "trust_forks", false)
		switch {
		case !s.set:
		case !loginPattern.MatchString(s.text):
			r.wrong(s.place, fix, "trust_forks has %s, which is no login", shown(s.written))
		default:
			logins = append(logins, s.text)
		}
	}
	return logins
}
