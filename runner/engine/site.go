package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
)

// A site is the directory of one workspace: SITE/files holds what it reads of a commit, and is where Terraform runs;
// SITE/data is what runner remembers between runs. It always has the same path, because Terraform's plans and states hold
// paths. One run at a time uses it.

// siteDir is where a workspace's site is.
func (e *Engine) siteDir(repo Repository, workspace string) string {
	return filepath.Join(e.DataDir, "work", fileName(repo.Forge), fileName(repo.Repo.Owner), fileName(repo.Repo.Name), siteName(workspace))
}

// stateDir is where the states of a repository's workspaces are that have no backend.
func (e *Engine) stateDir(repo Repository) string {
	return filepath.Join(e.DataDir, "state", fileName(repo.Forge), fileName(repo.Repo.Owner), fileName(repo.Repo.Name))
}

func siteFiles(site string) string { return filepath.Join(site, "files") }
func siteData(site string) string  { return filepath.Join(site, "data") }

// siteName makes a file name of a workspace's name: readable, not too long, and different for different names also where
// a file system folds case.
func siteName(workspace string) string {
	sum := sha256.Sum256([]byte(workspace))
	readable := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c) {
			return c
		}
		return '-'
	}, workspace)
	readable = strings.Trim(readable, ".-")
	if len(readable) > 60 {
		readable = readable[len(readable)-60:]
	}
	return readable + "-" + hex.EncodeToString(sum[:6])
}

// occupy takes the site of a run's workspace. What changes something outside does not wait for plans, which are given
// back: they would be stale anyhow. Neither waits for a look for drift that does not correct.
func (e *Engine) occupy(ctx context.Context, r Run) (release func(), err error) {
	key := string(r.Repository) + "\x00" + r.Workspace
	e.mu.Lock()
	if e.sites == nil {
		e.sites = map[string]chan struct{}{}
	}
	place, ok := e.sites[key]
	if !ok {
		place = make(chan struct{}, 1)
		e.sites[key] = place
	}
	for id, w := range e.busy {
		if id != runKey(r.ID) && w.what == hintRun && !w.applies() && w.run.Repository == r.Repository && w.run.Workspace == r.Workspace && r.Kind.rank() < w.run.Kind.rank() {
			w.cancel(errPreempted)
		}
	}
	e.mu.Unlock()
	select {
	case place <- struct{}{}:
		return func() { <-place }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the directory of %s: %w", r.Workspace, context.Cause(ctx))
	}
}
