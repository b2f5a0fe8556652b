package prcomment_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/prcomment"
)

func TestParseIssueCommand(t *testing.T) {
	day := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	type command = prcomment.IssueCommand
	for body, want := range map[string]command{
		"plumbline":       {Verb: prcomment.VerbHelp},
		"plumbline help":  {Verb: prcomment.VerbHelp},
		"plumbline drift": {Verb: prcomment.VerbDrift},
		"> quoted\n\nPlumbline Drift clusters/a@prod": {Verb: prcomment.VerbDrift, Workspace: "clusters/a@prod"},
		"plumbline correct":                           {Verb: prcomment.VerbCorrect},
		"plumbline correct toy_node.a toy_node.a module.m[0].toy_node.b": {
			Verb: prcomment.VerbCorrect, Addresses: []string{"toy_node.a", "module.m[0].toy_node.b"}},
		`plumbline adopt "toy_node.web[\"a b\"]"`: {Verb: prcomment.VerbAdopt, Addresses: []string{`toy_node.web["a b"]`}},
		"plumbline ignore aws_autoscaling_group.* desired_capacity tags.env --until 2027-03-01": {
			Verb: prcomment.VerbIgnore, Addresses: []string{"aws_autoscaling_group.*"}, Attributes: []string{"desired_capacity", "tags.env"}, Until: day},
		"plumbline ignore --until=2027-03-01 --reason the autoscaler does it toy_node.a": {}, // swallowed by the reason
		`plumbline ignore toy_node.a —until 2027-03-01 --reason "the autoscaler's"`: {
			Verb: prcomment.VerbIgnore, Addresses: []string{"toy_node.a"}, Until: day, Reason: "the autoscaler's"},
		"plumbline pause --reason the autoscaler's doing, it's \"theirs\" --until 2027-03-01": {
			Verb: prcomment.VerbPause, Until: day, Reason: `the autoscaler's doing, it's "theirs"`},
		"plumbline pause": {Verb: prcomment.VerbPause},
		"plumbline pause --reason provider is throttled --until 2027-03-01": {
			Verb: prcomment.VerbPause, Until: day, Reason: "provider is throttled"},
		"plumbline resume": {Verb: prcomment.VerbResume},
	} {
		got, ok, err := prcomment.ParseIssueCommand(body)
		if want.Verb == "" {
			if !ok || err == nil {
				t.Errorf("ParseIssueCommand(%q) = %+v, %v, %v; want an error", body, got, ok, err)
			}
			continue
		}
		if diff := cmp.Diff(want, got); !ok || err != nil || diff != "" {
			t.Errorf("ParseIssueCommand(%q) = %v, %v; difference (-want +got):\n%s", body, ok, err, diff)
		}
		if line, ok := prcomment.CommandLine(body); !ok || !strings.HasPrefix(strings.ToLower(line), "plumbline") {
			t.Errorf("CommandLine(%q) = %q, %v", body, line, ok)
		}
	}
}

func TestParseIssueCommandIgnores(t *testing.T) {
	for _, body := range []string{
		"", "looks good", "LGTM\nplumbline correct", "    plumbline correct", "`plumbline correct`", "plumbline.yaml is wrong",
		"plumbline drift is found in the wrong place", "plumbline correct me if I err", "Plumbline is a great tool",
		"plumbline pause until tomorrow please", "<!-- plumbline: v=1 -->\nplumbline correct", "plumbline correct \xff",
		"plumbline correct " + strings.Repeat("toy_node.a ", 2000),
	} {
		if got, ok, err := prcomment.ParseIssueCommand(body); ok || err != nil {
			t.Errorf("ParseIssueCommand(%q) = %+v, %v, %v; it is no command", body, got, ok, err)
		}
	}
}

