package engine

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/audit"
)

// driftFound is what the issues of these tests tell of.
var driftFound = []string{`toy_node.web["a: b"]`, `toy_node.web["c"]`, "toy_bucket.logs", `toy_node.x["$(id) {{ } <b>` + "`" + `"]`}

// driftDocket is a docket with an issue about drift of the workspace "app", and how the engine corrects.
func driftDocket(t *testing.T, files map[string]string) (*docket, int) {
	t.Helper()
	d := newDocket(t, 1, files, nil)
	e := d.engines[0]
	e.Drift.Correct = true
	d.settled()
	number := d.issue("workspace:app")
	d.write(func(tx *sql.Tx) error {
		rows := make([]FindingRow, 0, len(driftFound))
		for i, address := range driftFound {
			rows = append(rows, FindingRow{Key: fmt.Sprint(i), Address: address, Class: "resource", Cause: "outside", StoppedAt: e.Now()})
		}
		if err := e.store.seeFindings(t.Context(), tx, d.id, "app", e.Now(), rows); err != nil {
			return err
		}
		for _, name := range []string{"app", "network"} {
			if err := e.store.putSweep(t.Context(), tx, Sweep{Repository: d.id, Workspace: name, Every: "off", State: SweepDrifted}); err != nil {
				return err
			}
		}
		return nil
	})
	return d, number
}

// issue opens an issue of ours.
func (d *docket) issue(key string) int {
	d.Helper()
	client := d.engines[0].Forges[0].Client.(*github.Client)
	made, err := client.OpenIssue(d.Context(), d.repo, forge.Issue{Title: "Drift in " + key})
	if err != nil {
		d.Fatal(err)
	}
	d.write(func(tx *sql.Tx) error {
		return d.engines[0].store.putDriftIssue(d.Context(), tx, DriftIssueRow{Repository: d.id, Key: key, Number: made.Number, URL: made.URL, Open: true})
	})
	return made.Number
}

func (d *docket) write(fn func(tx *sql.Tx) error) {
	d.Helper()
	if err := d.engines[0].DB.Tx(d.Context(), fn); err != nil {
		d.Fatal(err)
	}
}

func (d *docket) sweepOf(workspace string) (w Sweep) {
	d.Helper()
	d.read(func(tx *sql.Tx) (err error) {
		w, _, err = d.engines[0].store.sweep(d.Context(), tx, d.id, workspace)
		return err
	})
	return w
}

// stopped are the findings that are fought over.
func (d *docket) stopped() (addresses []string) {
	d.Helper()
	d.read(func(tx *sql.Tx) error {
		rows, err := d.engines[0].store.findings(d.Context(), tx, d.id, "app", d.engines[0].Now().AddDate(1, 0, 0))
		for _, f := range rows {
			if !f.StoppedAt.IsZero() {
				addresses = append(addresses, f.Address)
			}
		}
		return err
	})
	slices.Sort(addresses)
	return addresses
}

// ownChanges are the open pull requests of ours.
func (d *docket) ownChanges() []forge.Change {
	d.Helper()
	all, err := d.engines[0].Forges[0].Client.Changes(d.Context(), d.repo, forge.ChangesOptions{OpenOnly: true})
	if err != nil {
		d.Fatal(err)
	}
	return slices.DeleteFunc(all, func(c forge.Change) bool { return c.Author != forgetest.Robot })
}

// refusesIn says something on an issue that is to be refused, and expects why in the one new reply.
func (d *docket) refusesIn(number int, login, say, want string) {
	d.Helper()
	before := len(d.replies(number))
	said := d.say(login, number, say)
	replies := d.replies(number)
	if len(replies) != before+1 || !strings.Contains(replies[before], want) {
		d.Errorf("replies to %.120q: %q, want one with %q; %q", say, replies[before:], want, d.problems())
	}
	d.reacted(said, forge.Refused)
}

func day(d *docket, days int) string {
	return d.engines[0].Now().UTC().AddDate(0, 0, days).Format(time.DateOnly)
}

