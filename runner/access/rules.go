package access

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// Rule is what an operator lets the plumbline.yaml of some repositories name. Whoever can merge into their base branches then
// decides on it; nobody else.
type Rule struct {
	// Repos are patterns of repositories, OWNER/NAME or FORGE/OWNER/NAME, in which * stands for anything but a slash.
	Repos []string
	// Roles are patterns of ARNs, in which * stands for anything but a colon.
	Roles []string
	// Env are names of environment variables, Files absolute paths, and Commands whole commands with their arguments: as they
	// are, without patterns.
	Env, Files []string
	Commands   [][]string
}

// concerns reports whether the rule is about a repository.
func (r Rule) concerns(repository string) bool {
	_, short, _ := strings.Cut(repository, "/")
	return slices.ContainsFunc(r.Repos, func(pattern string) bool {
		pattern, repository, short := strings.ToLower(pattern), strings.ToLower(repository), strings.ToLower(short)
		whole, _ := path.Match(pattern, repository) // a bad pattern matches nothing
		half, _ := path.Match(pattern, short)
		return whole || half
	})
}

func (b *Broker) allows(repository string, by func(Rule) bool) bool {
	return b.opts.Anything || slices.ContainsFunc(b.opts.Rules, func(r Rule) bool { return r.concerns(repository) && by(r) })
}

// notAllowed is the error of what no rule allows.
func notAllowed(repository, what, key string) error {
	return fmt.Errorf("the server's configuration does not let the plumbline.yaml of %s name %s: an operator adds it there to %s of an item of credentials (docs/credentials.md)",
		repository, what, key)
}

func (b *Broker) allowsRole(repository, arn string) error {
	if b.allows(repository, func(r Rule) bool {
		return slices.ContainsFunc(r.Roles, func(p string) bool { return matchARN(p, arn) })
	}) {
		return nil
	}
	return notAllowed(repository, arn, "roles")
}

func (b *Broker) allowsSource(repository string, s workspaces.Source) error {
	var what, key string
	var by func(Rule) bool
	switch {
	case s.File != "":
		what, key, by = "the file "+s.File, "files", func(r Rule) bool { return slices.Contains(r.Files, s.File) }
	case s.Env != "":
		what, key, by = "the environment variable "+s.Env, "env", func(r Rule) bool { return slices.Contains(r.Env, s.Env) }
	default:
		what, key = fmt.Sprintf("the command %q", s.Command), "commands"
		by = func(r Rule) bool {
			return slices.ContainsFunc(r.Commands, func(c []string) bool { return slices.Equal(c, s.Command) })
		}
	}
	if b.allows(repository, by) {
		return nil
	}
	return notAllowed(repository, what, key)
}

// matchARN matches a pattern in which * stands for anything but a colon: it cannot reach into another account.
func matchARN(pattern, arn string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	arn, ok := strings.CutPrefix(arn, first)
	if !ok {
		return false
	}
	if !more {
		return arn == ""
	}
	for i := 0; ; i++ {
		if matchARN(rest, arn[i:]) {
			return true
		}
		if i == len(arn) || arn[i] == ':' {
			return false
		}
	}
}
