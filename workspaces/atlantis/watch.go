package atlantis

import (
	"path"
	"slices"
	"strings"
)

// whenModifiedDefault is what Atlantis watches in a project that does not say, from the project's directory down.
var whenModifiedDefault = []string{"**/*.tf*", "**/*.tofu", "**/*.tofu.json", "**/terragrunt.hcl", "**/.terraform.lock.hcl"}

// whenModified translates the patterns of files whose change plans a project.
//
// Atlantis plans a project only when a pattern matches; here a workspace's own files, its local modules and its variable
// files always count, and watch adds to them. So patterns for the directory's own files are not needed, and those that take
// something back (!) have no equal.
func (m *migration) whenModified(e *entry) {
	patterns := e.project.Autoplan.WhenModified
	if patterns.Line == 0 {
		if !m.hasProjectBelow(e.Dir) {
			return
		}
		// Atlantis' patterns take in the projects below; ours leave those to themselves unless told.
		e.Watch = slices.Clone(whenModifiedDefault)
		return
	}
	for _, p := range patterns.Items {
		pattern := strings.TrimSpace(p.Value)
		if strings.HasPrefix(pattern, "!") {
			m.noteAt(e, "watch", p.Line, "autoplan.when_modified", "%s has no equal; a workspace's own files, its local modules and what is watched always plan it", quote(pattern))
			continue
		}
		if pattern == "" {
			continue
		}
		pattern = path.Clean(strings.TrimLeft(pattern, "/"))
		if ownFile(pattern) || slices.Contains(whenModifiedDefault, pattern) && !m.hasProjectBelow(e.Dir) {
			continue
		}
		watch, ok := doublestarOf(pattern)
		if !ok {
			m.noteAt(e, "watch", p.Line, "autoplan.when_modified", "%s is a pattern with no equal", quote(pattern))
			continue
		}
		if m.accepts(e, "watch", text{Line: p.Line, key: "autoplan.when_modified"}, []string{watch}) {
			e.Watch = appendNew(e.Watch, watch)
		}
	}
}

// hasProjectBelow reports whether another project's directory is inside dir.
func (m *migration) hasProjectBelow(dir string) bool {
	return slices.ContainsFunc(m.in.Projects, func(p project) bool {
		other := path.Clean("./" + p.Dir.Value)
		return other != dir && (dir == "." || strings.HasPrefix(other, dir+"/"))
	})
}

// ownFile reports whether a pattern can only match files that stand in the workspace's directory itself.
func ownFile(pattern string) bool {
	return !strings.Contains(pattern, "/") && !strings.Contains(pattern, "**") && pattern != ".." && !namesDirectory(pattern)
}

// namesDirectory reports whether the last part of a pattern may be a directory: it matches all that is below, then. A name
// with a dot or a wildcard is taken for a file's.
func namesDirectory(pattern string) bool {
	last := path.Base(pattern)
	return last == "." || last == ".." || !strings.ContainsAny(last, ".*?[")
}

// doublestarOf writes a pattern of Atlantis, which has the syntax of .dockerignore, as one of ours. The differences: there
// ** also counts inside a name (a**b), a pattern that matches a directory matches all below it, and braces are plain
// characters.
func doublestarOf(pattern string) (string, bool) {
	if strings.Contains(pattern, `\`) {
		return "", false
	}
	parts := strings.Split(strings.NewReplacer("{", "[{]", "}", "[}]").Replace(pattern), "/")
	for i, part := range parts {
		if part == "**" || !strings.Contains(part, "**") {
			continue
		}
		before, after, _ := strings.Cut(part, "**")
		if strings.Contains(after, "**") {
			return "", false
		}
		parts[i] = "{" + before + "*" + after + "," + before + "*/**/*" + after + "}"
	}
	last := len(parts) - 1
	switch {
	case parts[last] == "*":
		parts[last] = "**"
	case namesDirectory(pattern) && (parts[last] == "." || parts[last] == ".."):
		parts = append(parts, "**")
	case namesDirectory(pattern):
		parts[last] += "{,/**}"
	}
	return strings.Join(parts, "/"), true
}
