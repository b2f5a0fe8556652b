package main

import (
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/web/signin"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// signInConfig is "sign_in" and "roles".
type signInConfig struct {
	ways           []signin.Way // none: nobody can sign in
	grants         []signin.Grant
	idle, absolute time.Duration
}

var (
	signInKeys = []string{"ways", "idle", "absolute"}
	wayKeys    = []string{"forge", "issuer", "name", "client_id", "client_secret", "scopes", "groups_claim", "accounts"}
	roleKeys   = []string{"role", "repos", "people", "groups", "teams"}
)

const minSession = 5 * time.Minute

// secretOf reads a value that nothing may show, and warns if others may read it in the file.
func (r *configReader) secretOf(c *serverConfig, n *yaml.Node, key string, mode os.FileMode) setting {
	s := r.scalar(n, key, true)
	c.hidden = append(c.hidden, s.variables...)
	if s.text != "" && len(s.variables) == 0 && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		r.warn(s.place, "write "+key+": ${NAME} and set the variable, or run chmod 600 "+r.file,
			"%s stands in clear in a file that other users may read (mode %04o)", key, mode.Perm())
	}
	return s
}

// signIn reads who may sign in, and what they may then. The forges were read before.
func (r *configReader) signIn(c *serverConfig, n, roles *yaml.Node, public setting, mode os.FileMode) {
	s := &c.signIn
	s.grants = r.grants(c, roles)
	if n == nil {
		if roles != nil {
			r.wrong(r.at(roles), "add sign_in, which says how people sign in, or remove roles; docs/web.md has an example", "roles are for people who have signed in, and nobody can")
		}
		return
	}
	values := r.mapping(n, "sign_in", signInKeys...)
	if values == nil {
		return
	}
	s.idle = r.duration(r.scalar(values["idle"], "idle", false), "idle", minSession, signin.DefaultIdle)
	s.absolute = r.duration(r.scalar(values["absolute"], "absolute", false), "absolute", minSession, signin.DefaultAbsolute)
	items := r.items(values["ways"], "ways", "- forge: github")
	if len(items) == 0 && (values["ways"] == nil || values["ways"].Kind == yaml.SequenceNode) {
		r.wrong(r.at(n), "list at least one under ways; docs/web.md has examples", "sign_in has no way to sign in")
	}
	ids := map[string]int{}
	for _, item := range items {
		w, ok := r.way(c, item, mode)
		if !ok {
			continue
		}
		if first, twice := ids[w.ID]; twice {
			r.wrong(r.at(item), "remove one; of OIDC providers there is at most one", "the way on line %d is the same", first)
		}
		ids[w.ID] = item.Line
		s.ways = append(s.ways, w)
	}
	if roles == nil {
		r.warn(r.at(n), "say who may what under roles; docs/web.md has examples", "there are no roles, so whoever signs in may see nothing")
	}
	switch u, err := url.Parse(c.publicURL); {
	case !public.set || public.text == "":
		r.wrong(r.at(n), "set public_url to what people open in their browsers, such as https://plumbline.example.com", "sign_in needs public_url: people are sent back there")
	case c.publicURL == "" || err != nil: // told
	case u.Scheme != "https" && !isLoopbackHost(u.Hostname()):
		r.wrong(public.place, "let a proxy serve it by https, and write https://", "public_url begins with http://, and whoever listens on the network could take over a session")
	case u.Path != "" && u.Path != "/":
		r.wrong(public.place, "give Plumbline a host name of its own", "public_url has a path, and the pages are at the root of their host")
	case u.Scheme == "https" && isLoopbackHost(u.Hostname()):
		r.warn(public.place, "write the name that people open", "public_url is of this machine itself: only browsers on it can sign in")
	}
}

