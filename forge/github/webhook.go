package github

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/plumbline-dev/plumbline/forge"
)

// Decode turns a webhook into events. The body must be the raw one, for the signature is over its bytes; a wrong or
// missing signature is forge.ErrSignature, and a payload that makes no sense is forge.ErrPayload. A webhook about something
// that Plumbline does not care for is no error and yields no events.
//
// Bodies of type application/json and application/x-www-form-urlencoded are read, which are the two that GitHub sends.
func (c *Client) Decode(header http.Header, body []byte) ([]forge.Event, error) {
	if c.opts.WebhookSecret != "" {
		// Only SHA-256: the older header with SHA-1 would let its weakness decide. The comparison takes constant time.
		signature := header.Get(github.SHA256SignatureHeader)
		if !strings.HasPrefix(signature, "sha256=") {
			return nil, fmt.Errorf("no %s header: %w", github.SHA256SignatureHeader, forge.ErrSignature)
		}
		if err := github.ValidateSignature(signature, body, []byte(c.opts.WebhookSecret)); err != nil {
			return nil, fmt.Errorf("%s does not match the body: %w", github.SHA256SignatureHeader, forge.ErrSignature)
		}
	}
	// The signature has been checked over the raw body above; this takes the payload out of a form.
	payload, err := github.ValidatePayloadFromBody(header.Get("Content-Type"), bytes.NewReader(body), "", nil)
	if err != nil {
		return nil, fmt.Errorf("read webhook of type %q: %w", header.Get("Content-Type"), forge.ErrPayload)
	}
	kind := header.Get(github.EventTypeHeader)
	switch kind {
	case "pull_request", "issue_comment", "pull_request_review", "push", "ping":
	case "":
		return nil, fmt.Errorf("no %s header: %w", github.EventTypeHeader, forge.ErrPayload)
	default:
		return nil, nil
	}
	parsed, err := github.ParseWebHook(kind, payload)
	if err != nil {
		// The library's error may quote the payload.
		return nil, fmt.Errorf("read %s webhook: %w", kind, forge.ErrPayload)
	}
	var events []forge.Event
	switch e := parsed.(type) {
	case *github.PingEvent:
		return []forge.Event{{Key: "ping " + strconv.FormatInt(e.GetHookID(), 10), Kind: forge.Ping, Sender: e.GetSender().GetLogin()}}, nil
	case *github.PullRequestEvent:
		events = changeEvents(e)
	case *github.IssueCommentEvent:
		events = commentEvents(e)
	case *github.PullRequestReviewEvent:
		events = reviewEvents(e)
	case *github.PushEvent:
		events = pushEvents(e)
	}
	for _, event := range events {
		if event.Repo.Owner == "" || event.Repo.Name == "" {
			return nil, fmt.Errorf("read %s webhook: it names no repository: %w", kind, forge.ErrPayload)
		}
	}
	return events, nil
}

func changeEvents(e *github.PullRequestEvent) []forge.Event {
	if e.GetPullRequest().GetNumber() == 0 {
		return nil
	}
	c := toChange(toRepo(e.GetRepo()), e.GetPullRequest())
	kind := forge.ChangePushed
	switch e.GetAction() {
	case "opened", "reopened":
		kind = forge.ChangeOpened
	case "synchronize", "ready_for_review", "converted_to_draft":
	case "edited":
		// The title and the body may be edited too, which changes nothing for us.
		if e.GetChanges().GetBase() == nil {
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
	return []forge.Event{forge.ChangeEvent(kind, c, e.GetBefore(), e.GetSender().GetLogin())}
}

func commentEvents(e *github.IssueCommentEvent) []forge.Event {
	if a := e.GetAction(); a != "created" && a != "edited" {
		return nil
	}
	c := toComment(e.GetComment(), "")
	c.Change, c.Issue = e.GetIssue().GetNumber(), !e.GetIssue().IsPullRequest()
	return []forge.Event{forge.CommentEvent(toRepo(e.GetRepo()), c.Change, c, e.GetSender().GetLogin())}
}

func reviewEvents(e *github.PullRequestReviewEvent) []forge.Event {
	switch e.GetAction() {
	case "submitted", "edited", "dismissed":
	default:
		return nil
	}
	r := e.GetReview()
	return []forge.Event{forge.ReviewEvent(toRepo(e.GetRepo()), e.GetPullRequest().GetNumber(),
		strconv.FormatInt(r.GetID(), 10), strings.ToLower(r.GetState()), e.GetSender().GetLogin(), r.GetSubmittedAt().Time)}
}

func pushEvents(e *github.PushEvent) []forge.Event {
	branch, ok := strings.CutPrefix(e.GetRef(), "refs/heads/")
	if !ok {
		return nil // a tag
	}
	repo := forge.Repo{Owner: e.GetRepo().GetOwner().GetLogin(), Name: e.GetRepo().GetName()}
	if repo.Owner == "" {
		// Pushes name the owner as a committer is named.
		repo.Owner = e.GetRepo().GetOwner().GetName()
	}
	return []forge.Event{forge.PushEvent(repo, branch, e.GetBefore(), e.GetAfter(), e.GetSender().GetLogin(), e.GetRepo().GetPushedAt().Time)}
}

func toRepo(r *github.Repository) forge.Repo {
	return forge.Repo{Owner: r.GetOwner().GetLogin(), Name: r.GetName()}
}
