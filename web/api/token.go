package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/plumbline-dev/plumbline/web/signin"
)

// Token is an API token of whoever asks, without what it reads: that is shown once, when it is made on the page.
type Token struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Role         string   `json:"role"`
	Repositories []string `json:"repositories"` // patterns; none for all
	CreatedAt    Time     `json:"created_at"`
	ExpiresAt    Time     `json:"expires_at"`
	UsedAt       Time     `json:"used_at"`
	RevokedAt    Time     `json:"revoked_at"`
}

func tokenOf(t signin.Token) Token {
	return Token{
		ID: t.ID, Name: t.Name, Role: t.Role.String(), Repositories: texts(t.Repos),
		CreatedAt: at(t.CreatedAt), ExpiresAt: at(t.ExpiresAt), UsedAt: at(t.UsedAt), RevokedAt: at(t.RevokedAt),
	}
}

func (a *API) tokens(*call) work {
	return func(ctx context.Context) (any, error) {
		list, err := signin.From(ctx).Tokens(ctx)
		var nobody *signin.WrongError
		if err != nil && !errors.As(err, &nobody) { // where nobody can sign in there are none
			return nil, err
		}
		return List[Token]{Items: all(list, tokenOf)}, nil
	}
}

// revoke ends the token that is shown. It ends no other one, and makes none: who has stolen a token must not outlive it.
func (a *API) revoke(c *call) work {
	id := c.id()
	return func(ctx context.Context) (any, error) {
		who := signin.From(ctx)
		ok, err := who.RevokeToken(ctx, id)
		var wrong *signin.WrongError
		switch {
		case errors.As(err, &wrong):
			return nil, problem(kindForbidden, wrong.Why)
		case err != nil:
			return nil, err
		case !ok:
			return nil, problem(kindNotFound, "There is no such token, or it holds no more.")
		}
		list, err := who.Tokens(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if t.ID == id {
				return reply{status: http.StatusOK, value: tokenOf(t)}, nil
			}
		}
		return nil, problem(kindNotFound, "There is no such token any more.")
	}
}
