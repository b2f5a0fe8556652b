package gitea_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/gitea"
)

// secret signed the webhooks in testdata.
const secret = "a secret for webhooks"

// recorded reads a webhook that a real Gitea sent.
func recorded(t *testing.T, name string) (http.Header, []byte) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	request, err := http.ReadRequest(bufio.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		t.Fatal(err)
	}
	return request.Header, body
}

func newClient(t *testing.T, secret string) *gitea.Client {
	t.Helper()
	client, err := gitea.New(gitea.Options{URL: "https://git.example.com", Token: "token", WebhookSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestDecodeRecordedWebhooks(t *testing.T) {
	t.Parallel()
	client := newClient(t, secret)
	type fact struct {
		Kind        forge.Kind
		Change      int
		Ref, Sender string
		Comment     string
	}
	for name, want := range map[string][]fact{
		"opened":          {{Kind: forge.ChangeOpened, Change: 1, Ref: "main", Sender: "operator"}},
		"synchronized":    {{Kind: forge.ChangePushed, Change: 1, Ref: "main", Sender: "operator"}},
		"titled":          {{Kind: forge.ChangePushed, Change: 1, Ref: "main", Sender: "operator"}},
		"described":       {},
		"closed":          {{Kind: forge.ChangeClosed, Change: 1, Ref: "main", Sender: "operator"}},
		"reopened":        {{Kind: forge.ChangeOpened, Change: 1, Ref: "main", Sender: "operator"}},
		"merged":          {{Kind: forge.ChangeMerged, Change: 1, Ref: "main", Sender: "robot"}},
		"commented":       {{Kind: forge.Commented, Change: 1, Sender: "alice", Comment: "plumbline plan"}},
		"comment-edited":  {{Kind: forge.Commented, Change: 1, Sender: "alice", Comment: "plumbline apply"}},
		"issue-commented": {{Kind: forge.Commented, Change: 2, Sender: "alice", Comment: "on an issue"}},
		"approved":        {{Kind: forge.ChangeReviewed, Change: 1, Sender: "alice"}},
		"rejected":        {{Kind: forge.ChangeReviewed, Change: 1, Sender: "alice"}},
		"pushed":          {{Kind: forge.Pushed, Ref: "topic", Sender: "operator"}},
		"pushed-merge":    {{Kind: forge.Pushed, Ref: "main", Sender: "robot"}},
		"deleted":         {{Kind: forge.Pushed, Ref: "topic", Sender: "operator"}},
		"tested":          {{Kind: forge.Ping, Sender: "operator"}},
		"created":         {},
	} {
		header, body := recorded(t, name)
		events, err := client.Decode(header, body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := []fact{}
		for _, e := range events {
			f := fact{Kind: e.Kind, Change: e.Change, Ref: e.Ref, Sender: e.Sender}
			if e.Comment != nil {
				f.Comment = e.Comment.Body
			}
			got = append(got, f)
			if e.Repo.Owner != "acme" || !strings.HasPrefix(e.Key, e.Repo.String()) {
				t.Errorf("%s: the event is about %s and has the key %q", name, e.Repo, e.Key)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, err := client.Decode(header, body)
		if err != nil || cmp.Diff(events, again) != "" {
			t.Errorf("%s: delivered again it is %v, %v; want the same events", name, again, err)
		}
	}
}

func TestDecodeRefusesWhatIsNotSigned(t *testing.T) {
	t.Parallel()
	header, body := recorded(t, "opened")
	with := func(name, value string) http.Header {
		h := header.Clone()
		h.Set(name, value)
		return h
	}
	without := header.Clone()
	without.Del("X-Gitea-Signature")
	signature := header.Get("X-Gitea-Signature")
	for name, c := range map[string]struct {
		header http.Header
		body   []byte
		secret string
	}{
		"no signature":         {without, body, secret},
		"empty signature":      {with("X-Gitea-Signature", ""), body, secret},
		"no hex":               {with("X-Gitea-Signature", "sha256="+signature), body, secret},
		"half a signature":     {with("X-Gitea-Signature", signature[:32]), body, secret},
		"another body":         {header, append([]byte(" "), body...), secret},
		"another secret":       {header, body, "guess"},
		"form, not understood": {with("Content-Type", "application/x-www-form-urlencoded"), []byte("payload=%7B%7D"), secret},
	} {
		if events, err := newClient(t, c.secret).Decode(c.header, c.body); !errors.Is(err, forge.ErrSignature) || events != nil {
			t.Errorf("%s: %v, %v; want ErrSignature", name, events, err)
		}
	}
}

func TestDecodeOfNonsense(t *testing.T) {
	t.Parallel()
	client := newClient(t, "") // whoever can sign can also send nonsense
	for name, c := range map[string]struct {
		kind, media, body string
		want              error
	}{
		"no JSON":             {"push", "application/json", "{canary", forge.ErrPayload},
		"no object":           {"push", "application/json", "[1]", forge.ErrPayload},
		"null":                {"issue_comment", "application/json", "null", forge.ErrPayload},
		"no repository":       {"pull_request", "application/json", `{"action": "opened", "pull_request": {"number": 1}}`, forge.ErrPayload},
		"no event":            {"", "application/json", "{}", forge.ErrPayload},
		"no type":             {"push", "", "{}", forge.ErrPayload},
		"form":                {"push", "application/x-www-form-urlencoded", "payload=%7B%7D", forge.ErrPayload},
		"unknown event":       {"package", "application/json; charset=utf-8", "{}", nil},
		"no pull request":     {"pull_request", "application/json", `{"action": "opened", "repository": {"name": "live", "owner": {"login": "acme"}}}`, nil},
		"review of nothing":   {"pull_request_approved", "application/json", `{"repository": {"name": "live", "owner": {"login": "acme"}}}`, nil},
		"comment without one": {"issue_comment", "application/json", `{"action": "created", "is_pull": true, "repository": {"name": "live", "owner": {"login": "acme"}}}`, nil},
		"tag":                 {"push", "application/json", `{"ref": "refs/tags/v1", "repository": {"name": "live", "owner": {"login": "acme"}}}`, nil},
	} {
		header := http.Header{"X-Gitea-Event": {c.kind}, "Content-Type": {c.media}}
		events, err := client.Decode(header, []byte(c.body))
		if !errors.Is(err, c.want) || len(events) != 0 {
			t.Errorf("%s: %v, %v; want no events and %v", name, events, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes the payload: %v", name, err)
		}
	}
}
