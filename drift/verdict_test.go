package drift_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/internal/schedule"
)

// found makes a finding that is outside through and through.
func found(address string, class drift.Class, action string, paths ...string) drift.Finding {
	f := drift.Finding{Address: address, Class: class, Cause: drift.CauseOutside, Actions: []string{action}}
	for _, path := range paths {
		f.Attributes = append(f.Attributes, drift.Attribute{Path: path, Cause: drift.CauseOutside})
	}
	return f
}

func window(t *testing.T, s string) schedule.Window {
	t.Helper()
	w, err := schedule.ParseWindow(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLadder(t *testing.T) {
	actions := []string{"create", "update", "replace", "delete", "forget", "move", "import", "no-op"}
	for ladder, want := range map[drift.Ladder]string{
		drift.Never:   "",
		drift.Create:  "create",
		drift.Update:  "create update",
		drift.Replace: "create update replace",
		drift.All:     "create update replace delete forget",
	} {
		var got []string
		for _, action := range actions {
			v := drift.Decide([]drift.Finding{found("a.b", drift.ClassNode, action)}, drift.Policy{Default: ladder, AtMost: drift.All}, now)
			if v.Findings[0].Allowed {
				got = append(got, action)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", ladder, got, want)
		}
	}
}

// TestReplaceIsNoCreate: whichever way round Terraform lists the two halves of a replacement, no rung below replace lets
// it through.
func TestReplaceIsNoCreate(t *testing.T) {
	for _, name := range []string{"replaced outside and followed", "create before destroy"} {
		r := load(t, name)
		for _, ladder := range []drift.Ladder{drift.Create, drift.Update} {
			v := drift.Decide(drift.Find(r.input(t)), drift.Policy{Default: ladder, AtMost: drift.All}, now)
			if len(v.Targets) > 0 {
				t.Errorf("%s: %s allows %q", name, ladder, v.Targets)
			}
			if got, want := v.Findings[0].Reason, "it would be a replace, and resources may be corrected only up to "+ladder.String(); got != want {
				t.Errorf("%s: reason %q, want %q", name, got, want)
			}
		}
	}
}

func TestParseLadder(t *testing.T) {
	var all []drift.Ladder
	for _, word := range []string{"never", "create", "update", "replace", "all"} {
		l, err := drift.ParseLadder(word)
		if err != nil || l.String() != word {
			t.Errorf("ParseLadder(%q) = %v, %v", word, l, err)
		}
		var back drift.Ladder
		data, err := json.Marshal(l)
		if err != nil || json.Unmarshal(data, &back) != nil || back != l {
			t.Errorf("%s through JSON: %s, %v", l, data, back)
		}
		all = append(all, l)
	}
	if !slices.IsSorted(all) {
		t.Errorf("the ladder is not in order: %v", all)
	}
	for _, word := range []string{"", "Update", "delete", "destroy", "none"} {
		if l, err := drift.ParseLadder(word); err == nil || l != drift.Never || !strings.Contains(err.Error(), "never, create, update, replace or all") {
			t.Errorf("ParseLadder(%q) = %v, %v", word, l, err)
		}
	}
}

// TestFlagAndConfiguration: --correct alone uses what is configured; --correct LADDER caps it, and serves the classes
// that are not configured; everything else is never.
func TestFlagAndConfiguration(t *testing.T) {
	findings := []drift.Finding{
		found("x.cluster", drift.ClassCluster, "create"),
		found("x.node", drift.ClassNode, "replace"),
		found("x.resource", drift.ClassResource, "update"),
	}
	configured := map[drift.Class]drift.Ladder{drift.ClassCluster: drift.Never, drift.ClassNode: drift.Replace}
	for name, c := range map[string]struct {
		policy drift.Policy
		want   string
	}{
		"nothing at all":              {drift.Policy{}, ""},
		"configured, not asked":       {drift.Policy{Correct: configured}, ""},
		"--correct":                   {drift.Policy{Correct: configured, AtMost: drift.All}, "x.node"},
		"--correct update":            {drift.Policy{Correct: configured, Default: drift.Update, AtMost: drift.Update}, "x.resource"},
		"--correct replace":           {drift.Policy{Correct: configured, Default: drift.Replace, AtMost: drift.Replace}, "x.node x.resource"},
		"--correct all":               {drift.Policy{Correct: configured, Default: drift.All, AtMost: drift.All}, "x.node x.resource"},
		"--correct create, no config": {drift.Policy{Default: drift.Create, AtMost: drift.Create}, "x.cluster"},
	} {
		v := drift.Decide(findings, c.policy, now)
		if got := strings.Join(v.Targets, " "); got != c.want {
			t.Errorf("%s: corrects %q, want %q", name, got, c.want)
		}
		for _, j := range v.Findings {
			if j.Reason == "" {
				t.Errorf("%s: no reason for %s", name, j.Address)
			}
		}
	}
}

func TestCapIsAllOrNothing(t *testing.T) {
	findings := []drift.Finding{
		found("x.a", drift.ClassNode, "create"), found("x.b", drift.ClassNode, "replace"), found("x.c", drift.ClassNode, "update"),
		{Address: "x.d", Cause: drift.CauseUnapplied, Actions: []string{"update"}}, // does not count
	}
	for most, want := range map[int]int{0: 3, 3: 3, 4: 3, 2: 0, 1: 0, -1: 0} {
		p := everything
		p.MaxChanges = most
		v := drift.Decide(findings, p, now)
		if len(v.Targets) != want {
			t.Errorf("at most %d: corrects %q", most, v.Targets)
		}
		if want == 0 && !strings.Contains(v.Findings[1].Reason, "3 findings could be corrected") {
			t.Errorf("at most %d: reason %q", most, v.Findings[1].Reason)
		}
	}
}

func TestWindows(t *testing.T) {
	p := everything
	p.Windows = []schedule.Window{window(t, "Sat 08:00-18:00 Europe/Berlin"), window(t, "Tue-Thu 08:00-18:00 Europe/Berlin")}
	findings := []drift.Finding{found("x.a", drift.ClassNode, "create")}
	v := drift.Decide(findings, p, now) // a Monday
	if got, want := v.Findings[0].Reason, "outside the windows for corrections; the next opens Tue 2027-03-02 08:00 CET"; got != want || len(v.Targets) != 0 {
		t.Errorf("closed: %q (targets %q), want %q", got, v.Targets, want)
	}
	if v := drift.Decide(findings, p, now.AddDate(0, 0, 1)); !v.Findings[0].Allowed {
		t.Errorf("open: %q", v.Findings[0].Reason)
	}
	p.Windows = []schedule.Window{{}}
	if v := drift.Decide(findings, p, now); v.Findings[0].Allowed || !strings.Contains(v.Findings[0].Reason, "none of which ever opens") {
		t.Errorf("never: %q", v.Findings[0].Reason)
	}
}

func TestIgnore(t *testing.T) {
	until := func(date string) time.Time {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		return day
	}
	update := found(`aws_autoscaling_group.web["a"]`, drift.ClassNode, "update", "desired_capacity", "tags.env")
	one := found(`aws_autoscaling_group.web["a"]`, drift.ClassNode, "update", "desired_capacity")
	one.Attributes = append(one.Attributes, drift.Attribute{Path: "arn", Cause: drift.CauseOutside, Consequence: true})
	created := found("aws_autoscaling_group.web", drift.ClassNode, "create", "desired_capacity")
	for name, c := range map[string]struct {
		finding drift.Finding
		rule    drift.Ignore
		want    string // "corrected", "ignored" or a part of the reason for holding
	}{
		"all of it":              {update, drift.Ignore{Address: "aws_autoscaling_group.*"}, "ignored"},
		"exactly":                {update, drift.Ignore{Address: `aws_autoscaling_group.web["a"]`}, "ignored"},
		"brackets are literal":   {update, drift.Ignore{Address: `aws_autoscaling_group.web["ab"]`}, "corrected"},
		"the pattern is whole":   {update, drift.Ignore{Address: `autoscaling_group.*`}, "corrected"},
		"question mark":          {update, drift.Ignore{Address: `aws_autoscaling_group.w?b[*]`}, "ignored"},
		"stars around":           {update, drift.Ignore{Address: `*_group.*"a"*`}, "ignored"},
		"star, no match":         {update, drift.Ignore{Address: `*_group.*"b"*`}, "corrected"},
		"one attribute, only":    {one, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"desired_capacity"}}, "ignored"},
		"one attribute of two":   {update, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"desired_capacity"}}, "correcting it would also change desired_capacity"},
		"another attribute":      {one, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"desired"}}, "corrected"},
		"all attributes, by one": {update, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"*"}}, "ignored"},
		"what is inside":         {update, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"tags", "desired_capacity"}}, "ignored"},
		"created, by attribute":  {created, drift.Ignore{Address: "aws_autoscaling_group.*", Attributes: []string{"*"}}, "correcting it would also change desired_capacity"},
		"today is the last day":  {update, drift.Ignore{Address: "*", Until: until("2027-03-01")}, "ignored"},
		"yesterday was":          {update, drift.Ignore{Address: "*", Until: until("2027-02-28")}, "corrected"},
	} {
		p := everything
		c.rule.Owner, c.rule.Reason = "@platform", "the autoscaler's"
		p.Ignore = []drift.Ignore{c.rule}
		v := drift.Decide([]drift.Finding{c.finding}, p, now)
		j := v.Findings[0]
		got := "corrected"
		switch {
		case j.Ignored:
			got = "ignored"
		case !j.Allowed && c.want != "corrected" && strings.Contains(j.Reason, c.want):
			got = c.want
		case !j.Allowed:
			got = j.Reason
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if j.Ignored && (j.Allowed || !strings.Contains(j.Reason, "of @platform") || !strings.Contains(j.Reason, "the autoscaler's")) {
			t.Errorf("%s: allowed %v, reason %q", name, j.Allowed, j.Reason)
		}
		if expired := name == "yesterday was"; expired != (len(v.Expired) == 1) {
			t.Errorf("%s: expired %v", name, v.Expired)
		}
	}
}

