//go:build unix

package parts

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user of the system that a server runs as; nil is whoever runs the tests.
type account struct{ uid, gid int }

// postgresAccount returns nil unless the tests run as root, whom PostgreSQL refuses.
func postgresAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres to run it as (%w): install the package postgresql, or run the tests as another user", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("read the id of the user postgres: %w", err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("read the group of the user postgres: %w", err)
	}
	return &account{uid, gid}, nil
}

// own gives files to the account.
func (a *account) own(names ...string) error {
	if a == nil {
		return nil
	}
	for _, name := range names {
		if err := os.Chown(name, a.uid, a.gid); err != nil {
			return err
		}
	}
	return nil
}

// become makes a command run as the account.
func (a *account) become(cmd *exec.Cmd) {
	if a == nil {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}
