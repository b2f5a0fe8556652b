package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresConns bounds the connections of one process. PostgreSQL allows 100 in all by default.
const postgresConns = 16

// postgresSettings are given to every session unless the URL sets them.
var postgresSettings = map[string]string{
	"application_name": "plumbline",
	"TimeZone":         "UTC",
	// A process that froze in the middle of a transaction must not stop all others for good.
	"idle_in_transaction_session_timeout": "60s",
	"lock_timeout":                        "5s",
}

func openPostgres(text string) (*DB, error) {
	config, err := pgx.ParseConfig(text)
	if err != nil {
		// pgx blanks passwords in its errors, but only where it can parse the URL.
		return nil, fmt.Errorf("open the database: its URL is not one that PostgreSQL's clients understand (postgres://user:password@host:5432/name?sslmode=verify-full)%s", safeCause(text, err))
	}
	for name, value := range postgresSettings {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	pool := sql.OpenDB(textConnector{stdlib.GetConnector(*config)})
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	// Moves to another server within reasonable time after a fail-over.
	pool.SetConnMaxLifetime(30 * time.Minute)
	where := fmt.Sprintf("postgres://%s/%s", config.Host, config.Database)
	return &DB{kind: postgres, where: where, write: pool, read: pool}, nil
}

// textConnector makes connections that take any string. PostgreSQL refuses zero bytes and what is not UTF-8, as SQLite
// does not; a file's name or what a program printed may hold them, and no row is to fail for that: they become U+FFFD.
type textConnector struct{ driver.Connector }

func (c textConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	pg, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("connect to PostgreSQL: the driver made a %T", conn)
	}
	return &textConn{pg}, nil
}

type textConn struct{ *stdlib.Conn }

func (c *textConn) CheckNamedValue(arg *driver.NamedValue) error {
	if text, ok := arg.Value.(string); ok {
		arg.Value = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	return c.Conn.CheckNamedValue(arg)
}

// safeCause is what pgx said, if that holds nothing of the URL after its scheme.
func safeCause(text string, err error) string {
	u, parseErr := url.Parse(text)
	if parseErr != nil || u.User == nil {
		return ""
	}
	cause := err.Error()
	if secret, set := u.User.Password(); set && secret != "" && strings.Contains(cause, secret) {
		return ""
	}
	return ": " + cause
}