// TestIgnoredUntilMidnight: the date of a rule is its last day, in UTC.
func TestIgnoredUntilMidnight(t *testing.T) {
	rule := drift.Ignore{Address: "*", Until: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)}
	if last := time.Date(2027, 3, 1, 23, 59, 59, 0, time.UTC); rule.Expired(last) {
		t.Errorf("expired at %s", last)
	}
	if after := time.Date(2027, 3, 2, 1, 0, 0, 0, time.FixedZone("east", 3600)); !rule.Expired(after) {
		t.Errorf("still counts at %s", after)
	}
}

// TestHeldTogether: what follows a finding, or is needed by it, is corrected with it or not at all.
func TestHeldTogether(t *testing.T) {
	base := found("x.base", drift.ClassResource, "create")
	follower := found("x.follower", drift.ClassCluster, "update", "ref")
	follower.Follows, follower.Needs = []string{"x.base"}, []string{"x.base"}
	last := found("x.last", drift.ClassResource, "update", "ref")
	last.Follows, last.Needs = []string{"x.follower"}, []string{"x.base", "x.follower"}
	alone := found("x.alone", drift.ClassResource, "update", "size")
	many := found(`x.many["a"]`, drift.ClassResource, "create")
	other := found(`x.many["b"]`, drift.ClassCluster, "create")
	uses := found("x.uses", drift.ClassResource, "create")
	uses.Needs = []string{"x.many"}
	findings := []drift.Finding{base, follower, last, alone, many, other, uses}
	v := drift.Decide(findings, everything, now)
	if len(v.Targets) != len(findings) {
		t.Errorf("everything allowed: corrects only %q", v.Targets)
	}
	p := everything
	p.Correct = map[drift.Class]drift.Ladder{drift.ClassCluster: drift.Never}
	v = drift.Decide(findings, p, now)
	if diff := cmp.Diff([]string{"x.alone", `x.many["a"]`}, v.Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if got, want := v.Findings[0].Reason, "x.follower follows it and is held: clusters are never corrected"; got != want {
		t.Errorf("base: %q, want %q", got, want)
	}
	if got, want := v.Findings[6].Reason, `it depends on x.many["b"], which is held: clusters are never corrected`; got != want {
		t.Errorf("uses: %q, want %q", got, want)
	}
}

// TestFollowerIsHeld: a follower that does not depend on what it follows by name, such as through a local value, waits
// for it all the same.
func TestFollowerIsHeld(t *testing.T) {
	follower := found("x.follower", drift.ClassNode, "update", "ref")
	follower.Follows = []string{"x.base"}
	p := drift.Policy{Correct: map[drift.Class]drift.Ladder{drift.ClassNode: drift.All}, AtMost: drift.All}
	v := drift.Decide([]drift.Finding{found("x.base", drift.ClassCluster, "create"), follower}, p, now)
	if got, want := v.Findings[1].Reason, "it follows x.base, which is held: clusters are never corrected"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDeposedHoldsItsSuccessor: a target takes along what an earlier apply left behind.
func TestDeposedHoldsItsSuccessor(t *testing.T) {
	old := found("x.a", drift.ClassNode, "delete")
	old.Deposed, old.Cause = "abcd1234", drift.CauseUnapplied
	v := drift.Decide([]drift.Finding{found("x.a", drift.ClassNode, "update", "size"), old}, everything, now)
	if v.Findings[0].Allowed || !strings.HasPrefix(v.Findings[0].Reason, "an old object of it is held") {
		t.Errorf("got %+v", v.Findings[0])
	}
}

// TestMixedIsHeld: one attribute that is not outside holds the resource, also when noise is all it is.
func TestMixedIsHeld(t *testing.T) {
	for _, cause := range []drift.Cause{drift.CauseUnapplied, drift.CauseUpgrade, drift.CauseData, drift.CausePerpetual, ""} {
		f := found("x.a", drift.ClassNode, "update", "size")
		f.Attributes = append(f.Attributes, drift.Attribute{Path: "label", Cause: cause})
		v := drift.Decide([]drift.Finding{f}, everything, now)
		if v.Findings[0].Allowed || !strings.HasPrefix(v.Findings[0].Reason, "label would change along with it, and is not outside drift") {
			t.Errorf("%q: %+v", cause, v.Findings[0])
		}
	}
}

// TestVerdictJSON: the verdict is what `plumbline drift --json` prints.
func TestVerdictJSON(t *testing.T) {
	r := load(t, "node deleted")
	p := everything
	p.Ignore = []drift.Ignore{{Address: "x.*", Until: now.AddDate(0, 0, -2), Owner: "@me"}}
	data, err := json.MarshalIndent(drift.Decide(drift.Find(r.input(t)), p, now), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "findings": [
    {
      "address": "toy_node.node[\"a\"]",
      "type": "toy_node",
      "name": "node",
      "provider_name": "registry.terraform.io/plumbline-dev/toy",
      "class": "node",
      "cause": "outside",
      "actions": [
        "create"
      ],
      "outside": "deleted",
      "detail": "deleted outside Terraform",
      "key": "toy_node.node[\"a\"] create",
      "allowed": true,
      "reason": "changed outside, and nodes may be corrected up to all"
    }
  ],
  "targets": [
    "toy_node.node[\"a\"]"
  ],
  "expired": [
    {
      "address": "x.*",
      "until": "2027-02-27T12:00:00Z",
      "owner": "@me"
    }
  ]
}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// TestSecretsStaySecret: no sensitive value of the corpus, nor the name of a key inside one, is in a verdict or an error.
func TestSecretsStaySecret(t *testing.T) {
	seen := 0
	for _, e := range corpus() {
		r := load(t, e.name)
		seen += strings.Count(string(r.Plan), "canary")
		v := drift.Decide(drift.Find(r.input(t)), everything, now)
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		complaint := ""
		if err := (drift.Verdict{}).Check(decode(t, r.Plan)); err != nil {
			complaint = err.Error()
		}
		if strings.Contains(string(data)+complaint, "canary") {
			t.Errorf("%s: a secret is shown:\n%s\n%s", e.name, data, complaint)
		}
	}
	if seen == 0 {
		t.Error("the corpus holds no canary: this test shows nothing")
	}
}
