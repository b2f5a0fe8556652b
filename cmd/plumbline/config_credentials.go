package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/runner/access"
)

// Keys of an item under "credentials".
var credentialsKeys = []string{"repos", "roles", "env", "files", "commands"}

var (
	ownedRepo   = regexp.MustCompile(`^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_.*-]+$`)
	rolePattern = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/*-]+$`)
)

// credentialRules reads what the plumbline.yaml of which repository may name.
func (r *configReader) credentialRules(c *serverConfig, n *yaml.Node) {
	for _, item := range r.items(n, "credentials", "- { repos: [acme/live], roles: [...] }") {
		const what = "an item of credentials"
		values := r.mapping(item, what, credentialsKeys...)
		if values == nil {
			continue
		}
		words := func(key, example, fix string, good func(string) bool) (list []string) {
			for _, n := range r.items(values[key], key, "["+example+"]") {
				if s := r.scalar(n, "an item of "+key, false); s.set && !good(s.text) {
					r.wrong(s.place, fix, "%s of credentials has %s", key, shown(s.written))
				} else if s.set {
					list = append(list, s.text)
				}
			}
			return list
		}
		rule := access.Rule{
			Repos: words("repos", "acme/live", "write OWNER/NAME, where NAME may hold *", ownedRepo.MatchString),
			Roles: words("roles", "arn:aws:iam::123456789012:role/plumbline-*", "write an ARN such as arn:aws:iam::123456789012:role/plumbline-*, with * after role/ alone", rolePattern.MatchString),
			Env: words("env", "HCLOUD_APPLY_TOKEN", "write the name of a variable that is no setting of Plumbline's own", func(s string) bool {
				return variableName.MatchString(s) && !strings.HasPrefix(s, "PLUMBLINE_")
			}),
			Files: words("files", "/run/secrets/token", "write the whole path of one file", func(s string) bool { return filepath.IsAbs(s) && filepath.Clean(s) == s }),
		}
		for _, command := range r.items(values["commands"], "commands", "[[/usr/local/bin/token, plan]]") {
			var argv []string
			for _, n := range r.items(command, "an item of commands", "[/usr/local/bin/token, plan]") {
				if s := r.scalar(n, "a part of a command", false); s.set {
					argv = append(argv, s.text)
				}
			}
			if len(argv) > 0 && strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]) {
				r.wrong(r.at(command), "write the whole path of the program, or its name alone if it is on PATH", "commands of credentials has %s, which no plumbline.yaml can name", shown(argv[0]))
			} else if len(argv) > 0 {
				rule.Commands = append(rule.Commands, argv)
			}
		}
		if values["repos"] == nil {
			r.wrong(r.at(item), "name the repositories whose plumbline.yaml may name what stands here", "%s has no repos", what)
		}
		if n := values["env"]; n != nil {
			for _, name := range rule.Env {
				if slices.Contains(c.hidden, name) {
					r.wrong(r.at(n), "give it a variable of its own", "env of credentials has %s, which holds a secret of the server itself", shown(name))
				}
			}
		}
		c.credentials = append(c.credentials, rule)
	}
}
