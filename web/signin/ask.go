package signin

import (
	"context"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// As is who asks, as the engine is to know them: in a repository, or with "" for the server as a whole.
func (a *Asker) As(via string, repo engine.RepoID) engine.Asker {
	forge, _, _ := strings.Cut(string(repo), "/")
	login, _ := a.Account(forge)
	return engine.Asker{ID: a.id(), Name: a.Actor(), Login: login, Via: via, Own: a.machine, Everywhere: a.Everywhere() >= Admin}
}

// May is why somebody's role does not let them ask for something, in a sentence; "" if it does. What the engine's guard says
// is another thing. The error says that the forge could not be asked.
func (a *Asker) May(ctx context.Context, r engine.Request) (why string, err error) {
	least := Operator
	if (r.Action == engine.ActPause || r.Action == engine.ActResume) && len(r.Workspaces) == 0 {
		least = Admin
	}
	if r.Repository == "" {
		if a.Everywhere() < least {
			return fmt.Sprintf("It takes the role %s for all repositories.", least), nil
		}
		return "", nil
	}
	role, err := a.Role(ctx, r.Repository)
	if err != nil {
		return "", err
	}
	if role < least {
		return fmt.Sprintf("It takes the role %s there, and you have %s.", least, map[bool]string{true: "none", false: "that of a " + role.String()}[role == NoRole]), nil
	}
	return "", nil
}

// Offered reports whether a page is to offer something: their role lets them ask for it, and they are known where it takes
// somebody who is.
func (a *Asker) Offered(ctx context.Context, r engine.Request) bool {
	by := a.As(engine.ViaWeb, r.Repository)
	if why, err := a.May(ctx, r); why != "" || err != nil {
		return false
	}
	return !r.TakesPerson(by) || by.Login != ""
}
