package gitrepo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What errors.Is finds in the error of a fetch, where more can be said than
// that it failed.
var (
	// ErrAuth means that the other side refused the credential, or wanted one.
	ErrAuth = errors.New("the credential was refused")
	// ErrRefNotFound means that the other side has no ref of that name: a branch
	// that was deleted meanwhile.
	ErrRefNotFound = errors.New("no such ref at the other side")
	// ErrRemoteNotFound means that there is no such repository, or that it is
	// not shown to us.
	ErrRemoteNotFound = errors.New("no such repository, or not visible with this credential")
	// ErrUnreachable means that the other side did not answer, or not to the
	// end: another try may go better.
	ErrUnreachable = errors.New("could not be reached, or broke off")
)

// Credential is what Git needs to fetch over HTTP. The zero value is none: then
// Git's own configuration on this machine may have one.
type Credential struct{ Username, Password string }

// String hides the password.
func (c Credential) String() string { return c.Username + ":***" }

// GoString hides the password too.
func (c Credential) GoString() string { return c.String() }

// Fetch brings refs of the repository at address, and all that they lead to.
// Refspecs are as for "git fetch": "+refs/heads/main:refs/heads/main". Either
// all refs move or, if anything fails, none does. Concurrent fetches, of other
// processes too, take turns.
//
// The credential goes to the host of the address and to no other, even when
// that host redirects; it is in no argument, no file and no error. An address
// that holds one itself is refused.
//
// The error wraps [ErrAuth], [ErrRefNotFound], [ErrRemoteNotFound] or
// [ErrUnreachable] where one of them is the reason.
func (m *Mirror) Fetch(ctx context.Context, address string, cred Credential, refspecs ...string) error {
	err := m.fetch(ctx, address, cred, refspecs)
	if err != nil {
		return fmt.Errorf("fetch from %s: %w", withoutSecret(address, cred), err)
	}
	return nil
}

func (m *Mirror) fetch(ctx context.Context, address string, cred Credential, refspecs []string) error {
	if len(refspecs) == 0 {
		return errors.New("no refs were named")
	}
	for _, spec := range refspecs {
		from, to, ok := strings.Cut(strings.TrimPrefix(spec, "+"), ":")
		if !ok || !plainRef(strings.ReplaceAll(to, "*", "x")) || strings.ContainsAny(from, "\n\x00") || from == "" {
			return fmt.Errorf("refspec %q: write it as +refs/heads/NAME:refs/heads/NAME", spec)
		}
	}
	settings, err := m.settings(address, cred)
	if err != nil {
		return err
	}
	return m.exclusive(ctx, func(held *lock) error {
		// Waiting for others does not count.
		ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("not done after %s: %w", m.timeout, ErrUnreachable))
		defer cancel()
		g := held.git()
		g.env = settings.apply(g.env)
		err := g.fetch(ctx, address, cred, refspecs)
		if m.makeWay(ctx, held, err) {
			err = g.fetch(ctx, address, cred, refspecs)
		}
		return err
	})
}

func (g git) fetch(ctx context.Context, address string, cred Credential, refspecs []string) error {
	_, err := g.feed(ctx, strings.Join(refspecs, "\n")+"\n", "fetch", "--atomic", "--quiet",
		"--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
		"--no-show-forced-updates", "--no-prune", "--stdin", "--", address)
	var failed *gitError
	if !errors.As(err, &failed) {
		return err
	}
	failed.stderr = withoutSecret(failed.stderr, cred)
	if reason := fetchReason(failed.stderr); reason != nil {
		return fmt.Errorf("%w: %w", reason, failed)
	}
	return failed
}

// inTheWay is what Git says when a branch "a" is to become "a/b", or the other
// way round.
var inTheWay = regexp.MustCompile(`cannot lock ref '([^']+)': '([^']+)' exists; cannot create '([^']+)'`)

// makeWay deletes a ref of the mirror that cannot be at the other side any
// more, because one that excludes it is. It reports whether there was one.
func (m *Mirror) makeWay(ctx context.Context, held *lock, err error) bool {
	var failed *gitError
	if !errors.As(err, &failed) {
		return false
	}
	found := inTheWay.FindStringSubmatch(failed.stderr)
	if found == nil || !plainRef(found[2]) || strings.HasPrefix(found[2], keptRefs) {
		return false
	}
	held.unwell = true // the fetch may have left locks
	if held.clear() != nil {
		return false
	}
	_, err = held.git().feed(ctx, "option no-deref\ndelete "+found[2]+"\n", "update-ref", "--stdin")
	return err == nil
}

// settings is what one fetch adds to the environment of Git.
type settings struct {
	variables []string
	config    [][2]string
}

// settings makes them for an address. Configuration goes through the
// environment, which others on the machine cannot read.
func (m *Mirror) settings(address string, cred Credential) (settings, error) {
	s := settings{
		variables: []string{
			"GIT_ASKPASS=", // names no program, and hides that others do
		},
		config: [][2]string{
			{"http.lowSpeedLimit", "1000"},
			{"http.lowSpeedTime", strconv.Itoa(max(1, int(m.lowSpeed/time.Second)))},
			{"http.followRedirects", "initial"},
			{"protocol.version", "2"},
			{"transfer.credentialsInUrl", "die"},
		},
	}
	scheme, err := addressScheme(address)
	if err != nil {
		return settings{}, err
	}
	s.variables = append(s.variables, "GIT_ALLOW_PROTOCOL="+strings.Join(allowedProtocols(scheme), ":"))
	if cred == (Credential{}) || scheme != "http" && scheme != "https" {
		return s, nil
	}
	if strings.ContainsAny(cred.Username+cred.Password, "\n\r\x00") {
		return settings{}, errors.New("the credential holds a line break or a zero byte")
	}
	u, err := url.Parse(address)
	if err != nil {
		return settings{}, errors.New("the address is no URL")
	}
	// A helper is asked for one host at a time, and so knows nothing of others
	// that a redirect leads to. A header would go along.
	// https://git-scm.com/docs/gitcredentials
	s.variables = append(s.variables, "PLUMBLINE_GIT_USERNAME="+cred.Username, "PLUMBLINE_GIT_PASSWORD="+cred.Password)
	s.config = append(s.config,
		[2]string{"credential.helper", ""}, // those of the machine, which might keep it
		[2]string{"credential." + scheme + "://" + u.Host + ".helper", credentialHelper})
	return s, nil
}

