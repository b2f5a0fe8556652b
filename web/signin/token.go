package signin

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/plumbline-dev/plumbline/internal/audit"
)

// Token is what a program shows instead of a session. It may no more than its person may now.
type Token struct {
	ID        string
	Name      string
	Role      Role     // at most
	Repos     []string // patterns, as in Grant; none for all
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time // to about a minute; zero for never
	RevokedAt time.Time // zero while it holds
}

// Limits of tokens.
const (
	DefaultTokenDays = 30
	MaxTokenDays     = 365
	mostTokens       = 50 // of a person, that hold
	tokenPrefix      = "plumbline_"
	// groupsLast is how long after somebody has last signed in their groups still count for their tokens. What the forge allows
	// is asked at each use all the same.
	groupsLast = 7 * 24 * time.Hour
	keptFor    = 30 * 24 * time.Hour // tokens that hold no more
)

// WrongError says in a sentence what is wrong with what somebody asks for.
type WrongError struct{ Why string }

func (e *WrongError) Error() string { return e.Why }

// ErrToken is a token that there is not, or no more; ErrTooMany is when too many were tried.
var (
	ErrToken   = errors.New("the token is not known here, has expired or was revoked")
	ErrTooMany = errors.New("too many tries in a minute")
)

// Bearer finds whose token a request shows. ok is false if it shows none.
func (g *Gate) Bearer(req *http.Request) (a *Asker, ok bool, err error) {
	all := req.Header.Values("Authorization")
	if len(all) == 0 {
		return nil, false, nil
	}
	scheme, text, _ := strings.Cut(all[0], " ")
	if len(all) > 1 || !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(text, tokenPrefix) || len(text) != len(tokenPrefix)+43 {
		return nil, true, ErrToken
	}
	ctx, now := req.Context(), g.Now()
	var about string
	var signed int64
	var t Token
	err = g.DB.Read(ctx, func(tx *sql.Tx) error {
		var person string
		t, person, err = scanToken(tx.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM web_token WHERE hash = $1", digest(text)))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT about, signed_at FROM web_person WHERE id = $1", person).Scan(&about, &signed)
	})
	a = &Asker{gate: g, token: &t}
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && (!t.RevokedAt.IsZero() || !now.Before(t.ExpiresAt)):
		if !g.tries.allow(req) {
			return nil, true, ErrTooMany
		}
		return nil, true, ErrToken
	case err == nil:
		err = json.Unmarshal([]byte(about), &a.person)
	}
	if err != nil {
		return nil, true, fmt.Errorf("find a token: %w", err)
	}
	if a.name = a.person.Name; now.Sub(time.UnixMilli(signed)) > groupsLast {
		a.person.Groups = nil
	}
	if now.Sub(t.UsedAt) >= seenEach {
		err = g.DB.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE web_token SET used_at = $1 WHERE id = $2", now.UnixMilli(), t.ID)
			return err
		})
	}
	return a, true, err
}

const tokenColumns = "id, person, name, role, repos, created_at, expires_at, used_at, revoked_at"

func scanToken(row interface{ Scan(into ...any) error }) (t Token, person string, err error) {
	var role, repos string
	var created, expires, used, revoked int64
	if err := row.Scan(&t.ID, &person, &t.Name, &role, &repos, &created, &expires, &used, &revoked); err != nil {
		return Token{}, "", err
	}
	at := func(millis int64) time.Time {
		if millis == 0 {
			return time.Time{}
		}
		return time.UnixMilli(millis).UTC()
	}
	t.Role = max(NoRole, Role(slices.Index(roleNames, role)))
	t.CreatedAt, t.ExpiresAt, t.UsedAt, t.RevokedAt = at(created), at(expires), at(used), at(revoked)
	return t, person, json.Unmarshal([]byte(repos), &t.Repos)
}

// mine is who may have tokens: a person who has signed in. A token makes no other, so that who has stolen it cannot outlive it.
func (a *Asker) mine() error {
	switch {
	case a.token != nil:
		return &WrongError{"A token makes no tokens, and revokes none but itself; sign in to do that."}
	case a.gate == nil:
		return &WrongError{"Tokens are made by people who have signed in, and nobody can on this server."}
	}
	return nil
}

