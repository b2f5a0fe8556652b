package engine

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/prcomment"
	"github.com/plumbline-dev/plumbline/runner"
)

// proposal is a pull request that somebody asked for on an issue.
type proposal struct {
	base  string            // the commit that is edited
	files map[string][]byte // by path, as they are to be
	name  string            // of the branch: the same request has the same one
	title string            // plain text
	lines []string          // what it does, in Markdown that is safe
	left  []string          // what it does not do, for the reply; Markdown that is safe
}

// shortDigest names a request.
func shortDigest(words []string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// propose opens the pull request, or brings the one that is open to what is asked for now, and answers with its number. It
// may be called again after any failure.
func (p *plea) propose(ctx context.Context, c *clone, r proposal) error {
	branch := gitrepo.PushedBranches + r.name
	by := p.actorName()
	commit, err := c.mirror.Commit(ctx, gitrepo.Edit{
		Base: r.base, Files: r.files, At: p.event.Event.Comment.UpdatedAt,
		Message: p.plain(fmt.Sprintf("%s\n\nAsked for by %s in #%d.", r.title, by, p.issue.Number)),
	})
	if errors.Is(err, gitrepo.ErrUnchanged) {
		return &refusal{why: fmt.Sprintf("%s says so already.", codeName(p.repo.DefaultBranch)), noted: "there is nothing to change"}
	}
	if err != nil {
		return err
	}
	if err := p.pushBranch(ctx, c, branch, commit); err != nil {
		return err
	}
	body := fmt.Sprintf("%s asked for this in %s, about drift of the workspace %s:\n\n%s\n\n", prcomment.Code(by), p.commentLink(), prcomment.Code(p.workspace), strings.Join(r.lines, "\n"))
	body += "It is planned like any pull request, and counts once it is merged. A further request of the same kind replaces the commit here.\n"
	change, err := p.forge.Client.OpenChange(ctx, p.repo.Repo, branch, p.repo.DefaultBranch,
		forge.Cut(prcomment.Redact(r.title, p.Secrets), 200), forge.Cut(prcomment.Redact(body, p.Secrets), forge.MaxComment))
	var no *forge.NotAllowedError
	if errors.As(err, &no) {
		return &refusal{why: fmt.Sprintf("the branch %s is there, and the pull request could not be opened: %s", codeName(branch), no.Error()), noted: "the forge refused the pull request"}
	}
	if err != nil {
		return err
	}
	answer := fmt.Sprintf("#%d proposes it. It counts once it is merged.\n", change.Number)
	if len(r.left) > 0 {
		answer += "\nNot in it:\n\n" + strings.Join(r.left, "\n") + "\n"
	}
	if err := p.answer(ctx, p.issue.Number, prcomment.Reply{Body: answer}); err != nil {
		return err
	}
	return p.conclude(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		entry := p.entry(true, "a pull request was opened", map[string]string{"branch": branch})
		entry.Change, entry.Commit = int64(change.Number), commit
		return []audit.Entry{entry}, nil
	})
}

// commentLink leads to the comment that asked.
func (p *plea) commentLink() string {
	url := p.event.Event.Comment.URL
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") || strings.ContainsAny(url, " <>()[]\"'`") {
		return fmt.Sprintf("#%d", p.issue.Number)
	}
	return fmt.Sprintf("[a comment](%s) on #%d", url, p.issue.Number)
}

// pushBranch moves a branch of ours to a commit. One that somebody else has committed to is left alone.
func (p *plea) pushBranch(ctx context.Context, c *clone, branch, commit string) error {
	before, err := p.forge.Client.Branch(ctx, p.repo.Repo, branch)
	switch {
	case errors.Is(err, forge.ErrNotFound):
		before = ""
	case err != nil:
		return err
	case before == commit:
		return nil
	default:
		if err := c.fetch(ctx, branchRef(branch)); err != nil {
			return err
		}
		made, err := c.mirror.MadeHere(ctx, before)
		if err != nil {
			return err
		}
		if !made {
			return &refusal{why: fmt.Sprintf("the branch %s has commits of others on it. Merge its pull request, or delete the branch.", codeName(branch)), noted: "the branch has commits of others"}
		}
	}
	cred, err := p.forge.Client.PushCredential(ctx, p.repo.Repo)
	var no *forge.NotAllowedError
	if errors.As(err, &no) {
		return &refusal{why: "the server may not push to this repository: " + no.Error(), noted: "the server may not push"}
	}
	if err != nil {
		return err
	}
	_, address, err := c.credential(ctx, false)
	if err != nil {
		return err
	}
	err = c.mirror.Push(ctx, address, gitrepo.Credential{Username: cred.Username, Password: cred.Password}, branch, before, commit)
	if errors.Is(err, gitrepo.ErrRejected) {
		return &refusal{why: fmt.Sprintf("the repository does not take the branch %s: a rule of the forge forbids it.", codeName(branch)), noted: "the forge refused the branch"}
	}
	return err
}

// file reads a file of a commit that the mirror has; nil if it is not there.
func (c *clone) file(ctx context.Context, commit, name string) ([]byte, error) {
	tree, err := c.tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	data, err := fs.ReadFile(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", name, c.id, err)
	}
	return data, nil
}