// credentialHelper answers from its environment; see credentialEnvironment.
const credentialHelper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$PLUMBLINE_GIT_USERNAME" "$PLUMBLINE_GIT_PASSWORD"; }; f`

// addressScheme tells how an address is reached, and refuses what Git would
// take for a program to run, and what holds a secret.
func addressScheme(address string) (string, error) {
	if scheme := urlScheme.FindString(address); scheme != "" {
		name := strings.ToLower(strings.TrimSuffix(scheme, "://"))
		u, err := url.Parse(address)
		if err != nil {
			return "", errors.New("the address is no URL")
		}
		if !slices.Contains([]string{"http", "https", "ssh", "file"}, name) {
			return "", fmt.Errorf("the protocol %q is not used; give an address with https, http, ssh or file", name)
		}
		if _, secret := u.User.Password(); secret || u.User != nil && name != "ssh" {
			return "", errors.New("the address holds a credential; give it apart")
		}
		return name, nil
	}
	if helperPrefix.MatchString(address) || strings.HasPrefix(address, "-") {
		return "", errors.New("the address is no URL")
	}
	if filepath.IsAbs(address) {
		return "file", nil
	}
	if host, _, ok := strings.Cut(address, ":"); ok && host != "" && !strings.Contains(host, "/") {
		return "ssh", nil
	}
	return "", errors.New("the address is no URL")
}

// allowedProtocols leaves out SSH, which runs a program of the user's choice,
// unless the address says so: a redirect or a rewritten URL may not choose it.
func allowedProtocols(scheme string) []string {
	switch scheme {
	case "http", "https":
		return []string{"http", "https"}
	default:
		return []string{scheme}
	}
}

// apply adds the settings to an environment, which may hold configuration too:
// https://git-scm.com/docs/git-config#ENVIRONMENT
func (s settings) apply(env []string) []string {
	count := 0
	kept := make([]string, 0, len(env)+len(s.variables)+2*len(s.config)+2)
	ssh := false
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "GIT_CONFIG_COUNT":
			count, _ = strconv.Atoi(value)
			continue
		case "SSH_ASKPASS", "GIT_ASKPASS":
			continue
		case "GIT_SSH", "GIT_SSH_COMMAND":
			ssh = true
		}
		kept = append(kept, v)
	}
	if !ssh {
		kept = append(kept, "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=30")
	}
	kept = append(kept, s.variables...)
	for _, c := range s.config {
		kept = append(kept, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count, c[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, c[1]))
		count++
	}
	return append(kept, "GIT_CONFIG_COUNT="+strconv.Itoa(count))
}

// withoutSecret takes a credential out of a text, in the forms in which servers
// and proxies repeat it.
func withoutSecret(text string, cred Credential) string {
	text = credentials.ReplaceAllString(text, "://")
	if cred.Password == "" {
		return text
	}
	for _, form := range []string{
		base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password)),
		cred.Password, url.QueryEscape(cred.Password), url.PathEscape(cred.Password),
	} {
		text = strings.ReplaceAll(text, form, "***")
	}
	return text
}

// fetchReasons are what Git, curl and ssh say, and what it comes to. The first
// that fits counts. A fault of this machine comes first: trying again, or with
// another credential, does not help it.
var fetchReasons = []struct {
	says   *regexp.Regexp
	reason error
}{
	{regexp.MustCompile(`No space left on device|Disk quota exceeded|Read-only file system|Input/output error|File exists|unable to (create|write|open|append)|cannot (lock|store|open|update)|insufficient permission|Too many open files`), nil},
	{regexp.MustCompile(`couldn't find remote ref|no matching remote head`), ErrRefNotFound},
	{regexp.MustCompile(`Authentication failed|could not read (Username|Password)|returned error: 40[13]|Permission denied \(|Access denied|HTTP 40[13]`), ErrAuth},
	{regexp.MustCompile(`repository '.*' not found|returned error: 404|Repository not found|does not appear to be a git repository|does not exist`), ErrRemoteNotFound},
	{regexp.MustCompile(`Could not resolve host|Failed to connect|Couldn't connect|Connection (refused|reset|timed out|closed)|Operation (too slow|timed out)|early EOF|unexpected (disconnect|EOF)|RPC failed|hung up|unable to access|Could not read from remote|returned error: (5\d\d|429)|bad (pack|line length)|invalid index-pack output|index-pack (abnormal exit|died|failed)|expected flush|transfer closed|protocol error|Empty reply|unable to rewind`), ErrUnreachable},
}

// fetchReason finds out why a fetch failed, or returns nil.
func fetchReason(stderr string) error {
	for _, r := range fetchReasons {
		if r.says.MatchString(stderr) {
			return r.reason
		}
	}
	return nil
}
