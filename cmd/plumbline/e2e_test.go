//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestE2EScripts runs the scenarios that need parts which take long to build:
// OpenTofu, and an S3 server.
func TestE2EScripts(t *testing.T) {
	tofu, s3, aws := parts.Tofu(t), parts.S3(t), awstest.New(t)
	aws.AddSession(s3.AccessKey, s3.SecretKey, "") // one set of credentials for both
	kmsKey := aws.AddKey(awstest.Region)
	runScripts(t, "../../testdata/e2e", func(env *testscript.Env) {
		env.Setenv("PATH", filepath.Dir(tofu)+string(os.PathListSeparator)+env.Getenv("PATH"))
		env.Setenv("S3_STORE", "s3://"+s3.Bucket+"/plans?endpoint="+s3.Endpoint+"&region="+s3.Region)
		env.Setenv("S3_MISSING", "s3://missing?endpoint="+s3.Endpoint)
		env.Setenv("AWS_ACCESS_KEY_ID", s3.AccessKey)
		env.Setenv("AWS_SECRET_ACCESS_KEY", s3.SecretKey)
		env.Setenv("AWS_ENDPOINT_URL_KMS", aws.URL)
		env.Setenv("KMS_KEY", kmsKey)
	})
}
