//go:build e2e

package planstore

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestS3Buckets holds S3 to what every bucket promises.
func TestS3Buckets(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	holdBuckets(t, map[string]string{
		"s3":               "s3://" + server.Bucket + "/?endpoint=" + server.Endpoint,
		"s3 with a prefix": "s3://" + server.Bucket + "/some/prefix/?endpoint=" + server.Endpoint + "&region=us-east-1",
	})
}

func TestS3SaysWhatIsWrong(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-not-the-secret")
	location := "s3://" + server.Bucket + "?endpoint=" + server.Endpoint
	check := func(location, want string) {
		t.Helper()
		b, place, err := openBucket(t.Context(), location)
		if err != nil {
			t.Fatalf("open %s: %v", location, err)
		}
		if place != strings.SplitN(location, "?", 2)[0] {
			t.Errorf("%s calls itself %s", location, place)
		}
		err = b.Put(t.Context(), "a", contentOf([]byte("x")))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("put into %s says %v; want %q and no secret", location, err, want)
		}
	}
	check(location, `bucket "plans" refuses the credentials: check the access key`)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	check(strings.Replace(location, "plans", "other", 1), `there is no bucket "other": make it`)
}
