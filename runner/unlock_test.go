package runner_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/runner"
)

func (p *place) unlock(t testing.TB, gone func(terraform.LockedError) (bool, string)) runner.Unlocked {
	t.Helper()
	r, set := p.open(t, "7")
	u, err := r.Unlock(t.Context(), workspace(t, set, ""), runner.UnlockOptions{Gone: gone})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestUnlock has a Terraform die with the lock of its state in its hands.
func TestUnlock(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]lockingBackend{"http": newStateServer(t), "s3": newBucketServer(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, map[string]string{"main.tf": b.config() + slow("600")})
			plan := p.plan(t, "7").Receipt
			if u := p.unlock(t, func(terraform.LockedError) (bool, string) { return true, "" }); u.Lock != nil || u.Released {
				t.Errorf("before anything runs: got %+v, want no lock", u)
			}

			began := time.Now()
			cmd := p.die(t, "", "7", plan.ID)
			appears(t, filepath.Join(p.Root, "started"))
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			u := p.unlock(t, func(terraform.LockedError) (bool, string) {
				t.Error("asked whether the run is gone, and its Terraform still runs here")
				return true, ""
			})
			if u.Released || !strings.Contains(u.Reason, "goes on by itself") {
				t.Errorf("while Terraform runs: got %+v, want that it is left alone", u)
			}
			r, set := p.open(t, "7")
			in, err := r.Examine(t.Context(), workspace(t, set, ""), plan.ID)
			if err != nil || in.Left == nil {
				t.Fatalf("examine: got %+v, %v", in, err)
			}
			if err := syscall.Kill(-in.Left.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if in := p.examine(t, "7", plan.ID); in.Fate != runner.InPart || in.Locked == nil {
				t.Fatalf("got %s (%s), locked by %v, want a part, and the lock", in.Fate, in.Reason, in.Locked)
			}

			u = p.unlock(t, func(lock terraform.LockedError) (bool, string) { return false, "Somebody may be at it." })
			if u.Lock == nil || u.Lock.ID == "" || u.Released || u.Reason != "Somebody may be at it." {
				t.Fatalf("not gone: got %+v, want that the lock is left", u)
			}
			if name == "s3" {
				// The http backend says no more than the id.
				if since := u.Lock.Since(); !strings.Contains(u.Lock.Who, "@") || since.Before(began.Add(-time.Minute)) || since.After(time.Now().Add(time.Minute)) {
					t.Errorf("whose it is: got %+v since %s, want somebody since just now", u.Lock, since)
				}
			}
			if p.plan(t, "8").Receipt.ID == "" {
				t.Error("planning does not need the lock, and failed")
			}
			id := u.Lock.ID
			u = p.unlock(t, func(lock terraform.LockedError) (bool, string) { return lock.ID == id, "It is gone." })
			if !u.Released || u.Reason != "It is gone." {
				t.Errorf("gone: got %+v, want that the lock is released", u)
			}
			if u := p.unlock(t, nil); u.Lock != nil {
				t.Errorf("afterwards: got %+v, want no lock", u)
			}
		})
	}
}
