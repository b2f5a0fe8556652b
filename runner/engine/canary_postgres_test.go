//go:build postgres

package engine_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestCanariesOfTheDatabase has the database's own password among the secrets, and a database that goes away and comes back.
func TestCanariesOfTheDatabase(t *testing.T) {
	t.Parallel()
	address, line := lineTo(t, engine.SuiteURL(t))
	if u, err := url.Parse(address); err != nil || u.User == nil || u.User.String() == u.User.Username() {
		t.Fatal("the database takes no password: this test no longer sees what it is for")
	}
	canaries(t, address, func(*server) {
		line.cut()
		time.Sleep(3 * time.Second)
		line.mend(t)
	})
}
