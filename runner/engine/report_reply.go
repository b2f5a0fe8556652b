package engine

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// reply answers a comment on a change with one of ours, once: the key says what is answered, and a second reply with the
// same key finds the first one. It may be called again after any failure, by any process that has claimed the event.
//
// The reply's Key and Secrets are set here. Do not call it inside of a transaction.
func (e *Engine) reply(ctx context.Context, repoID RepoID, change int, key string, r prcomment.Reply) error {
	var repo Repository
	var rows []CommentRow
	var known bool
	err := e.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		if repo, known, err = e.store.repository(ctx, tx, repoID); err != nil || !known {
			return err
		}
		rows, err = e.store.comments(ctx, tx, repoID, change)
		return err
	})
	if err != nil {
		return err
	}
	f, ok := e.forge(repo.Forge)
	if !known || !ok {
		return fmt.Errorf("reply on %s#%d: %w", repoID, change, errNotServed)
	}
	r.Key, r.Secrets = replyKey(key), e.Secrets
	t := e.newThread(f.Client, repo, change, rows, nil)
	if _, said := t.rows[place{r.Key, 1}]; said {
		return nil
	}
	return t.put(ctx, place{r.Key, 1}, forge.Cut(prcomment.RenderReply(r), forge.MaxComment), false)
}

// replyKey is the key of the comment that answers what key names: a comment's id, as a rule.
func replyKey(key string) string { return "reply-" + key }
