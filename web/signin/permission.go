package signin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Forge says what somebody may do in a repository.
type Forge interface {
	Permission(ctx context.Context, repo forge.Repo, user string) (forge.Permission, error)
}

// How old an answer of a forge may be. To act it must be fresh. To look it may be older, the more so the more repositories
// there are: nobody's reading may use up what the forge lets this server ask in an hour.
const (
	actAge    = time.Minute
	lookAge   = 5 * time.Minute
	lookEach  = 6 * time.Second // for each repository
	mostAsked = 50_000          // answers that are kept
	atOnce    = 8               // questions
)

// permissions ask forges, and remember for a while what they have said.
type permissions struct {
	forges map[string]Forge
	now    func() time.Time
	asking singleflight.Group

	mu   sync.Mutex
	said map[string]saying
}

type saying struct {
	may forge.Permission
	at  time.Time
}

// of is what a login may do in a repository, as it was not longer ago than age.
func (p *permissions) of(ctx context.Context, id engine.RepoID, login string, age time.Duration) (forge.Permission, error) {
	name, rest, _ := strings.Cut(string(id), "/")
	client := p.forges[name]
	repo, err := forge.ParseRepo(rest)
	if client == nil || login == "" { // a forge that is served no more, or somebody without an account
		return forge.None, nil
	}
	if err != nil {
		return forge.None, fmt.Errorf("ask what somebody may do in %s: %w", id, err)
	}
	key := string(id) + " " + strings.ToLower(login)
	p.mu.Lock()
	known, ok := p.said[key]
	p.mu.Unlock()
	if since := p.now().Sub(known.at); ok && since >= 0 && since < age {
		return known.may, nil
	}
	answer, err, _ := p.asking.Do(key, func() (any, error) {
		// Whoever waits for the answer may give up; others wait for it, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
		defer cancel()
		at := p.now()
		may, err := client.Permission(ctx, repo, login)
		if errors.Is(err, forge.ErrNotFound) {
			may, err = forge.None, nil // a repository that is gone, or hidden from us, keeps nobody from the others
		}
		if err != nil {
			return forge.None, fmt.Errorf("ask %s what somebody may do in %s: %w", name, repo, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.said) >= mostAsked {
			clear(p.said)
		}
		p.said[key] = saying{may, at}
		return may, nil
	})
	if err != nil {
		return forge.None, err
	}
	may, _ := answer.(forge.Permission)
	return may, nil
}

// askTime is how long a forge has to answer.
const askTime = 10 * time.Second

// roleOf is the role that a permission of a forge allows at most.
func roleOf(may forge.Permission) Role {
	switch may {
	case forge.Read:
		return Viewer
	case forge.Write:
		return Operator
	case forge.Admin:
		return Admin
	}
	return NoRole
}

// all asks for many repositories at once, and returns those that may be read.
func (p *permissions) all(ctx context.Context, ids []engine.RepoID, accounts map[string]string) (map[engine.RepoID]bool, error) {
	age := max(lookAge, time.Duration(len(ids))*lookEach)
	var mu sync.Mutex
	readable := map[engine.RepoID]bool{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, id := range ids {
		group.Go(func() error {
			name, _, _ := strings.Cut(string(id), "/")
			may, err := p.of(ctx, id, accounts[name], age)
			if err == nil && may >= forge.Read {
				mu.Lock()
				readable[id] = true
				mu.Unlock()
			}
			return err
		})
	}
	return readable, group.Wait()
}
