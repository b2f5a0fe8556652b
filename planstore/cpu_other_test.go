//go:build !unix

package planstore

import (
	"testing"
	"time"
)

// began is when the tests did.
var began = time.Now()

// cpuTime is the time on the wall where the system does not tell another.
func cpuTime(*testing.B) time.Duration { return time.Since(began) }