// adopt proposes in a pull request what is real, after a plan has proved it.
func (p *plea) adopt(ctx context.Context) error {
	if err := p.one(); err != nil {
		return err
	}
	found, err := p.found(ctx)
	if err != nil {
		return err
	}
	chosen, err := chooseFindings(found, p.cmd.Addresses)
	if err != nil {
		return err
	}
	if len(p.cmd.Addresses) == 0 {
		chosen = nil // what no rule ignores
	}
	tip, set, err := p.atTip(ctx, p.repo.DefaultBranch)
	if err != nil {
		return err
	}
	w, known := set.Get(p.workspace)
	if !known {
		return &refusal{why: fmt.Sprintf("%s has no workspace %s any more.", codeName(p.repo.DefaultBranch), codeName(p.workspace)), noted: "there is no such workspace"}
	}
	res, err := p.adoptInSite(ctx, tip, w.Dir, chosen)
	if err != nil {
		return err
	}
	a := res.Adoption
	switch {
	case a == nil || res.Status == runner.Failed:
		return &refusal{why: "the workspace could not be planned: " + forge.Cut(fmt.Sprint(res.Err), 500), noted: "the workspace could not be planned"}
	case a.Refused != nil:
		return &refusal{why: sentence(forge.Cut(a.Refused.Error(), 500)), noted: "the plan that was to prove it did not"}
	}
	left := make([]string, 0, len(a.Left))
	for _, l := range a.Left[:min(len(a.Left), mostListed)] {
		left = append(left, placeLine(l.Address, l.Attribute)+": "+prcomment.Text(l.Why))
	}
	if len(a.Files) == 0 {
		why := "there is nothing that the configuration could adopt."
		if len(left) > 0 {
			return p.leftAll(ctx, left)
		}
		return &refusal{why: why}
	}
	lines := make([]string, 0, len(a.Adopted))
	for _, place := range a.Adopted[:min(len(a.Adopted), 2*mostListed)] {
		lines = append(lines, placeLine(place.Address, place.Attribute))
	}
	if len(left) > 0 {
		lines = append(lines, "", "Not in it:", "")
		lines = append(lines, left...)
	}
	c, err := p.clone(ctx, p.repo)
	if err != nil {
		return err
	}
	slices.Sort(chosen)
	return p.propose(ctx, c, proposal{
		base: tip, files: a.Files, name: "adopt-" + shortDigest(append([]string{p.workspace}, chosen...)),
		title: "Adopt drift of " + p.workspace, lines: lines, left: left,
	})
}

func placeLine(address, attribute string) string {
	text := "- " + prcomment.Code(address)
	if attribute != "" {
		text += " " + prcomment.Code(attribute)
	}
	return text
}

// leftAll answers that nothing could be adopted, and why.
func (p *plea) leftAll(ctx context.Context, left []string) error {
	p.react(ctx, forge.Refused)
	err := p.answer(ctx, p.issue.Number, prcomment.Reply{
		Refused: true, Says: "nothing of it can be written into the configuration.", Body: strings.Join(left, "\n") + "\n",
	})
	if err != nil {
		return err
	}
	return p.conclude(ctx, func(*sql.Tx) ([]audit.Entry, error) {
		return []audit.Entry{p.entry(false, "refused: nothing of it can be written into the configuration", nil)}, nil
	})
}

// adoptInSite edits and plans in the workspace's site, which it gives up to an apply that wants it; then it is tried again
// later. It counts as a run of this process.
func (p *plea) adoptInSite(ctx context.Context, commit, dir string, addresses []string) (runner.Result, error) {
	plans, err := p.Plans(string(p.repo.ID))
	if err != nil {
		return runner.Result{}, err
	}
	t := &task{
		Engine: p.Engine, repo: p.repo, plans: plans,
		run: Run{ID: "adopt " + p.event.Key, Repository: p.repo.ID, Workspace: p.workspace, Dir: dir, Kind: KindPlan},
		op:  Operation{Repository: p.repo.ID, Kind: KindPlan, Branch: p.repo.DefaultBranch, HeadCommit: commit, Commit: commit},
	}
	on, done, ok := p.Engine.begin(ctx, runKey(t.run.ID), &working{what: hintRun, run: t.run})
	if !ok {
		return runner.Result{}, &laterError{p.store.now().Add(10 * time.Second), "the server stops, or is at it already"}
	}
	defer done()
	release, err := p.occupy(on, t.run)
	if err != nil {
		return runner.Result{}, p.soon(on, err)
	}
	defer release()
	f, err := t.furnish(on)
	if err != nil {
		return runner.Result{}, p.soon(on, err)
	}
	defer f.close()
	res := f.runner.Adopt(on, f.workspace, runner.AdoptOptions{Addresses: addresses})
	if on.Err() != nil {
		return res, p.soon(on, context.Cause(on))
	}
	return res, nil
}

// soon is the error of something that gave way to others: it is tried again in a moment.
func (p *plea) soon(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errPreempted) || errors.Is(err, errOccupied) {
		return &laterError{p.store.now().Add(10 * time.Second), "an apply of the workspace goes first"}
	}
	return err
}
