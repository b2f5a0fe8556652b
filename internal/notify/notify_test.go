package notify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/internal/notify"
)

func event(state notify.State, findings ...notify.Finding) notify.Event {
	return notify.Event{At: time.Unix(1, 0), Repository: "acme/live", Workspace: "network/prod", State: state, Findings: findings}
}

var (
	node    = notify.Finding{Address: "toy_node.a", Class: "node", Cause: "outside"}
	cluster = notify.Finding{Address: "toy_cluster.b", Class: "cluster", Cause: "upgrade"}
)

func TestRulePicks(t *testing.T) {
	for name, c := range map[string]struct {
		rule  notify.Rule
		event notify.Event
		want  []notify.Finding // nil: not wanted
	}{
		"no rule":             {notify.Rule{}, event(notify.Drifted, node, cluster), []notify.Finding{node, cluster}},
		"a class":             {notify.Rule{Classes: []string{"cluster"}}, event(notify.Drifted, node, cluster), []notify.Finding{cluster}},
		"a cause":             {notify.Rule{Causes: []string{"outside"}}, event(notify.Drifted, node, cluster), []notify.Finding{node}},
		"of one finding each": {notify.Rule{Causes: []string{"outside"}, Classes: []string{"cluster"}}, event(notify.Drifted, node, cluster), nil},
		"a state":             {notify.Rule{States: []notify.State{notify.Fight}}, event(notify.Drifted, node), nil},
		"a workspace":         {notify.Rule{Workspaces: []string{"network/*"}}, event(notify.Drifted, node), []notify.Finding{node}},
		"deeper":              {notify.Rule{Workspaces: []string{"**/prod"}}, event(notify.Drifted, node), []notify.Finding{node}},
		"not deeper":          {notify.Rule{Workspaces: []string{"*"}}, event(notify.Drifted, node), nil},
		"a repository":        {notify.Rule{Repos: []string{"acme/*"}}, event(notify.Drifted, node), []notify.Finding{node}},
		"another repository":  {notify.Rule{Repos: []string{"other/*"}}, event(notify.Drifted, node), nil},
		"about no finding":    {notify.Rule{Classes: []string{"cluster"}}, event(notify.Unknown), []notify.Finding{}},
	} {
		got, ok := c.rule.Pick(c.event)
		if ok != (c.want != nil) || ok && !slices.Equal(got.Findings, c.want) {
			t.Errorf("%s: Pick = %v, %v; want %v", name, got.Findings, ok, c.want)
		}
	}
}

func TestCompose(t *testing.T) {
	unknown := event(notify.Unknown)
	unknown.Note = "Error: throttled\nby @here <!channel>"
	title, message := notify.Compose([]notify.Line{
		{Event: unknown},
		{Event: event(notify.Drifted, node, cluster, node, node), URL: "https://forge.example/acme/live/issues/3"},
		{Event: event(notify.Fight, node), Again: true},
	})
	const wantTitle = "Plumbline: 1 fight, 1 drifted, 1 unknown"
	const want = `(maybe again) acme/live network/prod is fought over: toy_node.a (outside, node)
acme/live network/prod has drifted: toy_node.a (outside, node), toy_cluster.b (upgrade, cluster), toy_node.a (outside, node), 1 more https://forge.example/acme/live/issues/3
acme/live network/prod cannot be looked at; Error: throttled by ＠here ‹!channel›`
	if title != wantTitle || message != want {
		t.Errorf("Compose = %q\n%s\nwant %q\n%s", title, message, wantTitle, want)
	}
	if title, _ := notify.Compose([]notify.Line{{Event: event(notify.Clean)}}); title != "Plumbline: network/prod is clean again" {
		t.Errorf("the title of one event is %q", title)
	}
}

func TestComposeKeepsToItsLimit(t *testing.T) {
	var lines []notify.Line
	for n := range 200 {
		e := event(notify.Drifted, notify.Finding{Address: strings.Repeat("é`<@", 100), Class: "node", Cause: "outside"})
		e.Workspace = fmt.Sprintf("w%d-%s", n, strings.Repeat("ü", 300))
		lines = append(lines, notify.Line{Event: e})
	}
	title, message := notify.Compose(lines)
	if len(message) > 1800 || len(title) > 120 || !utf8.ValidString(message) || strings.ContainsAny(message, "@<>`") {
		t.Errorf("%d bytes and a title of %d:\n%s", len(message), len(title), message)
	}
	shown := strings.Count(message, "acme/live")
	if want := fmt.Sprintf("and %d more", 200-shown); !strings.HasSuffix(message, want) {
		t.Errorf("%d lines are shown, and it ends with %q, want %q", shown, message[len(message)-20:], want)
	}
}