// way reads one way of signing in.
func (r *configReader) way(c *serverConfig, n *yaml.Node, mode os.FileMode) (signin.Way, bool) {
	values := r.mapping(n, "an item of ways", wayKeys...)
	if values == nil {
		return signin.Way{}, false
	}
	at, before := r.at(n), len(r.problems)
	var w signin.Way
	forge, issuer := r.scalar(values["forge"], "forge", false), r.scalar(values["issuer"], "issuer", false)
	switch {
	case values["forge"] != nil && values["issuer"] != nil:
		r.wrong(at, "make two of it", "a way has both forge and issuer")
	case forge.set:
		i := slices.IndexFunc(c.forges, func(f forgeConfig) bool { return f.name == forge.text })
		if i < 0 {
			r.wrong(forge.place, "write the name of one under forges", "forge is %s, and there is none of that name", shown(forge.written))
			break
		}
		f := c.forges[i]
		if f.name == signin.OIDCWay {
			r.wrong(forge.place, "give the forge another name", "a forge whose accounts sign in cannot be called %s", shown(f.name))
		}
		w.ID, w.Kind, w.URL, w.Name = f.name, signin.Kind(f.kind), f.url, map[string]string{"github": "GitHub", "gitea": "Gitea"}[f.kind]
		for _, key := range []string{"groups_claim", "accounts"} {
			if v := values[key]; v != nil {
				r.wrong(r.at(v), "remove it", "%s is for OIDC providers", key)
			}
		}
	case issuer.set:
		w.ID, w.Kind, w.Name = signin.OIDCWay, signin.OIDC, "single sign-on"
		if u, ok := r.secureURL(issuer, "issuer", "https://login.example.com"); ok {
			w.URL = issuer.text // to the letter: the provider says the same
			if u.Host != "" && strings.HasSuffix(u.Path, "/.well-known/openid-configuration") {
				r.wrong(issuer.place, "leave /.well-known/openid-configuration out", "issuer is the address of the provider's description, not of the provider")
			}
		}
		r.oidc(c, &w, values)
	case values["forge"] == nil && values["issuer"] == nil:
		r.wrong(at, "write forge: NAME for accounts of a forge, or issuer: https://… for an OIDC provider", "a way has neither forge nor issuer")
	}
	if s := r.scalar(values["name"], "name", false); s.set {
		if w.Name = s.text; len(s.text) > 60 || strings.TrimSpace(s.text) == "" {
			r.wrong(s.place, "write a few words for the sign-in page", "name is no short text")
		}
	}
	id := r.scalar(values["client_id"], "client_id", false)
	if w.ClientID = id.text; values["client_id"] == nil || id.set && id.text == "" {
		r.wrong(at, "register Plumbline there, and copy the id; docs/web.md says how", "a way has no client_id")
	}
	secret := r.secretOf(c, values["client_secret"], "client_secret", mode)
	if w.ClientSecret = secret.text; values["client_secret"] == nil || secret.set && secret.text == "" {
		r.wrong(at, "write client_secret: ${NAME} and set the variable", "a way has no client_secret")
	}
	w.Scopes = r.words(values["scopes"], "scopes", "[groups]", func(text string) bool { return !strings.ContainsAny(text, " \"\\") }, "write one scope in each item")
	for _, g := range c.signIn.grants {
		w.Teams = w.Teams || slices.ContainsFunc(g.Teams, func(team string) bool { return strings.HasPrefix(team, w.ID+":") })
	}
	return w, w.ID != "" && !slices.ContainsFunc(r.problems[before:], workspaces.Problem.IsError)
}

// oidc reads what only OIDC providers have.
func (r *configReader) oidc(c *serverConfig, w *signin.Way, values map[string]*yaml.Node) {
	w.GroupsClaim = r.scalar(values["groups_claim"], "groups_claim", false).text
	w.Accounts = map[string]string{}
	n := values["accounts"]
	if n == nil {
		r.warn(r.at(values["issuer"]), "write accounts: { FORGE: CLAIM }, with the claim that holds somebody's login there", "the OIDC provider tells no accounts on forges, and without one nobody sees a repository there")
		return
	}
	var names []string
	for _, f := range c.forges {
		names = append(names, f.name)
	}
	claims := r.mapping(n, "accounts", names...)
	for forge, v := range claims {
		if s := r.scalar(v, "claim of "+forge, false); s.set && s.text != "" {
			w.Accounts[forge] = s.text
		}
	}
}

// words reads a list of words that are good, or one word.
func (r *configReader) words(n *yaml.Node, key, example string, good func(string) bool, fix string) (list []string) {
	if n == nil {
		return nil
	}
	items := []*yaml.Node{n}
	if n.Kind != yaml.ScalarNode {
		items = r.items(n, key, example)
	}
	for _, item := range items {
		s := r.scalar(item, key, false)
		switch {
		case !s.set:
		case s.text == "" || !good(s.text):
			r.wrong(s.place, fix, "%s has %s", key, shown(s.written))
		default:
			list = append(list, s.text)
		}
	}
	return list
}

