// Package signin knows who asks the web server, and what they may see and do.
//
// The life of an Asker: the web server makes one for each request, out of what the request brings: the cookie of a session, an API
// token, or nothing, on a server for its own machine. A session begins when somebody comes back from a way of signing in, which
// has told who they are (flow.go), and tokens are made by those who have one. Both are kept as hashes. The Asker travels in the request's context; From finds it. What it may do is asked of it when it is needed, and
// worked out anew then, so that what somebody loses is gone with the next request.
//
// It decides nothing about plans and applies: whatever somebody may ask for here passes the same gate as a comment on the forge.
package signin

import (
	"context"
	"crypto/subtle"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Role is what somebody may do. Higher ones include the lower ones.
type Role int

// The roles.
const (
	NoRole   Role = iota // nothing, and sees nothing
	Viewer               // sees
	Operator             // asks for plans, applies and looks, unlocks, pauses a workspace
	Admin                // and pauses a repository, or everything where the role is for all
)

var roleNames = []string{"no role", "viewer", "operator", "admin"}

func (r Role) String() string {
	if r < NoRole || r > Admin {
		return "no role"
	}
	return roleNames[r]
}

// Asker is who asks, in one request. The zero value may do nothing.
type Asker struct {
	machine bool
	name    string
	form    string
	gate    *Gate // nil without a person
	person  Person
	token   *Token // nil without one: it limits what the person may
}

// Machine makes the Asker of a server on which nobody signs in, and that only its own machine reaches. It sees everything and
// may do what the command line on that machine may; it has no account on any forge, so what is done in somebody's name there
// is not for it.
func Machine() *Asker { return &Asker{machine: true, name: "this machine", form: secret()} }

type key struct{}

// With puts an Asker into a context.
func With(ctx context.Context, a *Asker) context.Context { return context.WithValue(ctx, key{}, a) }

// From is the Asker of a request: one that may do nothing if there is none.
func From(ctx context.Context) *Asker {
	if a, ok := ctx.Value(key{}).(*Asker); ok {
		return a
	}
	return &Asker{}
}

// Name is who asks, for people.
func (a *Asker) Name() string { return a.name }

// Actor is who asks, for the audit log: with what the name stands for.
func (a *Asker) Actor() string {
	switch {
	case a.gate == nil:
		return a.name
	case a.token != nil:
		return a.person.actor() + " by the token " + a.token.ID
	}
	return a.person.actor()
}

// id is who asks, the same however they are called: by it the keys of requests are told apart.
func (a *Asker) id() string {
	switch {
	case a.gate == nil:
		return a.name
	case a.token != nil:
		return a.person.ID + " by the token " + a.token.ID
	}
	return a.person.ID
}

// Person is what somebody is called for good, by whichever session or token they ask; "" for the machine itself.
func (a *Asker) Person() string { return a.person.ID }

// IsMachine reports whether nobody has signed in because nobody can: see Machine.
func (a *Asker) IsMachine() bool { return a.machine }

// Account is the login on a forge under which somebody acts there; ok is false for those who have none.
func (a *Asker) Account(forge string) (login string, ok bool) {
	login = a.person.Accounts[forge]
	return login, login != ""
}

// Some reports whether somebody has a role anywhere.
func (a *Asker) Some() bool { return a.machine || a.gate != nil && anyGrant(a.gate.Grants, a.person) }

// Role is what somebody may do in a repository now. The error says that the forge could not be asked: nothing is allowed then.
func (a *Asker) Role(ctx context.Context, repo engine.RepoID) (Role, error) {
	switch {
	case a.machine:
		return Admin, nil
	case a.gate == nil, a.token != nil && !covers(a.token.Repos, repo):
		return NoRole, nil
	}
	role, err := a.gate.role(ctx, a.person, repo)
	return a.capped(role), err
}

// capped is a role as far as the token lets it be.
func (a *Asker) capped(role Role) Role {
	if a.token != nil {
		return min(role, a.token.Role)
	}
	return role
}

// Everywhere is what somebody may do with the server as a whole, such as pausing everything.
func (a *Asker) Everywhere() Role {
	switch {
	case a.machine:
		return Admin
	case a.gate == nil, a.token != nil && !covers(a.token.Repos, ""):
		return NoRole
	}
	return a.capped(granted(a.gate.Grants, a.person, ""))
}

// Sight is what somebody sees now. The error says that a forge could not be asked.
func (a *Asker) Sight(ctx context.Context) (engine.Sight, error) {
	switch {
	case a.machine:
		return engine.Everything(), nil
	case a.gate == nil:
		return engine.Sight{}, nil
	case a.token != nil:
		return a.gate.sight(ctx, a.person, a.token.Repos)
	}
	return a.gate.sight(ctx, a.person, nil)
}

// FormToken is what each form that does something carries in the field FormField: a page of another site does not know it.
func (a *Asker) FormToken() string { return a.form }

// FormField is the field of FormToken.
const FormField = "form"

// SentForm reports whether a form was made for this Asker.
func (a *Asker) SentForm(token string) bool {
	return a.form != "" && subtle.ConstantTimeCompare([]byte(a.form), []byte(token)) == 1
}
