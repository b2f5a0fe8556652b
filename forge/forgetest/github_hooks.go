package forgetest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
)

// hookQueue sends webhooks, one after the other. Like GitHub it does not try again by itself.
type hookQueue struct {
	g    *GitHub
	mu   sync.Mutex
	cond *sync.Cond
	url  string
	urls map[forge.Repo]string // what SendWebhooksOf says
	all  []hookDelivery
	sent int // how many of all have been dealt with
	done bool
	over chan struct{}
}

type hookDelivery struct {
	Delivery
	repo forge.Repo
	url  string
}

func (q *hookQueue) init(g *GitHub) {
	q.g, q.over, q.urls = g, make(chan struct{}), map[forge.Repo]string{}
	q.cond = sync.NewCond(&q.mu)
	go q.send()
}

func (q *hookQueue) close() {
	q.mu.Lock()
	q.done = true
	q.cond.Broadcast()
	q.mu.Unlock()
	<-q.over
}

func (q *hookQueue) send() {
	defer close(q.over)
	client := &http.Client{Timeout: 10 * time.Second}
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for q.sent == len(q.all) && !q.done {
			q.cond.Wait()
		}
		if q.done {
			return
		}
		d := q.all[q.sent]
		if d.url != "" {
			q.mu.Unlock()
			if req, err := http.NewRequest(http.MethodPost, d.url, bytes.NewReader(d.Body)); err == nil {
				req.Header = d.Header.Clone()
				d.SentAt = time.Now()
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}
			q.mu.Lock()
			q.all[q.sent].SentAt = d.SentAt
		}
		q.sent++
		q.cond.Broadcast()
	}
}

func (q *hookQueue) add(repo forge.Repo, event string, payload map[string]any) {
	d := q.g.Sign(http.Header{
		"Content-Type":   {"application/json"},
		"User-Agent":     {"GitHub-Hookshot/fake"},
		"X-Github-Event": {event},
	}, mustJSON(payload))
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, hookDelivery{Delivery: d, repo: repo, url: q.target(repo)})
	q.cond.Broadcast()
}

// SendWebhooks sends each webhook from now on to the address, or nowhere if it is "".
func (g *GitHub) SendWebhooks(url string) {
	g.hooks.mu.Lock()
	g.hooks.url = url
	g.hooks.mu.Unlock()
	if url != "" {
		g.hooks.add(forge.Repo{}, "ping", map[string]any{
			"zen": "Keep it logically awesome.", "hook_id": hookID,
			"hook": map[string]any{"type": "Repository", "id": hookID, "active": true, "events": []string{"*"}},
		})
	}
}

// SendWebhooksOf sends each webhook about a repository from now on to the address, whatever SendWebhooks says, or nowhere
// if it is "".
func (g *GitHub) SendWebhooksOf(_ testing.TB, repo forge.Repo, address string) {
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	g.hooks.urls[repo] = address
}

// target is where webhooks about a repository go.
func (q *hookQueue) target(repo forge.Repo) string {
	if url, ok := q.urls[repo]; ok {
		return url
	}
	return q.url
}

// Sign makes a webhook of a header and a body, as another delivery. Nothing is sent.
func (g *GitHub) Sign(header http.Header, body []byte) Delivery {
	mac := hmac.New(sha256.New, []byte(g.WebhookSecret))
	mac.Write(body)
	header = header.Clone()
	header.Set("X-Github-Delivery", randomHex(16))
	header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return Delivery{Header: header, Body: body}
}

// Redeliver sends once more every webhook about the repository that was made so far.
func (g *GitHub) Redeliver(repo forge.Repo) {
	g.hooks.mu.Lock()
	defer g.hooks.mu.Unlock()
	for _, d := range g.hooks.all {
		if d.repo == repo {
			d.url = g.hooks.target(repo)
			g.hooks.all = append(g.hooks.all, d)
		}
	}
	g.hooks.cond.Broadcast()
}

// Deliveries returns the webhooks about the repository that were made so far, in order, once they have been sent.
func (g *GitHub) Deliveries(t testing.TB, repo forge.Repo) []Delivery {
	t.Helper()
	q := &g.hooks
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.sent < len(q.all) {
		q.cond.Wait()
	}
	var found []Delivery
	for _, d := range q.all {
		if strings.EqualFold(d.repo.String(), repo.String()) {
			found = append(found, d.Delivery)
		}
	}
	return found
}

func (g *GitHub) hook(r *ghRepo, event, sender string, payload map[string]any) {
	repository := g.repoJSON(r)
	if event == "push" {
		// There the repository's times are numbers.
		repository["pushed_at"], repository["created_at"] = r.pushed.Unix(), r.created.Unix()
	}
	payload["repository"] = repository
	payload["sender"] = g.userJSON(sender)
	if i := g.installations[strings.ToLower(r.repo.Owner)]; i != nil {
		payload["installation"] = map[string]any{"id": i.id, "node_id": nodeID("I", i.id)}
	}
	g.hooks.add(r.repo, event, payload)
}

func (g *GitHub) pullHook(r *ghRepo, i *ghIssue, action, sender string, more map[string]any) {
	if action != "opened" && action != "closed" && action != "reopened" {
		g.touch(i)
	}
	payload := map[string]any{"action": action, "number": i.number, "pull_request": g.pullJSON(r, i, true)}
	for k, v := range more {
		payload[k] = v
	}
	g.hook(r, "pull_request", sender, payload)
}

func (g *GitHub) commentHook(r *ghRepo, c *ghComment, action, sender string, more map[string]any) {
	payload := map[string]any{"action": action, "issue": g.issueJSON(r, c.issue), "comment": g.commentJSON(r, c)}
	for k, v := range more {
		payload[k] = v
	}
	g.hook(r, "issue_comment", sender, payload)
}

func (g *GitHub) reviewHook(r *ghRepo, i *ghIssue, v *ghReview, action, sender string) {
	review := g.reviewJSON(r, i, v)
	review["state"] = strings.ToLower(v.state) // webhooks have it in lower case, the API in upper
	g.hook(r, "pull_request_review", sender, map[string]any{"action": action, "review": review, "pull_request": g.pullJSON(r, i, false)})
}

func (g *GitHub) pushHook(r *ghRepo, ref, before, after, sender string) {
	payload := map[string]any{
		"ref": ref, "before": orZeroes(before), "after": orZeroes(after), "created": before == "", "deleted": after == "",
		"forced": false, "base_ref": nil, "commits": []any{}, "head_commit": nil, "compare": g.html(r, "compare"),
		"pusher": map[string]any{"name": sender, "email": sender + "@example.com"},
	}
	g.hook(r, "push", sender, payload)
}

func orZeroes(commit string) string {
	if commit == "" {
		return zeroes
	}
	return commit
}