func TestIssueCommands(t *testing.T) {
	d, number := driftDocket(t, docketFiles())
	for _, login := range []string{"mallory", "stranger"} {
		d.refusesIn(number, login, "plumbline correct", "takes write permission")
	}
	d.want("looks that those without permission asked for", d.sweepOf("app").AskedAt.IsZero(), true)
	said := d.say(forgetest.Robot, number, "plumbline correct")
	d.want("reactions to a comment of our own", len(d.hub.ReactionsTo(t, d.repo, said)), 0)

	said = d.say("bob", number, "plumbline drift")
	d.reacted(said, forge.Seen)
	w := d.sweepOf("app")
	if w.AskedAt.IsZero() || w.AskedBy != "bob" {
		t.Errorf("after `plumbline drift`: %+v; %q", w, d.problems())
	}
	d.say("carol", number, "plumbline drift network")
	d.want("who asked for the other workspace", d.sweepOf("network").AskedBy, "carol")
	d.refusesIn(number, "bob", "plumbline drift nowhere", "has no workspace `nowhere`")

	d.want("fights before", len(d.stopped()), len(driftFound))
	d.say("carol", number, `plumbline correct toy_node.web[c] toy_bucket.logs`) // with the quotes forgotten
	d.want("fights left", d.stopped(), []string{driftFound[0], driftFound[3]})
	d.want("who asked for the correction", d.sweepOf("app").AskedBy, "carol")
	d.say("bob", number, "plumbline correct")
	d.want("fights left after all", len(d.stopped()), 0)

	for say, want := range map[string]string{
		"plumbline corect":                                              "did you mean `plumbline correct`",
		"plumbline plan":                                                "no command `plumbline plan` on an issue about drift",
		"plumbline correct toy_node.zz":                                 "no finding of this issue has the address `toy_node.zz`",
		"plumbline resume":                                              "it is not paused",
		"plumbline pause --until " + day(d, -2):                         "is over",
		"plumbline ignore toy_bucket.logs --until " + day(d, -1):        "is over",
		"plumbline ignore toy_bucket.logs --until " + day(d, 800):       "more than a year ahead",
		"plumbline ignore toy_bucket.zz --until " + day(d, 9):           "no finding of this issue",
		"plumbline ignore ../../etc/passwd.x --until " + day(d, 9):      "is no address",
		"plumbline adopt x." + strings.Repeat("y", 600):                 "too long",
		"plumbline ignore a.b --until 2027-99-99; rm -rf / $(id) `id`x": "",
	} {
		d.refusesIn(number, "bob", say, want)
	}
	before := len(d.replies(number))
	d.say("bob", number, "plumbline help")
	if replies := d.replies(number); len(replies) != before+1 || !strings.Contains(replies[before], "plumbline adopt") {
		t.Errorf("help: %q", replies[before:])
	}
	d.say("bob", number, "this drift is annoying")
	d.want("replies to prose", len(d.replies(number)), before+1)
	var allowed, refused []string
	for _, entry := range d.entries(audit.Filter{}) {
		if entry.Details["issue"] != "" && entry.Allowed {
			allowed = append(allowed, entry.Actor+" "+entry.Action+" "+entry.Workspace)
		} else if entry.Details["issue"] != "" {
			refused = append(refused, entry.Reason)
		}
	}
	slices.Sort(allowed)
	d.want("audit", strings.Join(allowed, ", "), "bob drift-correct app, bob drift-drift app, carol drift-correct app, carol drift-drift network")
	if all := strings.Join(refused, "\n"); strings.Contains(all, "rm -rf") || strings.Contains(all, "passwd") || len(refused) != 14 {
		t.Errorf("%d refusals in the audit log: %q", len(refused), all)
	}
}

