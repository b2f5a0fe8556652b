package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// ownersFiles are where forges look for who owns what.
var ownersFiles = []string{".github/CODEOWNERS", ".gitea/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}

// owners are who is to know of a workspace's drift: the owners of ignore rules that are about one of the findings, and who
// owns the directory in the default branch. Logins come first, then what nobody can be assigned by, such as teams.
func (e *Engine) owners(ctx context.Context, repo Repository, w WorkspaceRow, tip string, addresses []string) (logins, others []string, err error) {
	var settings workspaces.Workspace
	if w.Settings != "" {
		if err := json.Unmarshal([]byte(w.Settings), &settings); err != nil {
			return nil, nil, err
		}
	}
	var names []string
	for _, rule := range settings.Drift.Ignore {
		if rule.Owner != "" && slices.ContainsFunc(addresses, func(address string) bool { return wildcard(rule.Address, address) }) {
			names = append(names, rule.Owner)
		}
	}
	if tip != "" {
		c, err := e.clone(ctx, repo)
		if err != nil {
			return nil, nil, err
		}
		tree, err := c.tree(ctx, tip)
		if err != nil { // another machine may have looked
			if _, err := c.fetchBranch(ctx, repo.DefaultBranch); err != nil {
				return nil, nil, err
			}
			tree, err = c.tree(ctx, tip)
		}
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = tree.Close() }()
		for _, name := range ownersFiles {
			text, err := tree.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			names = append(names, ownersOf(string(text), path.Join(w.Dir, "main.tf"))...)
			break
		}
	}
	for _, name := range names {
		login, at := strings.CutPrefix(name, "@")
		switch {
		case at && ownerLogin.MatchString(login) && !slices.Contains(logins, login):
			logins = append(logins, login)
		case !(at && ownerLogin.MatchString(login)) && !slices.Contains(others, name):
			others = append(others, name)
		}
	}
	const most = 5
	return logins[:min(len(logins), most)], others[:min(len(others), most)], nil
}

// ownerLogin is a person's login; a team has a slash.
var ownerLogin = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ownersOf reads who owns a file: the last line that names it counts. GitHub writes patterns as in .gitignore, Gitea writes
// regular expressions; what has signs that only these have is read as one.
func ownersOf(text, file string) []string {
	var owners []string
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), " #")
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if owns(fields[0], file) {
			owners = fields[1:] // none is an answer too
		}
	}
	return owners
}

func owns(pattern, file string) bool {
	if strings.ContainsAny(pattern, `^$()|+\`) || strings.Contains(pattern, ".*") {
		negated := strings.HasPrefix(pattern, "!")
		re, err := regexp.Compile("^(?:" + strings.TrimPrefix(pattern, "!") + ")$")
		return err == nil && re.MatchString(file) != negated
	}
	anchored := strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	inside := strings.HasSuffix(pattern, "/")
	pattern = strings.Trim(pattern, "/")
	if !anchored {
		pattern = "**/" + pattern
	}
	match := func(p string) bool {
		ok, err := doublestar.Match(p, file)
		return err == nil && ok
	}
	// A directory owns what is in it; "dir/*" is only what lies in dir itself.
	return !inside && match(pattern) || !strings.HasSuffix(pattern, "/*") && match(pattern+"/**")
}

// wildcard matches an address with the pattern of an ignore rule: * stands for any characters, ? for one.
func wildcard(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for i := 0; i <= len(s); i++ {
				if wildcard(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
		default:
			if s == "" || s[0] != pattern[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}
