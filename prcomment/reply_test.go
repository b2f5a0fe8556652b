package prcomment_test

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/prcomment"
)

func TestReply(t *testing.T) {
	for _, c := range []struct {
		reply prcomment.Reply
		want  string
	}{
		{prcomment.Reply{Key: "reply-17", To: "mallory", Command: "plumbline apply -w `x` @octocat", Refused: true, Says: "it takes write permission in acme/live, and `mallory` may only read"},
			"⛔ ``plumbline apply -w `x` @octocat`` by `mallory` is refused: it takes write permission in acme/live, and `mallory` may only read\n"},
		{prcomment.Reply{Key: "reply-18", Refused: true, Says: "ping @octocat, see #12"}, "⛔ Refused: ping @&#8203;octocat, see #&#8203;12\n"},
		{prcomment.Reply{Key: "reply-19", Command: "plumbline unlock", To: "alice", Says: "no lock is held"}, "`plumbline unlock` by `alice`: no lock is held\n"},
		{prcomment.Reply{Key: "reply-20", Body: "| a |\n| --- |\n| token " + secret + " |\n", Secrets: []string{secret}}, "| a |\n| --- |\n| token (redacted) |\n"},
	} {
		page := prcomment.RenderReply(c.reply)
		mark, ok := prcomment.ParseMark(page)
		if !ok || mark.Kind != prcomment.KindReply || mark.Key != c.reply.Key {
			t.Errorf("mark of %q: %+v, %v", page, mark, ok)
		}
		if _, got, _ := strings.Cut(page, "\n"); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
		if _, command, _ := prcomment.ParseCommand(page); command {
			t.Errorf("a reply is read as a command: %q", page)
		}
	}
}

// TestReplyQuotesAnything holds a hostile command and reason to what every page is held to.
func TestReplyQuotesAnything(t *testing.T) {
	page := prcomment.RenderReply(prcomment.Reply{Key: "k", To: hostile, Command: hostile, Refused: true, Says: hostile, Secrets: []string{secret}})
	checkMarkup(t, 1, page)
	if strings.Count(page, "<!-- plumbline:") != 1 {
		t.Errorf("a second mark: %q", page)
	}
}
