package engine

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/runner"
)

// unlock releases the lock of a workspace's state if the run that left it is surely gone. No apply of the workspace runs
// meanwhile: this one has its place.
func (t *task) unlock(ctx context.Context, f *furnished) runner.Result {
	res := runner.Result{Workspace: f.workspace, Status: runner.Failed}
	var runs, corrections []Run
	var hosts map[string]bool
	err := t.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if runs, err = t.store.appliesOf(ctx, tx, t.run.Repository, t.run.Workspace, 50); err != nil {
			return err
		}
		if corrections, err = t.store.brokenOffCorrections(ctx, tx, t.run.Repository, t.run.Workspace, 50); err != nil {
			return err
		}
		hosts, err = t.store.hostsHere(ctx, tx, t.process)
		return err
	})
	if err != nil {
		res.Err = err
		return res
	}
	u, err := f.runner.Unlock(ctx, f.workspace, runner.UnlockOptions{Gone: func(lock terraform.LockedError) (bool, string) {
		return gone(lock, me(), hosts, append(t.exceptThoseItStopped(lock, runs), corrections...))
	}})
	res.Err = err
	switch {
	case err != nil:
	case u.Released:
		res.Status = runner.Unchanged
		res.Notes = []string{fmt.Sprintf("The lock of the state was released. %s %s", holder(*u.Lock), u.Reason)}
		t.released = true
	case u.Lock != nil:
		res.Status = runner.Held
		res.Hold = &runner.Hold{Reason: fmt.Sprintf("The state is locked. %s %s", holder(*u.Lock), u.Reason), Next: "the lock was left as it is."}
		if u.Lock.ID != "" {
			res.Hold.Next += fmt.Sprintf(" Whoever is certain that its holder is gone runs `terraform force-unlock %s` in a checkout.", u.Lock.ID)
		}
	case u.Free:
		res.Status = runner.Unchanged
		res.Notes = []string{u.Reason}
	default:
		res.Status = runner.Held
		res.Hold = &runner.Hold{Reason: u.Reason, Next: "nothing was changed."}
	}
	return res
}

// exceptThoseItStopped leaves out the applies that failed because somebody held this very lock: it was not theirs.
func (t *task) exceptThoseItStopped(lock terraform.LockedError, runs []Run) []Run {
	return slices.DeleteFunc(runs, func(r Run) bool {
		if r.Status != Failed || lock.ID == "" {
			return false
		}
		o, err := openResult(t.plans, r)
		return err != nil || o.Locked != nil && o.Locked.ID == lock.ID
	})
}

// holder says whose a lock is.
func holder(lock terraform.LockedError) string {
	who := lock.Who
	if who == "" {
		who = "somebody whom the backend does not name"
	}
	text := "It was taken by " + who
	if op := strings.TrimPrefix(lock.Operation, "OperationType"); op != "" {
		text += " for " + strings.ToLower(op)
	}
	if at := lock.Since(); !at.IsZero() {
		text += " at " + at.UTC().Format(time.DateTime+" MST")
	}
	return text + "."
}

// me is how Terraform calls the user that this process runs as.
func me() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// gone decides whether the run that left a lock is surely gone: the lock is of the user and of a host on which this
// server ran, or runs, in this very data directory, where nothing of it runs any more; and it was taken while an apply of
// ours was under way that has ended since.
func gone(lock terraform.LockedError, user string, hosts map[string]bool, runs []Run) (bool, string) {
	since := lock.Since()
	name, host, ok := strings.Cut(lock.Who, "@")
	switch {
	case !ok || since.IsZero():
		return false, "The backend does not say by whom and since when, so it cannot be told whether that run is gone."
	case name != user || !hosts[host]:
		return false, "That is none of the runs of this server, so it cannot be told whether it is gone."
	}
	for _, r := range runs {
		ended := r.EndedAt
		if !r.Status.Ended() || r.StartedAt.IsZero() || ended.IsZero() {
			continue
		}
		// Both times are of one host. What was locked before our run began made it fail, and is somebody else's.
		if !since.Before(r.StartedAt.Truncate(time.Second)) && !since.After(ended) {
			return true, fmt.Sprintf("That was an apply of this server which began at %s and is over.", r.StartedAt.UTC().Format(time.DateTime+" MST"))
		}
	}
	return false, "No apply of this server was under way then, so it cannot be told whether that run is gone."
}

// appliesOf reads the newest applies of a workspace.
func (s *store) appliesOf(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, limit int) ([]Run, error) {
	runs, err := list(ctx, tx, scanRun, "SELECT "+runColumns+" FROM run WHERE repository = $1 AND workspace = $2 AND kind = 'apply' ORDER BY created_at DESC LIMIT $3",
		string(repo), workspace, limit)
	if err != nil {
		return nil, fmt.Errorf("read the applies of %s: %w", workspace, err)
	}
	return runs, nil
}

// brokenOffCorrections reads the newest corrections of a workspace whose process died, as runs that Terraform was begun in:
// their looks were begun once more since. How long they went on is not known, but Terraform takes its lock when it begins.
func (s *store) brokenOffCorrections(ctx context.Context, tx *sql.Tx, repo RepoID, workspace string, limit int) ([]Run, error) {
	times, err := list(ctx, tx, scanNumber, `SELECT DISTINCT c.at FROM correction AS c JOIN run AS r ON r.id = c.run
		WHERE c.repository = $1 AND c.workspace = $2 AND r.started_at > c.at ORDER BY c.at DESC LIMIT $3`, string(repo), workspace, limit)
	if err != nil {
		return nil, fmt.Errorf("read the corrections of %s that were broken off: %w", workspace, err)
	}
	runs := make([]Run, 0, len(times))
	for _, at := range times {
		runs = append(runs, Run{Status: Interrupted, StartedAt: moment(at), EndedAt: moment(at).Add(begunFor)})
	}
	return runs, nil
}

// hostsHere reads the names of the hosts on which processes ran in the data directory of this one, and none of another
// data directory: a lock names the host alone, and what runs in the other one's directory cannot be seen from here.
func (s *store) hostsHere(ctx context.Context, tx *sql.Tx, process string) (map[string]bool, error) {
	names, err := list(ctx, tx, scanText, "SELECT DISTINCT host FROM process WHERE site = (SELECT site FROM process WHERE id = $1)", process)
	var shared []string
	if err == nil {
		shared, err = list(ctx, tx, scanText, "SELECT DISTINCT host FROM process WHERE site <> (SELECT site FROM process WHERE id = $1)", process)
	}
	if err != nil {
		return nil, fmt.Errorf("read where this server ran: %w", err)
	}
	hosts := map[string]bool{}
	for _, name := range names {
		hosts[name] = name != ""
	}
	if host, err := os.Hostname(); err == nil {
		hosts[host] = true
	}
	for _, name := range shared {
		delete(hosts, name)
	}
	return hosts, nil
}
