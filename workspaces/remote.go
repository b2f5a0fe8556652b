package workspaces

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	exactVersion = regexp.MustCompile(`^\s*=?\s*v?\d+(\.\d+){0,2}([-+][0-9A-Za-z.+-]+)?\s*$`)
	commitRef    = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
	tagRef       = regexp.MustCompile(`(^|[/_-])v?\d+\.\d+\.\d+([-+.][0-9A-Za-z.+-]*)?$|^v\d+\.\d+$`)
	registryName = regexp.MustCompile(`^([0-9A-Za-z.-]+\.[0-9A-Za-z.-]+(:\d+)?/)?[0-9A-Za-z_-]+/[0-9A-Za-z_-]+/[0-9A-Za-z_-]+(//.*)?$`)
	gitHosts     = regexp.MustCompile(`^(github\.com|bitbucket\.org|gitlab\.com)/`)
)

// floats reports whether a remote module may become another one while the
// configuration stays as it is. A tag can be moved too, but whoever names one
// means one thing; a branch is meant to move.
func floats(source, version string) bool {
	if registryName.MatchString(source) && !gitHosts.MatchString(source) {
		return !exactVersion.MatchString(version)
	}
	_, query, _ := strings.Cut(source, "?")
	args, err := url.ParseQuery(query)
	if err != nil {
		return true
	}
	if args.Has("checksum") || args.Has("digest") || args.Has("versionId") {
		return false
	}
	for _, name := range []string{"ref", "rev", "tag"} {
		if ref := args.Get(name); commitRef.MatchString(ref) || tagRef.MatchString(strings.TrimPrefix(ref, "refs/tags/")) {
			return false
		}
	}
	return true
}
