package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// serverConfig is what `plumbline serve` is told: server.yaml, with what flags
// and the environment put in the place of its settings.
type serverConfig struct {
	listen      string // host:port
	publicURL   string // "" for none
	dataDir     string // absolute
	database    string // "" for SQLite in dataDir
	planStore   string // a directory, or s3://…
	planKeyFile string
	planKMSKey  string // "" for none; several with commas
	parallel    int    // 0: see terraform.AtOnce
	statusLimit int
	grace       time.Duration
	logLevel    string
	logFormat   string
	traces      string // endpoint, "" for what OpenTelemetry's own variables say
	drift       engine.DriftOptions
	notify      []notifyConfig
	credentials []access.Rule
	forges      []forgeConfig
	signIn      signInConfig
	// metricsToken is what whoever reads the metrics must show; "" for none.
	metricsToken string

	// hidden are the environment variables that the file takes secrets from.
	hidden []string
}

// Defaults of server.yaml. The other ones are in data_dir.
const (
	defaultListen      = "127.0.0.1:4141"
	defaultDataDir     = "data"
	defaultPoll        = time.Minute
	defaultStatusLimit = 20
	defaultGrace       = 10 * time.Minute
	defaultGitHub      = "https://api.github.com"
	minPoll            = 5 * time.Second
	maxDuration        = 24 * time.Hour
)

// Keys of server.yaml.
var (
	topKeys = []string{"listen", "public_url", "data_dir", "database", "plan_store", "plan_key_file", "plan_kms_key", "parallel",
		"status_limit", "grace", "log", "traces", "drift", "notify", "credentials", "sign_in", "roles", "metrics", "forges"}
	forgeKeys = []string{"type", "name", "url", "app", "token", "webhook_secret", "repos", "git_url", "poll", "branches", "trust_forks", "statuses"}
)

// configSource is where a serverConfig comes from.
type configSource struct {
	file   string
	getenv func(string) (string, bool)
	// over are the settings that flags and variables put in the place of the
	// file's, by their keys, such as "log.level".
	over map[string]setting
	// storageOnly leaves the forges, and what they need, unread.
	storageOnly bool
}

// readServerConfig reads and checks the configuration of the server. The error
// holds every mistake with its line; warnings are returned beside a good
// configuration, too. Neither holds a secret.
func readServerConfig(source configSource) (*serverConfig, []workspaces.Problem, error) {
	info, err := os.Stat(source.file)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(source.file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the server's configuration %s: %w (docs/serve.md has an example)", source.file, pathless(err))
	}
	c, problems := parseServerConfig(source, data, info.Mode())
	var warnings []workspaces.Problem
	var mistakes []error
	for _, p := range problems {
		if p.IsError() {
			mistakes = append(mistakes, p)
		} else {
			warnings = append(warnings, p)
		}
	}
	return c, warnings, errors.Join(mistakes...)
}

