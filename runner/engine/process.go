package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// takeSite takes a data directory for this process alone and returns its identity, which it makes the first time. The
// identity tells rows that an earlier process left here from those of other machines.
func takeSite(dir string) (site string, release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the data directory: %w: set data_dir to a directory that this user may write to", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return "", nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	if !ok {
		return "", nil, fmt.Errorf("the data directory %s is in use by another `plumbline serve`: stop it, or give this one a data_dir of its own", dir)
	}
	release = func() { _ = lock.Close() } // the lock ends with the process anyhow
	file := filepath.Join(dir, "site")
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		release()
		return "", nil, fmt.Errorf("read whose data directory it is: %w", err)
	}
	if site = strings.TrimSpace(string(text)); site != "" {
		return site, release, nil
	}
	if site, err = newID(); err == nil {
		err = renameio.WriteFile(file, []byte(site+"\n"), 0o600)
	}
	if err != nil {
		release()
		return "", nil, fmt.Errorf("name the data directory: %w", err)
	}
	return site, release, nil
}

// enter writes that this process lives. Processes that lived in the same data directory before are dead, whatever their
// rows say: it is locked.
func (e *Engine) enter(ctx context.Context, site string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "" // only people read it
	}
	now := millis(e.Now())
	err = e.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE process SET ended_at = $1 WHERE site = $2 AND ended_at = 0", now, site); err != nil {
			return err
		}
		// Who starts does not know what it missed, so each repository is looked at now.
		if _, err := tx.ExecContext(ctx, "UPDATE repository SET poll_at = 0"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO process (id, site, host, started_at, beat, beat_at, ended_at) VALUES ($1, $2, $3, $4, 1, $4, 0)", e.process, site, host, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("enter the list of processes: %w", err)
	}
	return nil
}

// leave writes that this process has ended. What it has left running is looked into by others.
func (e *Engine) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.rhythm.soft)
	defer cancel()
	err := e.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE process SET ended_at = $1, beat_at = $1 WHERE id = $2 AND ended_at = 0", millis(e.Now()), e.process)
		return err
	})
	if err != nil {
		return fmt.Errorf("leave the list of processes: %w", err)
	}
	return nil
}

// heard is what is known of another process.
type heard struct {
	beat   int64
	silent int // how often we have looked since it last changed
}

// listener judges which processes are alive.
type listener map[string]heard

// listen compares the beats of living processes with those heard before, and returns those that have been silent for so
// many looks that they count as dead.
//
// Looks are counted, not time: clocks jump and differ between machines, and while nobody reaches the database nobody's
// heart is heard.
func (l listener) listen(beats map[string]int64, missed int) (dead []string) {
	for id := range l {
		if _, ok := beats[id]; !ok {
			delete(l, id)
		}
	}
	for id, beat := range beats {
		was, known := l[id]
		if !known || was.beat != beat {
			l[id] = heard{beat: beat}
			continue
		}
		was.silent++
		l[id] = was
		if was.silent >= missed {
			dead = append(dead, id)
		}
	}
	return dead
}

// beat lets this process's heart beat and listens for others', until ctx ends. It calls fence when others took this
// process for dead.
func (e *Engine) beat(ctx context.Context, fence context.CancelCauseFunc) {
	others := listener{}
	ticker := time.NewTicker(e.rhythm.beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		dead, alive, err := e.beatOnce(ctx, others)
		if ctx.Err() != nil {
			return
		}
		e.noteBeat(err)
		if err == nil && !alive {
			e.log.Error("this process was silent for so long that others took it for dead; it stops")
			fence(errFenced)
			return
		}
		for _, id := range dead {
			e.log.Warn("another process has died; its work is taken over", "process", id)
		}
	}
}

func (e *Engine) beatOnce(ctx context.Context, others listener) (dead []string, alive bool, err error) {
	beats := map[string]int64{}
	err = e.DB.Tx(ctx, func(tx *sql.Tx) error {
		clear(beats)
		var err error
		if alive, err = e.store.change1(ctx, tx, "UPDATE process SET beat = beat + 1, beat_at = $1 WHERE id = $2 AND ended_at = 0", millis(e.Now()), e.process); err != nil {
			return err
		}
		rows, err := list(ctx, tx, func(row scanner) (r struct {
			id   string
			beat int64
		}, err error) {
			err = row.Scan(&r.id, &r.beat)
			return r, err
		}, "SELECT id, beat FROM process WHERE ended_at = 0 AND id <> $1", e.process)
		for _, r := range rows {
			beats[r.id] = r.beat
		}
		return err
	})
	if err != nil || !alive {
		return nil, alive, err
	}
	for _, id := range others.listen(beats, e.rhythm.missed) {
		var died bool
		err := e.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
			// Only if it is as silent as it was.
			died, err = e.store.change1(ctx, tx, "UPDATE process SET ended_at = $1 WHERE id = $2 AND ended_at = 0 AND beat = $3", millis(e.Now()), id, others[id].beat)
			return err
		})
		if err != nil {
			return dead, true, err
		}
		if died {
			dead = append(dead, id)
		}
	}
	return dead, true, nil
}

// noteBeat logs when the database goes and when it comes back, once each.
func (e *Engine) noteBeat(err error) {
	e.mu.Lock()
	before := e.beating
	e.beating = err
	e.mu.Unlock()
	switch {
	case err != nil && before == nil:
		e.log.Error("the database does not answer; work waits for it", "error", err)
	case err == nil && before != nil:
		e.log.Info("the database answers again")
	}
}