// grants reads who has which role where.
func (r *configReader) grants(c *serverConfig, n *yaml.Node) (grants []signin.Grant) {
	// whole puts the forge before a login or a team where there is only one that it can be on.
	whole := func(item *yaml.Node, what, text string) string {
		forge, _, named := strings.Cut(text, ":")
		switch {
		case named && forge == signin.OIDCWay && what == "people":
		case named && !slices.ContainsFunc(c.forges, func(f forgeConfig) bool { return f.name == forge }):
			r.wrong(r.at(item), "write FORGE: before it, with the name of one under forges", "%s has %s, which is on no forge that is served", what, shown(text))
		case !named && len(c.forges) == 1:
			return c.forges[0].name + ":" + text
		case !named && len(c.forges) > 1:
			r.wrong(r.at(item), "write FORGE: before it", "%s has %s, which may be on several forges", what, shown(text))
		}
		return text
	}
	for _, item := range r.items(n, "roles", `- { role: viewer, repos: ["acme/*"], people: [ada] }`) {
		values := r.mapping(item, "an item of roles", roleKeys...)
		if values == nil {
			continue
		}
		var g signin.Grant
		role := r.scalar(values["role"], "role", false)
		if values["role"] == nil {
			r.wrong(r.at(item), "write role: viewer, operator or admin", "an item of roles has no role")
		}
		g.Role = map[string]signin.Role{"viewer": signin.Viewer, "operator": signin.Operator, "admin": signin.Admin}[r.choice(role, "role", "", "viewer", "operator", "admin")]
		g.Repos = r.words(values["repos"], "repos", `["acme/*"]`, signin.GoodPattern, "write OWNER/NAME or FORGE/OWNER/NAME, where * stands for any characters, or * alone for all and the server itself")
		if values["repos"] == nil {
			r.wrong(r.at(item), `write repos: ["*"] for all, or patterns such as acme/*`, "an item of roles does not say in which repos")
		}
		for _, who := range r.words(values["people"], "people", "[ada]", plainWord, "write logins as LOGIN or FORGE:LOGIN, mail addresses, oidc:SUBJECT, or * for whoever can sign in") {
			if who != "*" && !strings.Contains(who, "@") {
				who = whole(values["people"], "people", who)
			}
			g.People = append(g.People, who)
		}
		g.Groups = r.words(values["groups"], "groups", "[platform]", func(text string) bool { return len(text) <= 300 }, "write a group as the OIDC provider calls it")
		isTeam := func(text string) bool {
			return plainWord(text) && strings.Count(text, "/") == 1 && !strings.HasPrefix(text, "/") && !strings.HasSuffix(text, "/")
		}
		for _, team := range r.words(values["teams"], "teams", "[acme/platform]", isTeam, "write ORG/TEAM or FORGE:ORG/TEAM, the team as in its address") {
			g.Teams = append(g.Teams, whole(values["teams"], "teams", team))
		}
		if len(g.People)+len(g.Groups)+len(g.Teams) == 0 && values["people"] == nil && values["groups"] == nil && values["teams"] == nil {
			r.wrong(r.at(item), "name people, groups or teams", "an item of roles is for nobody")
		}
		grants = append(grants, g)
	}
	return grants
}

// plainWord reports whether a text is a login, an address or a name of a team.
func plainWord(text string) bool {
	return len(text) <= 300 && !strings.ContainsAny(text, " \t,;\\") && (text == "*" || !strings.Contains(text, "*"))
}

// metricsToken reads what whoever reads the metrics must show.
func (r *configReader) metricsToken(c *serverConfig, n *yaml.Node, mode os.FileMode) {
	if n == nil {
		return
	}
	values := r.mapping(n, "metrics", "token")
	s := r.secretOf(c, values["token"], "token", mode)
	if c.metricsToken = s.text; values != nil && values["token"] == nil || s.set && len(s.text) < 16 {
		r.wrong(r.at(n), "write token: ${NAME}, with a long random text: `openssl rand -hex 32`", "metrics has no token of at least 16 characters")
	}
}
