//go:build e2e

package parts_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestMirrorServesTofu(t *testing.T) {
	t.Parallel()
	mirrorServes(t, parts.Tofu(t))
}

func TestTofuIsARelease(t *testing.T) {
	t.Parallel()
	got := run(t, t.TempDir(), os.DevNull, parts.Tofu(t), "version")
	if want := "OpenTofu v1.12.6\n"; !strings.HasPrefix(got, want) {
		t.Errorf("tofu version prints %q, want it to begin with %q", got, want)
	}
}

func TestS3StopsWithItsTest(t *testing.T) {
	t.Parallel()
	var endpoint string
	t.Run("running", func(t *testing.T) {
		server := parts.S3(t)
		endpoint = server.Endpoint
		response, err := http.Get(endpoint + "/" + server.Bucket)
		if err != nil {
			t.Fatalf("ask the S3 server for its bucket without credentials: %v", err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusForbidden || !bytes.Contains(body, []byte("AccessDenied")) {
			t.Errorf("without credentials the bucket answers %s %s, %v; want 403 AccessDenied", response.Status, body, err)
		}
	})
	if response, err := http.Get(endpoint); err == nil {
		response.Body.Close()
		t.Errorf("%s still answers after its test ended", endpoint)
	}
}
