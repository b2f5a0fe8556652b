//go:build e2e

package parts_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestGiteaServesGitAndStopsWithItsTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("running", func(t *testing.T) {
		server := parts.Gitea(t)
		url = server.URL
		var version struct{ Version string }
		server.Do(t, "", "GET", "/version", nil, &version)
		if version.Version != "1.26.0" {
			t.Errorf("Gitea calls itself %q, want 1.26.0", version.Version)
		}
		token := server.AddUser(t, "alice")
		var made struct {
			CloneURL string `json:"clone_url"`
		}
		server.Do(t, "alice", "POST", "/user/repos", map[string]any{"name": "live", "private": true}, &made)

		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.tf"), "")
		address := strings.Replace(made.CloneURL, "http://", "http://alice:"+token+"@", 1)
		for _, args := range [][]string{
			{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=Alice", "-c", "user.email=alice@example.com", "commit", "-q", "-m", "Begin"},
			{"push", "-q", address, "main"}, {"clone", "-q", address, "again"},
		} {
			cmd := exec.Command("git", args...)
			cmd.Dir = dir
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %s: %v\n%s", args[0], err, output)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "again", "main.tf")); err != nil {
			t.Errorf("what was pushed is not in the clone: %v", err)
		}
	})
	if response, err := http.Get(url); err == nil {
		response.Body.Close()
		t.Errorf("%s still answers after its test ended", url)
	}
}
