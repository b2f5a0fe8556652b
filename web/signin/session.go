package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// How long sessions last, where nothing else is said.
const (
	DefaultIdle     = 8 * time.Hour
	DefaultAbsolute = 24 * time.Hour
	// RenewAfter is how old what a way of signing in has told of somebody may be. Then they are sent there again, which asks
	// them for nothing while they are signed in there.
	RenewAfter = time.Hour
	// seenEach is how often it is written down that a session or a token is used.
	seenEach = time.Minute
)

// secret makes 256 random bits, as text.
func secret() string {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// digest is what is kept of a secret, and found by. It needs no salt: nobody guesses 256 bits.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// cookie is the name of the session's cookie, or with more of another one of ours. With https its name has browsers take it
// from this very host alone.
func (g *Gate) cookie(more string) string {
	if g.secure {
		return "__Host-plumbline" + more
	}
	return "plumbline" + more
}

func (g *Gate) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: g.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(age / time.Second)}
	if age <= 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// sent is what the session's cookie holds; "" for none that could be one of ours.
func (g *Gate) sent(req *http.Request) string {
	c, err := req.Cookie(g.cookie(""))
	if err != nil || len(c.Value) != 43 {
		return ""
	}
	return c.Value
}

// session is a row of those who are signed in.
type session struct {
	id       string
	person   Person
	signedAt time.Time
	created  time.Time
	seen     time.Time
}

// session finds who is signed in; nil for nobody.
func (g *Gate) session(ctx context.Context, value string) (*session, error) {
	if value == "" {
		return nil, nil
	}
	s := &session{id: digest(value)}
	var about string
	var signed, created, seen int64
	err := g.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT p.about, p.signed_at, s.created_at, s.seen_at FROM web_session AS s JOIN web_person AS p ON p.id = s.person WHERE s.id = $1", s.id).
			Scan(&about, &signed, &created, &seen)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(about), &s.person)
	}
	if err != nil {
		return nil, fmt.Errorf("find a session: %w", err)
	}
	s.signedAt, s.created, s.seen = time.UnixMilli(signed), time.UnixMilli(created), time.UnixMilli(seen)
	now := g.Now()
	if now.Sub(s.created) >= g.Absolute || now.Sub(s.seen) >= g.Idle || now.Before(s.created.Add(-time.Hour)) {
		return nil, nil
	}
	if now.Sub(s.seen) < seenEach {
		return s, nil
	}
	return s, g.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE web_session SET seen_at = $1 WHERE id = $2", now.UnixMilli(), s.id)
		return err
	})
}

// begin keeps who has signed in and makes a session, in the place of the one with old, and returns what its cookie holds.
func (g *Gate) begin(ctx context.Context, p Person, way, old string) (string, error) {
	about, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	value, now := secret(), g.Now()
	err = g.DB.Tx(ctx, func(tx *sql.Tx) error {
		// Signing in again does not make a session longer, and is no news.
		created, again := now.UnixMilli(), true
		err := tx.QueryRowContext(ctx, "SELECT created_at FROM web_session WHERE id = $1 AND person = $2 AND created_at > $3 AND seen_at > $4",
			digest(old), p.ID, now.Add(-g.Absolute).UnixMilli(), now.Add(-g.Idle).UnixMilli()).Scan(&created)
		if errors.Is(err, sql.ErrNoRows) {
			again, err = false, nil
		}
		for _, do := range []struct {
			query string
			args  []any
		}{
			{"INSERT INTO web_person (id, about, signed_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET about = excluded.about, signed_at = excluded.signed_at", []any{p.ID, string(about), now.UnixMilli()}},
			{"DELETE FROM web_session WHERE id = $1 OR created_at < $2 OR seen_at < $3", []any{digest(old), now.Add(-g.Absolute).UnixMilli(), now.Add(-g.Idle).UnixMilli()}},
			{"INSERT INTO web_session (id, person, created_at, seen_at) VALUES ($1, $2, $3, $4)", []any{digest(value), p.ID, created, now.UnixMilli()}},
		} {
			if err == nil {
				_, err = tx.ExecContext(ctx, do.query, do.args...)
			}
		}
		if err == nil && !again {
			_, err = g.Audit.Append(ctx, tx, audit.Entry{Actor: p.actor(), Action: ActionSignIn, Allowed: true, Reason: "signed in by " + way})
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep a session: %w", err)
	}
	return value, nil
}

// end ends a session.
func (g *Gate) end(ctx context.Context, value string) error {
	return g.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM web_session WHERE id = $1", digest(value))
		return err
	})
}

// Actions of the audit log.
const (
	ActionSignIn      = "sign-in"
	ActionTokenMake   = "token-make"
	ActionTokenRevoke = "token-revoke"
)

// actor is what the audit log calls a person: the name may be anything, the id is for good.
func (p Person) actor() string { return named(p.Name) + " (" + p.ID + ")" }

// maxName is how long a name is in the audit log, in characters: a longer one could push out of sight whose it is.
const maxName = 80

// named is a name without what cannot be seen, or turns the direction of a text around.
func named(name string) string {
	return forge.Cut(strings.Join(strings.Fields(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, name)), " "), maxName)
}