func TestIssueCommandsPause(t *testing.T) {
	d, number := driftDocket(t, docketFiles())
	paused := func() string {
		var text string
		d.read(func(tx *sql.Tx) error {
			p, is, err := d.engines[0].store.paused(t.Context(), tx, d.id, "app")
			if is {
				text = p.String()
			}
			return err
		})
		return text
	}
	until := day(d, 2)
	d.reacted(d.say("bob", number, "plumbline pause --until "+until+" --reason the provider is throttled"), forge.Seen)
	d.want("pause", paused(), "until "+day(d, 3)+" 00:00 UTC by bob: the provider is throttled")
	d.refusesIn(number, "bob", "plumbline correct", "the provider is throttled")
	d.refusesIn(number, "bob", "plumbline drift", "nothing is looked at or corrected until")
	d.pass(4 * 24 * time.Hour)
	d.want("pause when its time is over", paused(), "")
	d.say("bob", number, "plumbline pause")
	d.want("pause without an end", paused(), "until it is resumed by bob")
	d.say("carol", number, "plumbline resume")
	d.want("pause after resume", paused(), "")
	d.write(func(tx *sql.Tx) error {
		return d.engines[0].store.putPause(t.Context(), tx, Pause{Reason: "an incident", Actor: "root", At: d.engines[0].Now()})
	})
	d.refusesIn(number, "bob", "plumbline resume", "more than this workspace is paused")

	// The issue of a group, one that is none of ours, and a workspace in which nothing may be applied.
	group := d.issue("group:toy_node upgrade")
	d.refusesIn(group, "bob", "plumbline correct", "there is nothing to correct. Review it, and apply")
	d.refusesIn(group, "bob", "plumbline adopt", "there is nothing to adopt")
	d.refusesIn(group, "bob", "plumbline ignore toy_bucket.logs --until "+until, "write the rule into `plumbline.yaml`")
	d.refusesIn(group, "bob", "plumbline pause", "no workspace is known any more")
	key, ok := groupOf("upgrade", "toy_node.a", "toy_node.a update size")
	if !ok {
		t.Fatal("an upgrade makes no group")
	}
	group = d.issue(key)
	d.write(func(tx *sql.Tx) error {
		e := d.engines[0]
		if _, err := e.store.endPause(t.Context(), tx, ""); err != nil {
			return err
		}
		for _, name := range []string{"app", "network"} {
			err := e.store.seeFindings(t.Context(), tx, d.id, name, e.Now(), []FindingRow{{Key: "toy_node.a update size", Address: "toy_node.a", Class: "node", Cause: "upgrade"}})
			if err != nil {
				return err
			}
		}
		return nil
	})
	d.reacted(d.say("bob", group, "plumbline pause --reason an upgrade"), forge.Seen)
	d.want("pause of a group", paused(), "until it is resumed by bob: an upgrade")
	d.refusesIn(group, "bob", "plumbline drift", "nothing is looked at or corrected until")
	d.reacted(d.say("carol", group, "plumbline resume"), forge.Seen)
	d.want("pause after the group's end", paused(), "")
	d.refusesIn(group, "carol", "plumbline resume", "it is not paused")
	d.reacted(d.say("carol", group, "plumbline drift"), forge.Seen)
	d.want("who asked for a look at all of a group", d.sweepOf("app").AskedBy+d.sweepOf("network").AskedBy, "carolcarol")
	client := d.engines[0].Forges[0].Client.(*github.Client)
	other, err := client.OpenIssue(t.Context(), d.repo, forge.Issue{Title: "A question"})
	if err != nil {
		t.Fatal(err)
	}
	d.say("bob", other.Number, "plumbline correct")
	d.want("replies on an issue that is none of ours", len(d.replies(other.Number)), 0)
}

func TestIssueCommandCorrectHeedsNever(t *testing.T) {
	d, number := driftDocket(t, map[string]string{
		"plumbline.yaml": "workspaces:\n  - dir: app\n    apply: never\n", "app/main.tf": docketFiles()["app/main.tf"],
	})
	d.refusesIn(number, "bob", "plumbline correct", "`apply: never`")
	d.engines[0].Drift.Correct = false
	d.refusesIn(number, "bob", "plumbline correct", "set to correct nothing")
}

