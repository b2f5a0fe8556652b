package planstore_test

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets a test run this binary again as another process, in a role that an environment variable names.
func TestMain(m *testing.M) {
	role := os.Getenv("PLANSTORE_TEST_ROLE")
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var roles = map[string]func() error{
	"writer":   writeUntilKilled,
	"makekey":  makeKey,
	"fulldisk": fillDisk,
	"stream":   stream,
}
