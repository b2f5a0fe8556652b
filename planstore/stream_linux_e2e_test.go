//go:build e2e

package planstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestLargePlansTakeLittleMemory puts, verifies, seals anew and writes out a plan of 200 MB, in a directory and in S3, in a
// process that never has 64 MB in memory, its program included.
func TestLargePlansTakeLittleMemory(t *testing.T) {
	const bytes, limit = 200 << 20, 64 << 10 // the limit is in KB
	server := parts.S3(t)
	for name, location := range map[string]string{
		"directory": t.TempDir(),
		"S3":        "s3://" + server.Bucket + "?endpoint=" + server.Endpoint,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "PLANSTORE_TEST_ROLE=stream", "LOCATION="+location, fmt.Sprintf("BYTES=%d", bytes), "OUT="+t.TempDir(),
				"TMPDIR="+t.TempDir(), "AWS_ACCESS_KEY_ID="+server.AccessKey, "AWS_SECRET_ACCESS_KEY="+server.SecretKey)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(out)
			if peak == nil {
				t.Fatalf("the process does not say how much memory it took: %s", out)
			}
			used, err := strconv.Atoi(string(peak[1]))
			if err != nil || used > limit {
				t.Errorf("a plan of %d MB took %d MB of memory, %v; want at most %d MB", bytes>>20, used>>10, err, limit>>10)
			}
			t.Logf("%d MB at its most", used>>10)
		})
	}
}
