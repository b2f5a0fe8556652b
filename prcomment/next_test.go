package prcomment_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// oddNames are names of directories that anybody may open a pull request with.
var oddNames = []string{
	"a$(id)", "a`id`", "``", "a;id", "a&id", "a|id", "a>b", "a*", "a?", "[a]", "{a,b}", "a'b", "'", `"`, `a"b`, `a\b`, `\`, "a b", " a", "a ",
	"~root", "#a", "!a", "a=b", "-rf", "--store=x", "ü", "“a”", "„a", "–w", "—a", "$HOME", "a\u00a0b", "clusters/eu-1@prod", "NAME'$(id)'",
}

// advised is the command that a report gives for what failed in the named workspaces.
func advised(t *testing.T, commands bool, names ...string) string {
	t.Helper()
	report := prcomment.Report{Kind: prcomment.KindApply, Commands: commands}
	for i, name := range names {
		report.Workspaces = append(report.Workspaces, prcomment.Workspace{Name: name, Status: prcomment.StatusFailed, Error: "e", Order: i})
	}
	page := prcomment.Render(report, 0)[0]
	_, line, _ := strings.Cut(page, "Remove the cause, then ")
	line, _, _ = strings.Cut(line, "\n")
	line = strings.TrimSuffix(line, ".")
	ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
	command := strings.TrimSuffix(strings.TrimPrefix(line, ticks), ticks)
	if ticks == "" || len(command)+2*len(ticks) != len(line) {
		t.Fatalf("there is no command in %q", line)
	}
	return strings.TrimSpace(command)
}

// TestAdviceInAShell pastes what is advised into a shell: every name arrives as it is, and nothing else happens.
func TestAdviceInAShell(t *testing.T) {
	check := func(names ...string) {
		t.Helper()
		command := advised(t, false, names...)
		cmd := exec.Command("sh", "-c", `plumbline() { for word; do printf '%s\0' "$word"; done; }`+"\n"+command)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		got = slices.DeleteFunc(got, func(s string) bool { return s == "--" })
		if want := append([]string{"plan"}, names...); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: the shell hands over %q (%v), want %q", command, got, err, want)
		}
	}
	for _, name := range oddNames {
		check(name)
	}
	check("a b", "-c", "d$(id)")
	if got, want := advised(t, false, "-rf"), "plumbline plan -- -rf"; got != want {
		t.Errorf("for a name that looks like a flag, %q is advised, want %q", got, want)
	}
	if got, want := advised(t, false, "a"), "plumbline plan a"; got != want {
		t.Errorf("for a plain name, %q is advised, want %q", got, want)
	}
}

// TestAdviceInAComment: what is advised where somebody listens is what ParseCommand reads.
func TestAdviceInAComment(t *testing.T) {
	check := func(names ...string) {
		t.Helper()
		command := advised(t, true, names...)
		got, ok, err := prcomment.ParseCommand(command)
		if !ok || err != nil || got.Verb != prcomment.VerbPlan || !slices.Equal(got.Workspaces, names) {
			t.Errorf("%s is read as %+v (%v, %v), want the workspaces %q", command, got, ok, err, names)
		}
	}
	for _, name := range oddNames {
		check(name)
	}
	check("a b", "-c", "d")
}

// TestAdviceWithoutTheName: a name that cannot be written out does not lose its end, and with it a quote.
func TestAdviceWithoutTheName(t *testing.T) {
	for _, name := range []string{"a\tb", "a\u202eb", "a\nb", strings.Repeat("x y", 300), strings.Repeat("'", 120), "'; ghp_abcdefghijklmnopqrstuvwxyz0123456789 '"} {
		if got, want := advised(t, false, name), "plumbline plan NAME"; got != want {
			t.Errorf("for %q, %q is advised, want %q", name, got, want)
		}
	}
	long := strings.Repeat("d/", 100)
	if got, want := advised(t, false, long), "plumbline plan "+long; got != want {
		t.Errorf("for %q, %q is advised", long, got)
	}
}

// TestPlanIDs: whoever wants to see a plan needs its id, however many workspaces share its diff.
func TestPlanIDs(t *testing.T) {
	for _, n := range []int{1, 2, 4, 5, 60} {
		var report prcomment.Report
		for i := range n {
			report.Workspaces = append(report.Workspaces, prcomment.Workspace{
				Name: strings.Repeat("w", i+1), Status: prcomment.StatusPlanned, Plan: planOf(create("toy_node.a", obj{"name": "a"})), PlanID: "20261121-090527090-" + strings.Repeat("x", i+1),
			})
		}
		page := strings.Join(prcomment.Render(report, 0), "\n")
		for _, ws := range report.Workspaces {
			if strings.Count(page, "plan `"+ws.PlanID+"`") != 1 {
				t.Errorf("of %d workspaces, %s has no plan %s in:\n%s", n, ws.Name, ws.PlanID, page)
			}
		}
	}
}
