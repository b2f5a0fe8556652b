//go:build e2e

package parts_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestPostgresStopsWithItsTest(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("running", func(t *testing.T) {
		u, err := url.Parse(parts.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		dir = u.Query().Get("host")
		conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432"))
		if err != nil {
			t.Fatalf("the server does not listen: %v", err)
		}
		_ = conn.Close()
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after its test the server's directory %s is there still: %v", dir, err)
	}
}