func TestIssueCommandIgnore(t *testing.T) {
	const config = "# ours\nworkspaces:\n  - dir: app # the app\n    depends_on: [network]\n\n  # the last\n  - dir: database\n"
	files := docketFiles()
	files["plumbline.yaml"] = config
	d, number := driftDocket(t, files)
	until := day(d, 30)
	read := func(ref string) string { return d.hub.ReadFile(t, d.repo, ref, "plumbline.yaml") }

	said := d.say("bob", number, `plumbline ignore "toy_node.web[\"a: b\"]" size tags.env --until `+until+` --reason the autoscaler's, see #1 @all <b>`)
	d.reacted(said, forge.Seen)
	changes := d.ownChanges()
	if len(changes) != 1 {
		t.Fatalf("changes %+v; replies %q; %q", changes, d.replies(number), d.problems())
	}
	first := changes[0]
	want := strings.Replace(config, "[network]\n", "[network]\n    drift:\n      ignore:\n        - address: \"toy_node.web[\\\"a: b\\\"]\"\n          attributes: [size, tags.env]\n          until: "+until+
		"\n          owner: \"@bob\"\n          reason: \"the autoscaler's, see #1 @all <b>\"\n", 1)
	d.want("plumbline.yaml", read(first.Head.Branch), want)
	d.want("base", first.Base.Branch, "main")
	body := d.hub.BodyOf(t, d.repo, first.Number)
	if !strings.Contains(body, "`bob` asked for this") || !strings.Contains(body, fmt.Sprintf("#%d", number)) || strings.Contains(body, "<b>") || strings.Contains(body, " @all") {
		t.Errorf("body:\n%s", body)
	}
	if replies := d.replies(number); !strings.Contains(replies[len(replies)-1], fmt.Sprintf("#%d proposes it", first.Number)) {
		t.Errorf("replies %q", replies)
	}

	// The same request with another day moves the same branch and pull request.
	later := day(d, 60)
	d.say("carol", number, `plumbline ignore "toy_node.web[\"a: b\"]" size tags.env --until `+later)
	changes = d.ownChanges()
	if len(changes) != 1 || changes[0].Number != first.Number || changes[0].Head.Commit == first.Head.Commit {
		t.Fatalf("changes after the second request: %+v; %q", changes, d.replies(number))
	}
	if got := read(first.Head.Branch); !strings.Contains(got, "until: "+later) || strings.Contains(got, until) || !strings.Contains(got, `"@carol"`) {
		t.Errorf("plumbline.yaml after the second request:\n%s", got)
	}
	// Another one has its own. A redelivered comment changes nothing.
	d.say("bob", number, "plumbline ignore toy_bucket.* --until "+until)
	d.want("changes", len(d.ownChanges()), 2)
	d.taken = 0
	d.deliver()
	d.drain()
	d.want("changes after a redelivery", len(d.ownChanges()), 2)

	// Hostile words end up as one rule that says what was written.
	d.say("bob", number, `plumbline ignore 'toy_node.x["$(id) {{ } <b>`+"`"+`"]' --until `+until+` --reason x: [y] # z`)
	for _, c := range d.ownChanges() {
		got := read(c.Head.Branch)
		if strings.Contains(got, "$(id)") && !strings.Contains(got, `- address: "toy_node.x[\"$(id) {{ } <b>`+"`"+`\"]"`+"\n") {
			t.Errorf("hostile rule:\n%s", got)
		}
	}
	d.want("changes with the hostile one", len(d.ownChanges()), 3)

	// A branch that somebody has committed to is left alone.
	mine := d.hub.Commit(t, d.repo, first.Head.Branch, "", map[string]string{"README.md": "mine"})
	d.refusesIn(number, "bob", `plumbline ignore "toy_node.web[\"a: b\"]" size tags.env --until `+until, "has commits of others")
	tip, err := d.engines[0].Forges[0].Client.Branch(t.Context(), d.repo, first.Head.Branch)
	if err != nil || tip != mine {
		t.Errorf("the branch is at %s, %v, want %s", tip, err, mine)
	}

	// Once it is merged, the rule is there.
	d.hub.Merge(t, d.repo, "alice", first.Number, forge.Squash)
	d.settled()
	d.refusesIn(number, "carol", `plumbline ignore "toy_node.web[\"a: b\"]" size tags.env --until `+later, "has this rule already")
}
