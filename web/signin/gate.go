package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Options say who may sign in, how, and what they may then. All fields without a default are required.
type Options struct {
	DB    *database.DB
	Audit *audit.Log
	// PublicURL is where browsers reach the server, and where they are sent back to.
	PublicURL string
	// Ways are those of signing in, in the order in which they are offered.
	Ways []Way
	// Forges are asked what somebody may do, by name.
	Forges map[string]Forge
	Grants []Grant
	// Idle and Absolute are how long a session lasts without being used, and in all. 0: DefaultIdle and DefaultAbsolute.
	Idle, Absolute time.Duration
	Log            *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Gate lets people in. It may be used by many at once, and several servers may share a database.
type Gate struct {
	Options
	secure bool
	ways   []*way
	asked  *permissions
	limits limits // of signing in
	tries  limits // of wrong tokens: whoever tries those keeps nobody from signing in

	mu    sync.Mutex
	repos []engine.RepoID // that are known
	read  time.Time       // when
}

// New makes a Gate. Nothing is asked of anybody yet.
func New(o Options) (*Gate, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Absolute == 0 {
		o.Absolute = DefaultAbsolute
	}
	u, err := url.Parse(o.PublicURL)
	if err != nil || u.Host == "" || len(o.Ways) == 0 {
		return nil, errors.New("prepare the sign-in: it needs the public URL of this server, and a way to sign in")
	}
	g := &Gate{Options: o, secure: u.Scheme == "https", asked: &permissions{forges: o.Forges, now: o.Now, said: map[string]saying{}}, limits: limits{now: o.Now}, tries: limits{now: o.Now}}
	for _, w := range o.Ways {
		g.ways = append(g.ways, newWay(w, strings.TrimSuffix(o.PublicURL, "/")+"/sign-in/"+w.ID+"/back", o.Now))
	}
	return g, nil
}

// State is what a request brings of somebody who may be signed in.
type State int

// The states.
const (
	SignedOut State = iota
	SignedIn
	// Stale is somebody whose groups were asked too long ago. They must sign in once more, which usually goes unseen.
	Stale
)

// Asker finds who is signed in. It is nil if nobody is.
func (g *Gate) Asker(req *http.Request) (*Asker, State, error) {
	value := g.sent(req)
	s, err := g.session(req.Context(), value)
	if s == nil || err != nil {
		return nil, SignedOut, err
	}
	a := &Asker{gate: g, person: s.person, name: s.person.Name, form: digest("plumbline form\n" + value)}
	if age := g.Now().Sub(s.signedAt); age >= RenewAfter || age < -RenewAfter {
		return a, Stale, nil
	}
	return a, SignedIn, nil
}

// known are the repositories that rows tell of. A new one shows within seconds.
func (g *Gate) known(ctx context.Context) ([]engine.RepoID, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since := g.Now().Sub(g.read); since >= 0 && since < 5*time.Second {
		return g.repos, nil
	}
	repos, err := engine.RepositoryIDs(ctx, g.DB)
	if err != nil {
		return nil, fmt.Errorf("list the repositories: %w", err)
	}
	g.repos, g.read = repos, g.Now()
	return repos, nil
}

// role is what a person may do in a repository now.
func (g *Gate) role(ctx context.Context, p Person, repo engine.RepoID) (Role, error) {
	role := granted(g.Grants, p, repo)
	if role == NoRole || repo == "" {
		return NoRole, nil
	}
	forge, _, _ := strings.Cut(string(repo), "/")
	may, err := g.asked.of(ctx, repo, p.Accounts[forge], actAge)
	if err != nil {
		return NoRole, err
	}
	return min(role, roleOf(may)), nil
}

// sight is what a person sees now, of the repositories that patterns name.
func (g *Gate) sight(ctx context.Context, p Person, patterns []string) (engine.Sight, error) {
	all, err := g.known(ctx)
	if err != nil {
		return engine.Sight{}, err
	}
	var ask []engine.RepoID
	for _, id := range all {
		if covers(patterns, id) && granted(g.Grants, p, id) >= Viewer {
			ask = append(ask, id)
		}
	}
	sees, err := g.asked.all(ctx, ask, p.Accounts)
	if err != nil {
		return engine.Sight{}, err
	}
	if covers(patterns, "") && granted(g.Grants, p, "") >= Viewer {
		sees[""] = true
	}
	return engine.Only(func(id engine.RepoID) bool { return sees[id] }), nil
}

// Local is an address on this server that somebody may be sent to, or "/" for any other.
func Local(to string) string {
	u, err := url.Parse(to)
	switch {
	case err != nil, u.Scheme != "", u.Host != "", u.User != nil, u.Opaque != "",
		!strings.HasPrefix(to, "/"), strings.HasPrefix(to, "//"), len(to) > 2000,
		strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == '\\' || c >= 0x7f }),
		strings.HasPrefix(u.Path, "//"), strings.HasPrefix(u.Path, "/sign-"), strings.Contains(u.Path, "\\"):
		return "/"
	}
	return to
}
