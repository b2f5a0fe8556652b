package signin

import (
	"path"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Person is somebody who has signed in, as of the last time.
type Person struct {
	// ID is the way of signing in and what it calls the person for good, such as github:1234: logins may change hands.
	ID string `json:"id"`
	// Name is for people.
	Name string `json:"name"`
	// Accounts are the logins on forges, by the forge's name.
	Accounts map[string]string `json:"accounts,omitempty"`
	// Mail is an address that the way of signing in has verified; "" for none.
	Mail string `json:"mail,omitempty"`
	// Groups are those that an OIDC provider tells, as GROUP, and teams of forges, as FORGE:ORG/TEAM.
	Groups []string `json:"groups,omitempty"`
}

// Grant gives a role to some people in some repositories.
type Grant struct {
	Role Role
	// Repos are patterns: OWNER/NAME on any forge or FORGE/OWNER/NAME, where * stands for any characters but /, or * alone
	// for all repositories and the server as a whole. None is the same as *.
	Repos []string
	// People are logins as FORGE:LOGIN, verified mail addresses, or ids of the OIDC provider as oidc:SUBJECT; * is everybody
	// who can sign in.
	People []string
	// Groups are those of the OIDC provider, and Teams those of forges, as FORGE:ORG/TEAM.
	Groups, Teams []string
}

// to reports whether a grant is for a person.
func (g Grant) to(p Person) bool {
	for _, who := range g.People {
		switch forge, login, isAccount := strings.Cut(who, ":"); {
		case who == "*":
			return true
		case strings.HasPrefix(who, oidcPrefix) && who == p.ID: // github:1234 is a login, and not the number that GitHub has given somebody
			return true
		case isAccount && p.Accounts[forge] != "" && strings.EqualFold(p.Accounts[forge], login):
			return true
		case !isAccount && p.Mail != "" && strings.EqualFold(who, p.Mail):
			return true
		}
	}
	return slices.ContainsFunc(g.Groups, func(group string) bool { return slices.Contains(p.Groups, groupPrefix+group) }) ||
		slices.ContainsFunc(g.Teams, func(team string) bool { return slices.Contains(p.Groups, strings.ToLower(team)) })
}

// oidcPrefix is of what the OIDC provider calls people, and groupPrefix keeps its groups apart from teams of forges: no forge
// whose accounts sign in is called so.
const (
	oidcPrefix  = OIDCWay + ":"
	groupPrefix = oidcPrefix
)

// covers reports whether patterns name a repository, or with "" the server as a whole.
func covers(patterns []string, repo engine.RepoID) bool {
	if len(patterns) == 0 {
		return true
	}
	_, name, _ := strings.Cut(string(repo), "/")
	for _, pattern := range patterns {
		if pattern == "*" {
			return true
		}
		if repo == "" {
			continue
		}
		text := name
		if strings.Count(pattern, "/") == 2 {
			text = string(repo)
		}
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(text)); ok && err == nil {
			return true
		}
	}
	return false
}

// granted is the highest role that grants give a person in a repository, or with "" in the server as a whole.
func granted(grants []Grant, p Person, repo engine.RepoID) Role {
	role := NoRole
	for _, g := range grants {
		if g.Role > role && covers(g.Repos, repo) && g.to(p) {
			role = g.Role
		}
	}
	return role
}

// anyGrant reports whether a person has a role anywhere.
func anyGrant(grants []Grant, p Person) bool {
	return slices.ContainsFunc(grants, func(g Grant) bool { return g.Role > NoRole && g.to(p) })
}
