package gitea

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"code.gitea.io/sdk/gitea"

	"github.com/plumbline-dev/plumbline/forge"
)

// payload has what is read of any webhook.
type payload struct {
	Action      string             `json:"action"`
	Repository  *gitea.Repository  `json:"repository"`
	Sender      *gitea.User        `json:"sender"`
	PullRequest *gitea.PullRequest `json:"pull_request"`
	Changes     struct {
		Title *struct{} `json:"title"`
		Ref   *struct{} `json:"ref"`
	} `json:"changes"`
	Review struct {
		Type string `json:"type"`
	} `json:"review"`

	Issue   *gitea.Issue   `json:"issue"`
	IsPull  bool           `json:"is_pull"`
	Comment *gitea.Comment `json:"comment"`

	Ref     string `json:"ref"`
	RefType string `json:"ref_type"`
	Before  string `json:"before"`
	After   string `json:"after"`
}

// Decode turns a webhook into events. The body must be the raw one, for the signature is over its bytes; a wrong or
// missing signature is forge.ErrSignature, and a payload that makes no sense is forge.ErrPayload. A webhook about something
// that Plumbline does not care for is no error and yields no events.
//
// The webhook must have the content type application/json. Forgejo sends the same headers as Gitea.
//
// Gitea gives no id to a review in a webhook, so its event's key has the reviewer in that place. It marks a draft by a
// prefix of the title, so any new title may be a change between draft and not: it is told as forge.ChangePushed. It has no
// ping of its own: its test delivery looks like a push from a commit to that same commit, and is told as forge.Ping.
func (c *Client) Decode(header http.Header, body []byte) ([]forge.Event, error) {
	const signature, kindHeader = "X-Gitea-Signature", "X-Gitea-Event"
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if c.opts.WebhookSecret != "" {
		// The SDK compares in constant time.
		if ok, err := gitea.VerifyWebhookSignature(c.opts.WebhookSecret, header.Get(signature), body); err != nil || !ok {
			why := signature + " does not match the body"
			switch {
			case header.Get(signature) == "":
				why = "no " + signature + " header"
			case media != "application/json":
				why += "; set the webhook's content type to application/json"
			}
			return nil, fmt.Errorf("%s: %w", why, forge.ErrSignature)
		}
	}
	if media != "application/json" {
		return nil, fmt.Errorf("read webhook of type %q: set its content type to application/json: %w", media, forge.ErrPayload)
	}
	kind := header.Get(kindHeader)
	var decode func(payload) []forge.Event
	switch kind {
	case "pull_request":
		decode = changeEvents
	case "issue_comment":
		decode = commentEvents
	case "pull_request_approved", "pull_request_rejected", "pull_request_comment":
		decode = reviewEvents
	case "push":
		decode = pushEvents
	case "delete":
		decode = deleteEvents
	case "":
		return nil, fmt.Errorf("no %s header: %w", kindHeader, forge.ErrPayload)
	default:
		return nil, nil
	}
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		// The library's error may quote the payload.
		return nil, fmt.Errorf("read %s webhook: %w", kind, forge.ErrPayload)
	}
	if repo := toRepo(p.Repository); repo.Owner == "" || repo.Name == "" {
		return nil, fmt.Errorf("read %s webhook: it names no repository: %w", kind, forge.ErrPayload)
	}
	return decode(p), nil
}

func changeEvents(p payload) []forge.Event {
	if p.PullRequest == nil || p.PullRequest.Index <= 0 {
		return nil
	}
	c := toChange(toRepo(p.Repository), p.PullRequest)
	kind := forge.ChangePushed
	switch p.Action {
	case "opened", "reopened":
		kind = forge.ChangeOpened
	case "synchronized":
	case "edited":
		// The body may be edited too, which changes nothing for us.
		if p.Changes.Title == nil && p.Changes.Ref == nil {
			return nil
		}
	case "closed":
		kind = forge.ChangeClosed
		if c.State == forge.Merged {
			kind = forge.ChangeMerged
		}
	default:
		return nil
	}
	if kind == forge.ChangePushed && c.State != forge.Open {
		return nil
	}
	return []forge.Event{forge.ChangeEvent(kind, c, "", login(p.Sender))}
}

func commentEvents(p payload) []forge.Event {
	if (p.Action != "created" && p.Action != "edited") || p.Issue == nil || p.Comment == nil {
		return nil
	}
	c := toComment(p.Comment, "")
	c.Change, c.Issue = int(p.Issue.Index), !p.IsPull
	return []forge.Event{forge.CommentEvent(toRepo(p.Repository), c.Change, c, login(p.Sender))}
}

func reviewEvents(p payload) []forge.Event {
	if p.PullRequest == nil || p.PullRequest.Index <= 0 {
		return nil
	}
	state := strings.TrimPrefix(p.Review.Type, "pull_request_review_")
	return []forge.Event{forge.ReviewEvent(toRepo(p.Repository), int(p.PullRequest.Index), "of "+login(p.Sender), state,
		login(p.Sender), moment(p.PullRequest.Updated))}
}

func pushEvents(p payload) []forge.Event {
	branch, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	if !ok {
		return nil // a tag
	}
	event := forge.PushEvent(toRepo(p.Repository), branch, p.Before, p.After, login(p.Sender), p.Repository.Updated)
	if p.Before == p.After {
		event = forge.Event{Key: fmt.Sprintf("%s ping", event.Repo), Kind: forge.Ping, Repo: event.Repo, Sender: event.Sender}
	}
	return []forge.Event{event}
}

// deleteEvents tells of a branch that is gone. Gitea does not say where it was, so the key has the time instead.
func deleteEvents(p payload) []forge.Event {
	if p.RefType != "branch" {
		return nil
	}
	event := forge.PushEvent(toRepo(p.Repository), p.Ref, "", "", login(p.Sender), p.Repository.Updated)
	event.Key += fmt.Sprintf(" at %d", event.At.Unix())
	return []forge.Event{event}
}