func TestParseIssueCommandErrors(t *testing.T) {
	for body, want := range map[string]string{
		"plumbline corect":                                                  "did you mean `plumbline correct`",
		"plumbline plan":                                                    "no command `plumbline plan` on an issue about drift",
		"plumbline apply -w network":                                        "no command `plumbline apply`",
		"plumbline correct everything":                                      "`everything` is no address",
		"plumbline correct toy_node.a --force":                              "`--force` is not known to `plumbline correct`",
		"plumbline correct --until 2027-03-01":                              "`--until` is not known to `plumbline correct`",
		"plumbline drift a b":                                               "takes the name of one workspace",
		"plumbline drift a\u202eb":                                          "invisible characters",
		"plumbline ignore":                                                  "needs the address",
		"plumbline ignore toy_node.a":                                       "needs a last day",
		"plumbline ignore toy_node.a size label":                            "needs a last day",
		"plumbline ignore toy_node.a --until":                               "is no day",
		"plumbline ignore toy_node.a --until tomorrow":                      "`tomorrow` is no day",
		"plumbline ignore toy_node.a --until 2027-02-30":                    "`2027-02-30` is no day",
		"plumbline ignore toy_node.a --until 2027-3-1":                      "is no day",
		"plumbline ignore toy_node.a --until 2027-03-01 --until x":          "given twice",
		"plumbline ignore ';rm -rf /' --until 2027-03-01":                   "is no address",
		"plumbline ignore $(id).x --until 2027-03-01":                       "is no address",
		"plumbline ignore `id` --until 2027-03-01":                          "is no address",
		"plumbline ignore x.y\u200b --until 2027-03-01":                     "invisible characters",
		"plumbline ignore toy_node.a '' --until 2027-03-01":                 "cannot be an attribute",
		"plumbline ignore a." + strings.Repeat("x", 600) + " --until x":     "is no day",
		"plumbline correct a." + strings.Repeat("x", 600):                   "too long",
		"plumbline correct" + strings.Repeat(" a.b", 1) + manyAddresses(51): "more than 50",
		`plumbline adopt toy_node.web["a]`:                                  "a quote is not closed",
		"plumbline pause --reason":                                          "needs a few words",
		"plumbline pause --reason " + strings.Repeat("x", 600):              "longer than",
		"plumbline pause forever":                                           "`forever` is not understood",
		"plumbline resume now":                                              "`now` is not understood",
	} {
		got, ok, err := prcomment.ParseIssueCommand(body)
		if !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseIssueCommand(%.80q) = %+v, %v, %v; want an error with %q", body, got, ok, err, want)
		}
	}
}

func manyAddresses(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" toy_node.a" + strings.Repeat("b", i+1))
	}
	return b.String()
}

// What the issue proposes to comment, it understands.
func TestHelpIssueNamesEachVerb(t *testing.T) {
	help := prcomment.HelpIssue()
	for _, verb := range []prcomment.Verb{
		prcomment.VerbDrift, prcomment.VerbCorrect, prcomment.VerbIgnore, prcomment.VerbAdopt, prcomment.VerbPause, prcomment.VerbResume, prcomment.VerbHelp,
	} {
		if !strings.Contains(help, "`plumbline "+string(verb)) {
			t.Errorf("the help does not tell of %s", verb)
		}
	}
}

func FuzzParseIssueCommand(f *testing.F) {
	for _, seed := range []string{"plumbline ignore a.b c --until 2027-03-01 --reason x y", `plumbline adopt "a.b[\"c\"]"`, "plumbline pause —until=2027-01-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, ok, err := prcomment.ParseIssueCommand(body)
		if !ok && err != nil || err != nil && c.Verb != "" || ok && err == nil && c.Verb == "" {
			t.Errorf("ParseIssueCommand(%q) = %+v, %v, %v", body, c, ok, err)
		}
		if again, _, _ := prcomment.ParseIssueCommand(body); !cmp.Equal(c, again) {
			t.Errorf("twice: %+v, then %+v", c, again)
		}
	})
}