// Tokens are those of the person, the newest first.
func (a *Asker) Tokens(ctx context.Context) ([]Token, error) {
	if a.gate == nil {
		return nil, a.mine()
	}
	var all []Token
	err := a.gate.DB.Read(ctx, func(tx *sql.Tx) error {
		all = nil
		rows, err := tx.QueryContext(ctx, "SELECT "+tokenColumns+" FROM web_token WHERE person = $1 ORDER BY id DESC", a.person.ID)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			t, _, err := scanToken(rows)
			if err != nil {
				return err
			}
			all = append(all, t)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return all, nil
}

// MakeToken makes a token that lasts for some days, and returns its text: nobody can see it again.
func (a *Asker) MakeToken(ctx context.Context, name string, role Role, repos []string, days int) (Token, string, error) {
	if err := a.mine(); err != nil {
		return Token{}, "", err
	}
	if days == 0 {
		days = DefaultTokenDays
	}
	switch name = strings.TrimSpace(name); {
	case name == "" || len(name) > 100 || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return Token{}, "", &WrongError{"Give the token a short name on one line, so that you know later what it is for."}
	case role < Viewer || role > Admin:
		return Token{}, "", &WrongError{"The role of a token is viewer, operator or admin."}
	case days < 1 || days > MaxTokenDays:
		return Token{}, "", &WrongError{fmt.Sprintf("A token lasts from 1 to %d days.", MaxTokenDays)}
	case len(repos) > 50:
		return Token{}, "", &WrongError{"A token has at most 50 patterns of repositories."}
	}
	for _, pattern := range repos {
		if !GoodPattern(pattern) {
			return Token{}, "", &WrongError{"Patterns of repositories are OWNER/NAME or FORGE/OWNER/NAME, in which * stands for any characters, such as acme/*; or * alone."}
		}
	}
	g, now := a.gate, a.gate.Now()
	id, err := uuid.NewV7()
	if err != nil {
		return Token{}, "", err
	}
	t := Token{ID: id.String(), Name: name, Role: role, Repos: repos, CreatedAt: now.UTC(), ExpiresAt: now.UTC().AddDate(0, 0, days)}
	patterns, err := json.Marshal(repos)
	if err != nil {
		return Token{}, "", err
	}
	text := tokenPrefix + secret()
	err = g.DB.Tx(ctx, func(tx *sql.Tx) error {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM web_token WHERE person = $1 AND revoked_at = 0 AND expires_at > $2", a.person.ID, now.UnixMilli()).Scan(&n)
		if err == nil && n >= mostTokens {
			err = &WrongError{fmt.Sprintf("You have %d tokens; revoke those that you do not need.", n)}
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM web_token WHERE expires_at < $1 OR revoked_at > 0 AND revoked_at < $1", now.Add(-keptFor).UnixMilli())
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO web_token (hash, "+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0)",
				digest(text), t.ID, a.person.ID, t.Name, t.Role.String(), string(patterns), t.CreatedAt.UnixMilli(), t.ExpiresAt.UnixMilli())
		}
		if err == nil {
			where := "all repositories"
			if len(repos) > 0 {
				where = strings.Join(repos, ", ")
			}
			_, err = g.Audit.Append(ctx, tx, audit.Entry{Actor: a.Actor(), Action: ActionTokenMake, Allowed: true,
				Reason: fmt.Sprintf("made the token %s: at most %s in %s, until %s", t.ID, t.Role, where, t.ExpiresAt.Format(time.DateOnly))})
		}
		return err
	})
	if err != nil {
		return Token{}, "", fmt.Errorf("make a token: %w", err)
	}
	return t, text, nil
}

// RevokeToken ends a token of the person; a token can end itself. ok is false if there is none with that id that holds.
func (a *Asker) RevokeToken(ctx context.Context, id string) (ok bool, err error) {
	if itself := a.token != nil && a.token.ID == id; !itself {
		if err := a.mine(); err != nil {
			return false, err
		}
	}
	g := a.gate
	err = g.DB.Tx(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE web_token SET revoked_at = $1 WHERE id = $2 AND person = $3 AND revoked_at = 0", g.Now().UnixMilli(), id, a.person.ID)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if ok = n > 0; err != nil || !ok {
			return err
		}
		_, err = g.Audit.Append(ctx, tx, audit.Entry{Actor: a.Actor(), Action: ActionTokenRevoke, Allowed: true, Reason: "revoked the token " + id})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("revoke a token: %w", err)
	}
	return ok, nil
}

// GoodPattern reports whether a text is a pattern of repositories.
func GoodPattern(pattern string) bool {
	if pattern == "*" {
		return true
	}
	if n := strings.Count(pattern, "/"); n < 1 || n > 2 || len(pattern) > 300 || strings.ContainsFunc(pattern, func(c rune) bool { return c <= ' ' || c == '[' || c == ']' || c == '\\' || c == '?' || c > '~' }) {
		return false
	}
	_, err := path.Match(pattern, "")
	return err == nil && !slices.ContainsFunc(strings.Split(pattern, "/"), func(part string) bool { return part == "" || part == "." || part == ".." })
}
