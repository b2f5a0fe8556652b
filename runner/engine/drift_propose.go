package engine

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/prcomment"
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
	if err := p.asker.answer(ctx, p.issue.Number, prcomment.Reply{Body: answer}); err != nil {
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
