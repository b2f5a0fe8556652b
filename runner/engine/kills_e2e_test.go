//go:build e2e && !postgres

package engine_test

// kills is how often TestKilledAtAnyMoment kills the server.
const kills = 100