// pathless is an error without the path that it begins with.
func pathless(err error) error {
	var of *os.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

func parseServerConfig(source configSource, data []byte, mode os.FileMode) (*serverConfig, []workspaces.Problem) {
	r := &configReader{file: source.file, getenv: source.getenv}
	values := map[string]*yaml.Node{}
	if top := r.document(data); top != nil {
		values = r.mapping(top, "the file's top level", topKeys...)
	}
	if len(r.problems) > 0 && len(values) == 0 {
		return nil, r.problems
	}
	var logs, traces map[string]*yaml.Node
	if n := values["log"]; n != nil {
		logs = r.mapping(n, "log", "level", "format")
	}
	if n := values["traces"]; n != nil {
		traces = r.mapping(n, "traces", "endpoint")
	}
	get := func(key string, n *yaml.Node, secret bool) setting {
		// The file's is read in any case: its mistakes are mistakes.
		s := r.scalar(n, key, secret)
		if over, ok := source.over[key]; ok {
			if secret {
				over.written = ""
			}
			return over
		}
		return s
	}
	c := &serverConfig{}
	listen := get("listen", values["listen"], false)
	publicURL := get("public_url", values["public_url"], false)
	c.listen = r.listen(listen)
	c.publicURL = r.publicURL(publicURL)
	base := filepath.Dir(source.file)
	c.dataDir = r.path(get("data_dir", values["data_dir"], false), "data_dir", base, defaultDataDir)
	database := get("database", values["database"], true)
	c.database = r.database(database)
	planStore := get("plan_store", values["plan_store"], false)
	c.planStore = r.planStore(planStore, base, filepath.Join(c.dataDir, "plans"))
	planKey := get("plan_key_file", values["plan_key_file"], false)
	c.planKeyFile = r.path(planKey, "plan_key_file", base, filepath.Join(c.dataDir, "plan.key"))
	c.planKMSKey = r.kmsKey(get("plan_kms_key", values["plan_kms_key"], false))
	c.parallel = r.number(get("parallel", values["parallel"], false), "parallel", 0, 1000, 0)
	c.statusLimit = r.number(get("status_limit", values["status_limit"], false), "status_limit", 1, 1000, defaultStatusLimit)
	c.grace = r.duration(get("grace", values["grace"], false), "grace", time.Second, defaultGrace)
	c.logLevel = r.choice(get("log.level", logs["level"], false), "level of the log", "info", "debug", "info", "warn", "error")
	c.logFormat = r.choice(get("log.format", logs["format"], false), "format of the log", "text", "text", "json")
	c.traces = r.endpoint(get("traces.endpoint", traces["endpoint"], false))
	c.drift = r.drift(values["drift"])
	c.hidden = append(c.hidden, database.variables...)
	if c.database != "" {
		r.several(planStore, planKey, database, source.getenv)
	}

	if source.storageOnly {
		return c, r.sorted()
	}
	r.notify(c, values["notify"], mode)
	items := r.items(values["forges"], "forges", "- type: github")
	for _, item := range items {
		r.forge(c, item, base, mode)
	}
	if len(items) == 0 && (values["forges"] == nil || values["forges"].Kind == yaml.SequenceNode) {
		r.wrong(workspaces.Problem{File: source.file}, "name at least one under forges; docs/serve.md has an example", "there is no forge to serve")
	}
	r.signIn(c, values["sign_in"], values["roles"], publicURL, mode)
	r.metricsToken(c, values["metrics"], mode)
	r.credentialRules(c, values["credentials"]) // once all secrets of the file are known
	r.together(c, listen, publicURL)
	return c, r.sorted()
}

// sorted are the problems in the order of the file.
func (r *configReader) sorted() []workspaces.Problem {
	slices.SortStableFunc(r.problems, func(a, b workspaces.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r.problems
}

// several warns of what more than one machine on a database cannot share.
func (r *configReader) several(planStore, planKey, database setting, getenv func(string) (string, bool)) {
	if !strings.HasPrefix(planStore.text, "s3://") {
		r.warn(database.place, "with more than one, set plan_store to s3://… or to a directory that all of them reach",
			"plan_store is a directory: that suits one machine on PostgreSQL")
	}
	if _, given := getenv("PLUMBLINE_PLAN_KEY"); !given && !planKey.set {
		r.warn(database.place, "with more than one, give all of them the same plan_key_file or PLUMBLINE_PLAN_KEY",
			"plan_key_file is made in data_dir: that suits one machine on PostgreSQL")
	}
}

// together checks what several settings have to say about one another.
func (r *configReader) together(c *serverConfig, listen, publicURL setting) {
	names, served := map[string]int{}, map[string]int{}
	for _, f := range c.forges {
		key := strings.ToLower(f.name)
		if first, twice := names[key]; twice && key != "" {
			r.wrong(f.place, "give one of them a name of its own with name", "two forges have the name %s, the other on line %d", shown(f.name), first)
		}
		names[key] = f.place.Line
		for _, repo := range f.repos {
			key := strings.ToLower(f.kind + " " + f.url + " " + repo)
			if first, twice := served[key]; twice {
				r.wrong(f.place, "remove it from one of them, or every comment comes twice", "%s is served by the forge on line %d as well", shown(repo), first)
			}
			served[key] = f.place.Line
		}
		if f.webhookSecret != "" {
			continue
		}
		forge := "the forge " + shown(f.name)
		if f.name == "" { // its type is wrong, which is told
			forge = "the forge here"
		}
		switch place := f.place; {
		case f.poll == 0:
			r.wrong(place, "set webhook_secret, or poll", "%s is told of nothing: it has no webhook_secret, and poll is off", forge)
		case c.listen != "" && !isLoopback(c.listen):
			if listen.place.Line == 0 && listen.place.File != "" {
				place = listen.place
			}
			r.wrong(place, "set webhook_secret to a long random text, and the same one in the forge's webhook; or listen on 127.0.0.1",
				"listen is %s, where others than this machine reach it, and %s has no webhook_secret: anybody could send it events", shown(c.listen), forge)
		case publicURL.set && c.publicURL != "" && !isLoopbackURL(c.publicURL):
			r.warn(place, "set webhook_secret, and the same one in the forge's webhook, or leave /webhook/ out of what the proxy passes on",
				"%s has no webhook_secret, so its webhooks are not taken; it is polled", forge)
		}
	}
}

// secrets are the values that nothing may show.
func (c *serverConfig) secrets() []string {
	var list []string
	if u, err := url.Parse(c.database); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			list = append(list, password)
		}
	}
	for _, f := range c.forges {
		list = append(list, f.token, f.webhookSecret, string(f.privateKey))
	}
	for _, t := range c.notify {
		list = append(list, t.url)
	}
	for _, w := range c.signIn.ways {
		list = append(list, w.ClientSecret)
	}
	list = append(list, c.metricsToken)
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
