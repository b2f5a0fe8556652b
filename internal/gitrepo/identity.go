package gitrepo

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// defaultPorts of the schemes that name the same repository and are left out of
// an identity.
var defaultPorts = map[string]string{
	"http": ":80", "https": ":443", "ssh": ":22", "git": ":9418", "git+ssh": ":22", "ssh+git": ":22",
}

var (
	urlScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	// A remote helper: https://git-scm.com/docs/gitremote-helpers
	helperPrefix = regexp.MustCompile(`^[A-Za-z0-9-]+::`)
	drivePrefix  = regexp.MustCompile(`^[A-Za-z]:[\\/]`)
)

// identify makes the stable name of a repository from the address of its origin
// (may be "") and its common Git directory. The forms that an address can have:
// https://git-scm.com/docs/git-clone#_git_urls
func identify(origin, commonDir string) string {
	if origin == "" {
		return commonDir
	}
	if helper := helperPrefix.FindString(origin); helper != "" {
		return helper + identify(origin[len(helper):], commonDir)
	}
	if scheme := urlScheme.FindString(origin); scheme != "" {
		rest := origin[len(scheme):]
		name := strings.ToLower(strings.TrimSuffix(scheme, "://"))
		if name == "file" {
			return cleanLocal(rest, commonDir)
		}
		host, repo, _ := strings.Cut(rest, "/")
		host = host[strings.LastIndex(host, "@")+1:]
		repo, _, _ = strings.Cut(repo, "?") // where some put a token
		repo, _, _ = strings.Cut(repo, "#")
		port, known := defaultPorts[name]
		id := cleanRemote(strings.TrimSuffix(strings.ToLower(host), port), repo)
		if !known {
			id = name + "://" + id
		}
		return id
	}
	// [user@]host:path, unless a slash comes before the colon.
	place := origin
	if user, after, ok := strings.Cut(place, "@"); ok && !strings.Contains(user, "/") && strings.Contains(after, ":") {
		place = after
	}
	host, repo, ok := strings.Cut(place, ":")
	if ok && !strings.Contains(host, "/") && !drivePrefix.MatchString(place) {
		return cleanRemote(strings.ToLower(host), repo)
	}
	return cleanLocal(origin, commonDir)
}

func cleanRemote(host, repo string) string {
	repo = strings.TrimRight(repo, "/")
	repo = strings.TrimSuffix(repo, ".git")
	return host + strings.TrimSuffix(path.Clean("/"+repo), "/")
}

// cleanLocal makes a local origin absolute. A relative one counts from the main
// work tree, so that linked work trees agree.
func cleanLocal(dir, commonDir string) string {
	if !filepath.IsAbs(dir) {
		base := commonDir
		if filepath.Base(base) == ".git" {
			base = filepath.Dir(base)
		}
		dir = filepath.Join(base, dir)
	}
	return strings.TrimSuffix(filepath.Clean(dir), string(filepath.Separator)+".git")
}
