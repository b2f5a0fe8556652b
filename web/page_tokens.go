package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/web/signin"
)

type (
	tokensView struct {
		Form    string
		Tokens  []tokenLine
		Made    string // the text of a token that was just made: it is shown this once
		Problem string // what is wrong with what was asked for
		Name    string // what was asked for
		Repos   string
		Days    int
		Most    int
	}
	tokenLine struct {
		ID, Name, Role, Repos  string
		State                  mark
		Created, Expires, Used moment
		Holds                  bool
	}
)

func (tokensView) title() string { return "API tokens" }

// tokens lists somebody's tokens.
func (s *site) tokens(ctx context.Context, _ *query) (any, error) {
	return s.tokensOf(ctx)
}

func (s *site) tokensOf(ctx context.Context) (tokensView, error) {
	a, now := signin.From(ctx), s.now()
	v := tokensView{Form: a.FormToken(), Days: signin.DefaultTokenDays, Most: signin.MaxTokenDays}
	all, err := a.Tokens(ctx)
	var wrong *signin.WrongError
	if errors.As(err, &wrong) {
		v.Problem = wrong.Why
		return v, nil
	}
	for _, t := range all {
		line := tokenLine{
			ID: t.ID, Name: clean(t.Name), Role: t.Role.String(), Repos: clean(strings.Join(t.Repos, ", ")), State: mark{"✓", "holds", lookGood},
			Created: at(t.CreatedAt, now), Expires: at(t.ExpiresAt, now), Used: at(t.UsedAt, now), Holds: true,
		}
		switch {
		case !t.RevokedAt.IsZero():
			line.State, line.Holds = mark{"✕", "revoked", lookQuiet}, false
		case !now.Before(t.ExpiresAt):
			line.State, line.Holds = mark{"◌", "expired", lookQuiet}, false
		}
		v.Tokens = append(v.Tokens, line)
	}
	return v, err
}

// makeToken makes a token and shows it.
func (s *site) makeToken(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), pageTime)
	defer cancel()
	a, form := signin.From(ctx), req.PostForm
	role := signin.NoRole
	for _, r := range []signin.Role{signin.Viewer, signin.Operator, signin.Admin} {
		if form.Get("role") == r.String() {
			role = r
		}
	}
	days, err := strconv.Atoi(form.Get("days"))
	if err != nil {
		days = -1
	}
	repos := strings.FieldsFunc(form.Get("repos"), func(c rune) bool { return c == ' ' || c == ',' || c == '\n' || c == '\r' || c == '\t' })
	_, text, err := a.MakeToken(ctx, form.Get("name"), role, repos, days)
	var wrong *signin.WrongError
	if err != nil && !errors.As(err, &wrong) {
		s.log.Error("a token cannot be made", "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "Not done", "The database does not answer as it should; the log says why.")
		return
	}
	v, err := s.tokensOf(ctx)
	if err != nil {
		s.log.Error("tokens cannot be listed", "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "The page cannot be shown now", "The database does not answer as it should; the log says why.")
		return
	}
	status := http.StatusOK
	if v.Made = text; wrong != nil {
		status, v.Problem, v.Name, v.Repos, v.Days = http.StatusBadRequest, wrong.Why, clean(form.Get("name")), clean(form.Get("repos")), max(1, days)
	}
	s.write(w, req, status, "tokens", "API tokens", v)
}

// revokeToken ends a token.
func (s *site) revokeToken(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), pageTime)
	defer cancel()
	id := req.PathValue("id")
	ok, err := false, error(nil)
	if isID(id) {
		ok, err = signin.From(ctx).RevokeToken(ctx, id)
	}
	var wrong *signin.WrongError
	switch {
	case errors.As(err, &wrong):
		s.problem(w, req, http.StatusForbidden, "Not done", wrong.Why)
	case err != nil:
		s.log.Error("a token cannot be revoked", "error", err)
		s.problem(w, req, http.StatusServiceUnavailable, "Not done", "The database does not answer as it should; the log says why.")
	case !ok:
		s.problem(w, req, http.StatusNotFound, "There is no such token", "You have no token with that id that still holds.")
	default:
		http.Redirect(w, req, "/tokens", http.StatusSeeOther)
	}
}
