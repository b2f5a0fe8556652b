package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/prcomment"
)

// asker is who asks for a command, and how they are told what became of it. What they may do, and why not, is decided the
// same for all: by their login's permission on the forge at that moment, and by the rules of the command.
type asker interface {
	// login is whose permission counts, and who did it.
	login() string
	// others are further logins that must be permitted, such as of whoever has edited a comment.
	others() []string
	// key is what Operation.ReplyTo holds.
	key() string
	// details are what the audit log says of how it was asked for.
	details() map[string]string
	// readable is "" if a run's plan was shown before this was asked, else why its author cannot have read it.
	readable(r Run) string
	// seen leaves a sign that the command is being worked.
	seen(ctx context.Context)
	// answer says what there is to say beside what is reported on the change or issue. It may be called again.
	answer(ctx context.Context, number int, r prcomment.Reply) error
	// refuse says why it is not done. It may be called again.
	refuse(ctx context.Context, number int, why string) error
}

// commenter asks in a comment on a change, or on an issue that tells of drift.
type commenter struct {
	*errand
	comment forge.Comment
}

// commented makes the author of an event's comment the errand's asker.
func (h *errand) commented() {
	h.asker = &commenter{errand: h, comment: *h.event.Event.Comment}
}

func (c *commenter) login() string { return c.comment.Author }

// others is who has edited the comment. Where that is not told, forges let only those do it who may write.
func (c *commenter) others() []string {
	if sender := c.event.Event.Sender; sender != "" && !strings.EqualFold(sender, c.comment.Author) {
		return []string{sender}
	}
	return nil
}

func (c *commenter) key() string { return c.comment.ID }

func (c *commenter) details() map[string]string { return map[string]string{"comment": c.comment.ID} }

// readable compares times of the forge's clock, which counts in whole seconds; nobody reads a plan within the second it
// appears in.
func (c *commenter) readable(r Run) string {
	switch asked := commandedAt(c.comment).Truncate(time.Second); {
	case r.ShownAt.IsZero():
		return unposted(r)
	case !asked.After(r.ShownAt):
		return unreadSince(r)
	}
	return ""
}

func unposted(r Run) string {
	return fmt.Sprintf("the plan of %s is not posted yet. Wait for it, read it, and then apply it.", codeName(r.Workspace))
}

func unreadSince(r Run) string {
	return fmt.Sprintf("the plan of %s was posted at %s, and this was not written after that. Read it, and then apply it.",
		codeName(r.Workspace), r.ShownAt.UTC().Format("15:04:05 MST"))
}

// commandedAt is when a comment came to say what it says.
func commandedAt(c forge.Comment) time.Time {
	if c.UpdatedAt.After(c.CreatedAt) {
		return c.UpdatedAt
	}
	return c.CreatedAt
}

func (c *commenter) seen(ctx context.Context) { c.react(ctx, forge.Seen) }

// react leaves a sign under the comment. Without it nothing is lost.
func (c *commenter) react(ctx context.Context, r forge.Reaction) {
	if err := c.forge.Client.React(ctx, c.repo.Repo, c.comment.ID, r); err != nil {
		c.log.Info("a reaction could not be left", "event", c.event.Key, "error", c.plain(err.Error()))
	}
}

// answer replies to the comment. The key makes it one reply, however often the event is worked.
func (c *commenter) answer(ctx context.Context, number int, r prcomment.Reply) error {
	if r.Refused {
		c.react(ctx, forge.Refused)
		if r.Command == "" {
			r.Command = forge.Cut(strings.TrimSpace(c.comment.Body), 100)
		}
		if r.To == "" {
			r.To = c.comment.Author
		}
	}
	return c.reply(ctx, c.repo.ID, number, replyName(c.comment), r)
}

func (c *commenter) refuse(ctx context.Context, number int, why string) error {
	return c.answer(ctx, number, prcomment.Reply{Refused: true, Says: why})
}

// replyName tells a reply from those to other comments, and to earlier versions of this one.
func replyName(c forge.Comment) string { return fmt.Sprintf("%s-%d", c.ID, c.UpdatedAt.Unix()) }

// visitor asks on a page or through the API.
type visitor struct {
	request requestRow
	why     string // it is refused; "" as long as it is not
}

func (v *visitor) login() string { return v.request.Login }

func (v *visitor) others() []string { return nil }

func (v *visitor) key() string { return v.request.replyTo() }

func (v *visitor) details() map[string]string { return v.request.details() }

// readable goes by what comments showed when the request was written down, which no two clocks have to agree about, and
// by what the page showed that it was sent from.
func (v *visitor) readable(r Run) string {
	shown, confirmed := false, v.request.Seen == nil
	for _, plan := range v.request.Shown {
		shown = shown || plan == r.Plan
	}
	for workspace, plan := range v.request.Seen {
		confirmed = confirmed || workspace == r.Workspace && plan == r.Plan
	}
	switch {
	case r.ShownAt.IsZero():
		return unposted(r)
	case r.Plan == "" || !shown:
		return unreadSince(r)
	case !confirmed:
		return fmt.Sprintf("the plan of %s is not the one that was on the page when this was asked for. Read it, and then apply it.", codeName(r.Workspace))
	}
	return ""
}

func (v *visitor) seen(context.Context) {}

// answer keeps the refusal for when the request is ended, in the transaction that ends its event.
func (v *visitor) answer(_ context.Context, _ int, r prcomment.Reply) error {
	if r.Refused {
		v.why = r.Says
	}
	return nil
}

func (v *visitor) refuse(ctx context.Context, number int, why string) error {
	return v.answer(ctx, number, prcomment.Reply{Refused: true, Says: why})
}
