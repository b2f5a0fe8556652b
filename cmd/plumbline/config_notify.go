package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/internal/notify"
)

// notifyConfig is one item under "notify".
type notifyConfig struct {
	name   string
	url    string // a secret
	target *notify.Target
}

var (
	notifyKeys     = []string{"name", "url", "when", "digest"}
	notifyWhenKeys = []string{"class", "cause", "workspaces", "repos", "state"}
)

// Bounds of how long events are gathered for.
const (
	minDigest = time.Minute
	maxDigest = 24 * time.Hour
)

// notify reads who is told of drift.
func (r *configReader) notify(c *serverConfig, n *yaml.Node, mode os.FileMode) {
	names := map[string]int{}
	for i, item := range r.items(n, "notify", "- url: ${SLACK_URL}") {
		values := r.mapping(item, "an item of notify", notifyKeys...)
		if values == nil {
			continue
		}
		t := notifyConfig{name: fmt.Sprintf("notify-%d", i+1)}
		if s := r.scalar(values["name"], "name", false); s.set {
			t.name = s.text
			if !forgeName.MatchString(s.text) {
				r.wrong(s.place, "write letters, digits and . _ -, beginning with a letter or digit, at most 63", "name is %s", shown(s.written))
			}
		}
		if first, twice := names[strings.ToLower(t.name)]; twice {
			r.wrong(r.at(item), "give one of them a name of its own with name", "two items of notify have the name %s, the other on line %d", shown(t.name), first)
		}
		names[strings.ToLower(t.name)] = item.Line
		rule := r.notifyRule(values["when"])
		var digest time.Duration
		if s := r.scalar(values["digest"], "digest", false); s.set && s.text != "off" && s.text != "false" {
			if digest = r.duration(s, "digest", minDigest, time.Hour); digest > maxDigest {
				r.wrong(s.place, "write one from 1m to 24h", "digest is %s", shown(s.written))
			}
		}
		address := r.scalar(values["url"], "url", true)
		switch {
		case values["url"] == nil:
			r.wrong(r.at(item), "write url: ${NAME}, with an address as docs/serve.md describes", "an item of notify has no url")
			continue
		case !address.set:
			continue
		}
		c.hidden = append(c.hidden, address.variables...)
		if len(address.variables) == 0 && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			r.warn(address.place, "take it from the environment with ${NAME}, or run chmod 600 on the file", "url stands in a file that others can read: who has it can write there")
		}
		var err error
		if t.target, err = notify.Open(t.name, address.text, rule, digest); err != nil {
			r.wrong(address.place, "see docs/serve.md for addresses", "url of %s: %v", shown(t.name), err)
			continue
		}
		t.url = address.text
		c.notify = append(c.notify, t)
	}
}

// notifyRule reads which events are wanted.
func (r *configReader) notifyRule(n *yaml.Node) notify.Rule {
	var rule notify.Rule
	if n == nil {
		return rule
	}
	values := r.mapping(n, "when", notifyWhenKeys...)
	words := func(key string, known ...string) (list []string) {
		v := values[key]
		if v == nil {
			return nil
		}
		items := []*yaml.Node{v}
		if v.Kind != yaml.ScalarNode {
			items = r.items(v, key, "["+known[0]+"]")
		}
		for _, item := range items {
			s := r.scalar(item, key, false)
			if s.set && len(known) > 1 {
				s.text = r.choice(s, key+" of when", "", known...)
			}
			if s.set && s.text != "" {
				list = append(list, s.text)
				if len(known) == 1 {
					if err := notify.CheckGlob(s.text); err != nil {
						r.wrong(s.place, "write a pattern such as "+known[0], "%s of when has %s, which is no pattern", key, shown(s.written))
					}
				}
			}
		}
		return list
	}
	rule.Classes = words("class", "cluster", "node", "resource")
	rule.Causes = words("cause", "outside", "unapplied", "upgrade", "data", "perpetual")
	rule.Workspaces = words("workspaces", "prod/**")
	rule.Repos = words("repos", "acme/*")
	known := make([]string, 0, len(notify.States))
	for _, s := range notify.States {
		known = append(known, string(s))
	}
	slices.Sort(known)
	for _, s := range words("state", known...) {
		rule.States = append(rule.States, notify.State(s))
	}
	return rule
}

// targets are who is told of drift.
func (c *serverConfig) targets() []*notify.Target {
	list := make([]*notify.Target, 0, len(c.notify))
	for _, t := range c.notify {
		list = append(list, t.target)
	}
	return list
}
