package prcomment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/prcomment"
)

func TestParseCommand(t *testing.T) {
	command := func(verb prcomment.Verb, workspaces ...string) prcomment.Command {
		return prcomment.Command{Verb: verb, Workspaces: workspaces}
	}
	for _, test := range []struct {
		body string
		want prcomment.Command
	}{
		{"plumbline plan", command(prcomment.VerbPlan)},
		{"plumbline apply\n", command(prcomment.VerbApply)},
		{"  plumbline unlock  \r\nbecause it hangs", command(prcomment.VerbUnlock)},
		{"plumbline help", command(prcomment.VerbHelp)},
		{"plumbline", command(prcomment.VerbHelp)},
		{"Plumbline Apply", command(prcomment.VerbApply)},
		{"plumbline plan -w network", command(prcomment.VerbPlan, "network")},
		{"plumbline plan -w=network --workspace clusters/a@prod", command(prcomment.VerbPlan, "network", "clusters/a@prod")},
		{"plumbline plan -w a -w a", command(prcomment.VerbPlan, "a")},
		{`plumbline apply -w "my prod" -w 'it is'`, command(prcomment.VerbApply, "my prod", "it is")},
		{`plumbline apply -w "say \"hi\""`, command(prcomment.VerbApply, `say "hi"`)},
		{"plumbline apply –w “my prod” —workspace b", command(prcomment.VerbApply, "my prod", "b")},
		{"> plumbline apply\n> more\n\nplumbline plan", command(prcomment.VerbPlan)},
		{"\n\nplumbline plan", command(prcomment.VerbPlan)},
		{"plumbline\tplan", command(prcomment.VerbPlan)},
	} {
		got, ok, err := prcomment.ParseCommand(test.body)
		if diff := cmp.Diff(test.want, got); !ok || err != nil || diff != "" {
			t.Errorf("ParseCommand(%q) = %v, %v; difference (-want +got):\n%s", test.body, ok, err, diff)
		}
	}
}

func TestParseCommandIgnores(t *testing.T) {
	page := prcomment.Render(prcomment.Report{Key: "k", Title: "plumbline apply"}, 0)[0]
	for _, body := range []string{
		"", "\n\n", "looks good", "please run plumbline apply", "LGTM\nplumbline apply",
		"> plumbline apply", ">plumbline apply\n>now", "```\nplumbline apply\n```", "~~~\nplumbline apply\n~~~",
		"    plumbline apply", "\tplumbline apply", "`plumbline apply`", "**plumbline apply**", "- plumbline apply",
		"plumbline.yaml is missing", "plumbline's plan is good", "plumblines apply", "@plumbline apply",
		"Plumbline is a great tool", "plumbline plan failed for me, why?", "plumbline apply did nothing here",
		page, "  \n" + page, "<!-- plumbline: v=1 -->\nplumbline apply", "plumbline apply \xff",
		"plumbline plan " + strings.Repeat("-w x ", 2000),
	} {
		if got, ok, err := prcomment.ParseCommand(body); ok || err != nil {
			t.Errorf("ParseCommand(%q) = %+v, %v, %v; it is no command", body, got, ok, err)
		}
	}
}

func TestParseCommandErrors(t *testing.T) {
	for body, want := range map[string]string{
		"plumbline aply":                                      "did you mean `plumbline apply`",
		"plumbline plan network":                              "`plumbline plan -w network`",
		"plumbline destroy":                                   "there is no command `plumbline destroy`",
		"plumbline plan -w":                                   "needs the name of a workspace",
		"plumbline plan -w -w":                                "needs the name of a workspace",
		"plumbline plan -w ''":                                "needs the name of a workspace",
		"plumbline plan --all":                                "`--all` is not known here",
		"plumbline apply -w \"network":                        "a quote is not closed",
		"plumbline apply -w a\u202eb":                         "invisible characters",
		"plumbline apply -w " + strings.Repeat("x", 600):      "too long",
		"plumbline apply" + manyFlags(51):                     "more than 50",
		"plumbline @octocat":                                  "`plumbline @octocat`",
		"plumbline a`b":                                       "``plumbline a`b``",
		"plumbline plan -w a b":                               "`b` stands alone",
		"plumbline explode -w network and a few words behind": "there is no command",
	} {
		_, ok, err := prcomment.ParseCommand(body)
		if !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseCommand(%q) = %v, %v; want an error with %q", body, ok, err, want)
			continue
		}
		checkMarkup(t, 1, err.Error())
	}
}

func manyFlags(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" -w w")
		b.WriteString(strings.Repeat("x", i))
	}
	return b.String()
}

func TestHelp(t *testing.T) {
	help := prcomment.Help()
	checkMarkup(t, 1, help)
	for _, verb := range []prcomment.Verb{prcomment.VerbPlan, prcomment.VerbApply, prcomment.VerbUnlock, prcomment.VerbHelp} {
		if !strings.Contains(help, "`plumbline "+string(verb)+"`") {
			t.Errorf("the help does not tell of %q", verb)
		}
	}
	if _, ok, _ := prcomment.ParseCommand(help); ok {
		t.Error("the help is taken for a command")
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{"plumbline plan -w \"a b\" --workspace=c", "> x\nplumbline", "plumbline aply", "plumbline plan -w '“„", "PLUMBLINE\u00a0plan", "plumbline plan —w x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, ok, err := prcomment.ParseCommand(body)
		if !ok && (err != nil || c.Verb != "") {
			t.Fatalf("no command, but %+v and %v", c, err)
		}
		if ok && err == nil && c.Verb == "" {
			t.Fatal("a command without a verb")
		}
		if len(c.Workspaces) > 51 {
			t.Fatalf("%d workspaces", len(c.Workspaces))
		}
		if err != nil {
			checkMarkup(t, 1, err.Error())
		}
	})
}

// TestCommandLineIsTheWholeCommand: who keeps the line alone reads the same command from it.
func TestCommandLineIsTheWholeCommand(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"plumbline plan", "> quoted\n\n  Plumbline apply -w \"a b\"  \nand more\n", "plumbline aply", "plumbline", "plumbline plan -w 'x", "prose", "",
		"```\nplumbline plan\n```", "<!-- plumbline:x -->\nplumbline apply",
	} {
		want, is, problem := prcomment.ParseCommand(body)
		line, ok := prcomment.CommandLine(body)
		if ok != is || strings.Contains(line, "\n") {
			t.Errorf("CommandLine(%q) = %q, %v; ParseCommand says %v", body, line, ok, is)
		}
		if got, again, err := prcomment.ParseCommand(line); again != is || fmt.Sprint(got, err) != fmt.Sprint(want, problem) {
			t.Errorf("%q alone is the command %v (%v), the whole comment %v (%v)", line, got, err, want, problem)
		}
	}
}
