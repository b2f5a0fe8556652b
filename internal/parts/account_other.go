//go:build !unix

package parts

import "os/exec"

// account is the user of the system that a server runs as. Here it is always whoever runs the tests.
type account struct{}

func postgresAccount() (*account, error) { return nil, nil }

func (*account) own(...string) error { return nil }

func (*account) become(*exec.Cmd) {}
