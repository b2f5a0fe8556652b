package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
	"github.com/plumbline-dev/plumbline/internal/toycloud/demo"
	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show the whole life of a change, and of drift, on a toy cloud on this machine",
		Description: "Starts a small cloud on loopback and makes a Git repository with three workspaces on it; then runs the\n" +
			"very commands that you would: plan, apply, drift. Needs Git, and Terraform, which is installed if it is\n" +
			"missing. Everything is thrown away at the end.\n\n" +
			"Examples:\n" +
			"   plumbline demo\n" +
			"   plumbline demo --keep      # stays up to look around, until Ctrl-C",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep", Usage: "stay up at the end, and say how to look around"},
		},
		Action: p.demo,
	}
}

func (p *program) demo(c *cli.Context) (err error) {
	ctx := c.Context
	dir, err := os.MkdirTemp("", "plumbline-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	stage, err := p.openStage(c, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.cloud.Close()) }()

	start := time.Now()
	for _, step := range []func(context.Context) error{
		stage.begin, stage.branch, stage.merge, stage.meddle, stage.findDrift, stage.correct, stage.sweep,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	stage.say("That was the whole life of a change, in %s.", short(time.Since(start)))
	stage.say("Try it on a repository of your own: `plumbline workspaces`, then `plumbline plan`.")
	if c.Bool("keep") {
		p.idle.Store(true)
		return stage.keep(ctx)
	}
	return nil
}

// stage is what the demo plays on: a cloud, a repository, and a Plumbline that
// lives in a home of its own.
type stage struct {
	out   io.Writer
	cloud *toycloud.Server
	repo  string
	// actor is the Plumbline whose commands are shown.
	actor *program
	steps int
}

// openStage starts the cloud and makes the repository. Terraform is looked for
// where a real run would look, so that it is installed at most once.
func (p *program) openStage(c *cli.Context, dir string) (*stage, error) {
	where, err := p.paths(c)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, fmt.Errorf("the demo needs git on PATH: %w", err)
	}
	binary, err := terraform.NewInstaller(terraform.InstallerOptions{
		CacheDir:   filepath.Join(where.cache, "terraform"),
		SearchPath: p.getenv("PATH"),
	}).Find(c.Context, terraform.Requirement{RequiredVersions: []string{">= 1.5"}})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the plumbline binary, which is the toy cloud's provider too: %w", err)
	}
	mirror, config := filepath.Join(dir, "providers"), filepath.Join(dir, "terraform.rc")
	if err := provider.Mirror(mirror, self); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, []byte(provider.CLIConfig(mirror)), 0o600); err != nil {
		return nil, fmt.Errorf("write Terraform's configuration: %w", err)
	}
	repo := filepath.Join(dir, "infrastructure")
	if err := demo.Write(repo, demo.Base()); err != nil {
		return nil, err
	}
	cloud, err := toycloud.Serve(c.Context, toycloud.Options{})
	if err != nil {
		return nil, err
	}
	return &stage{
		out:   p.stdout,
		cloud: cloud,
		repo:  repo,
		actor: &program{
			stdin:  p.stdin,
			stderr: p.stdout, // progress and results are one story here
			hurry:  p.hurry,
			environ: []string{
				"PATH=" + filepath.Dir(binary.Path) + string(os.PathListSeparator) + p.getenv("PATH"),
				"HOME=" + dir,
				"TMPDIR=" + os.TempDir(),
				"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
				"XDG_STATE_HOME=" + filepath.Join(dir, "state"),
				"TF_CLI_CONFIG_FILE=" + config,
				"CHECKPOINT_DISABLE=1",
				"TERM=" + p.getenv("TERM"),
				"NO_COLOR=" + p.getenv("NO_COLOR"),
				provider.EndpointVariable + "=" + cloud.URL,
				provider.TokenVariable + "=" + cloud.Token,
				"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
				"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
				"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
			},
		},
	}, nil
}

func (s *stage) begin(ctx context.Context) error {
	s.step("A cloud and a repository")
	s.say("A toy cloud listens on %s. The Git repository holds Terraform for it: a network, a cluster with nodes, and storage. Nobody has told Plumbline where things are; it looks.", s.cloud.URL)
	if err := s.git(ctx, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	if err := s.commit(ctx, "A network, a cluster and storage"); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	if err := s.shown(ctx, 0, "workspaces"); err != nil {
		return err
	}
	s.say("The first plan and apply, in the order of the graph: the cluster needs its network.")
	if err := s.quiet(ctx, exitChanges, "plan", "--all"); err != nil {
		return err
	}
	return s.quiet(ctx, 0, "apply")
}

func (s *stage) branch(ctx context.Context) error {
	s.step("A branch")
	s.say("Ada adds the node web-3, and a label to a module that two workspaces use.")
	if err := s.git(ctx, "checkout", "-q", "-b", "add-web-3"); err != nil {
		return err
	}
	if err := demo.Write(s.repo, demo.Change()); err != nil {
		return err
	}
	if err := s.commit(ctx, "Add the node web-3 and label everything with its team"); err != nil {
		return err
	}
	if err := s.git(ctx, "diff", "--stat", "main...add-web-3"); err != nil {
		return err
	}
	s.say("What does that touch, and why?")
	if err := s.shown(ctx, 0, "workspaces", "--affected", "main...HEAD"); err != nil {
		return err
	}
	s.say("The plans, as the comment that the pull request gets:")
	return s.comment(ctx, exitChanges, "plan", "--affected", "main...HEAD")
}

func (s *stage) merge(ctx context.Context) error {
	s.step("The merge")
	s.say("The change is approved and squashed onto main: another commit, but the same files. So the very plans that were reviewed are applied.")
	if err := s.git(ctx, "checkout", "-q", "main"); err != nil {
		return err
	}
	if err := s.git(ctx, "merge", "-q", "--squash", "add-web-3"); err != nil {
		return err
	}
	if err := s.git(ctx, "commit", "-q", "-m", "Add the node web-3 and label everything with its team (#1)"); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	return s.summary(ctx, 0, "apply")
}

func (s *stage) meddle(context.Context) error {
	s.step("Behind Git's back")
	did, err := demo.Meddle(s.cloud)
	if err != nil {
		return err
	}
	s.say("%s", strings.Join(did, " "))
	return nil
}

func (s *stage) findDrift(ctx context.Context) error {
	s.step("Drift")
	s.say("A sweep finds both, says what they are and what caused them, and whether plumbline.yaml lets them be corrected:")
	for _, line := range strings.Split(demoPolicy(), "\n") {
		fmt.Fprintf(s.out, "    %s\n", line)
	}
	fmt.Fprintln(s.out)
	return s.comment(ctx, exitChanges, "drift")
}

func (s *stage) correct(ctx context.Context) error {
	s.step("Correction")
	s.say("What may be corrected is planned by itself, checked against that permission, and applied. Then it looks again.")
	return s.summary(ctx, 0, "drift", "--correct")
}

func (s *stage) sweep(ctx context.Context) error {
	s.step("A second sweep")
	if err := s.comment(ctx, 0, "drift"); err != nil {
		return err
	}
	nodes := s.cloud.Counters().Kinds[toycloud.Nodes]
	s.say("The cloud agrees: it made %d nodes in all, changed %d and deleted none that Terraform knew of. The node that somebody deleted is back.", nodes.Creates, nodes.Updates)
	return nil
}

// keep waits until the user has seen enough.
func (s *stage) keep(ctx context.Context) error {
	s.step("Look around")
	s.say("The cloud stays up until you press Ctrl-C. In another terminal:")
	fmt.Fprintf(s.out, "    cd %s\n", s.repo)
	for _, kv := range s.actor.environ {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "TF_") || strings.HasPrefix(name, "TOY_") {
			fmt.Fprintf(s.out, "    export %s=%s\n", name, value)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "    %s drift\n\n", self)
	s.say("Delete a node:")
	fmt.Fprintf(s.out, "    curl -X DELETE -H 'Authorization: Bearer %s' %s/admin/nodes/web-1\n\n", s.cloud.AdminToken, s.cloud.URL)
	<-ctx.Done()
	return nil
}

// demoPolicy is the part of the repository's plumbline.yaml that speaks of
// correction.
func demoPolicy() string {
	data, err := demo.Base().Open("plumbline.yaml")
	if err != nil {
		return ""
	}
	defer data.Close()
	text, err := io.ReadAll(data)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(text), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "correct:") })
	if i < 0 {
		return ""
	}
	return strings.TrimSpace(lines[i])
}

func (s *stage) step(title string) {
	s.steps++
	line := fmt.Sprintf("%d. %s", s.steps, title)
	paint := &layout{colour: s.actor.colours(s.out)}
	fmt.Fprintf(s.out, "\n%s\n%s\n\n", paint.paint(span{line, styleBold}), paint.paint(span{strings.Repeat("─", len(line)), styleDim}))
}

// say prints a paragraph, wrapped. What stands between backticks is a name.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintln(s.out, renderMarkdown([]string{fmt.Sprintf(format, args...)}, min(100, lineWidth(s.out)), s.actor.colours(s.out)))
}

// prompt shows the command that runs.
func (s *stage) prompt(name string, args []string) {
	paint := &layout{colour: s.actor.colours(s.out)}
	fmt.Fprintln(s.out, paint.paint(span{"$ ", styleDim}, span{name + " " + commandLine(args), styleBold}))
}

// git runs a command in the repository, and shows it.
func (s *stage) git(ctx context.Context, args ...string) error {
	s.prompt("git", args)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = s.repo, s.actor.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("git %s: %w\n%s", commandLine(args), err, out)
	}
	if len(out) > 0 {
		fmt.Fprintf(s.out, "%s\n", out)
	}
	return nil
}

func (s *stage) commit(ctx context.Context, message string) error {
	if err := s.git(ctx, "add", "-A"); err != nil {
		return err
	}
	return s.git(ctx, "commit", "-q", "-m", message)
}

// shown runs plumbline and shows what it prints.
func (s *stage) shown(ctx context.Context, want int, args ...string) error {
	var out bytes.Buffer
	if err := s.plumbline(ctx, want, &out, args); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s\n", out.String())
	return nil
}

// quiet runs plumbline and shows its progress only.
func (s *stage) quiet(ctx context.Context, want int, args ...string) error {
	if err := s.plumbline(ctx, want, io.Discard, args); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	return nil
}

// comment runs plumbline and renders the comment that it prints.
func (s *stage) comment(ctx context.Context, want int, args ...string) error {
	var out bytes.Buffer
	if err := s.plumbline(ctx, want, &out, args); err != nil {
		return err
	}
	return s.render(out.String())
}

// folded is what a comment shows only to those who ask for it.
var folded = regexp.MustCompile(`(?s)<details>.*?\n</details>\n`)

// summary is comment without the details, which were shown before.
func (s *stage) summary(ctx context.Context, want int, args ...string) error {
	var out bytes.Buffer
	if err := s.plumbline(ctx, want, &out, args); err != nil {
		return err
	}
	return s.render(folded.ReplaceAllString(out.String(), ""))
}

func (s *stage) render(comment string) error {
	fmt.Fprintln(s.out)
	if err := s.actor.showMarkdown(s.out, []string{comment}); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	return nil
}

// plumbline runs one command line in the repository, just as a shell would,
// and wants an exit status of it.
func (s *stage) plumbline(ctx context.Context, want int, out io.Writer, args []string) error {
	s.prompt("plumbline", args)
	actor := *s.actor
	actor.stdout = out
	got := actor.runContext(ctx, append([]string{"plumbline", "--chdir", s.repo}, args...))
	if ctx.Err() != nil {
		return fmt.Errorf("the demo was interrupted: %w", ctx.Err())
	}
	if got != want {
		return fmt.Errorf("plumbline %s ended with status %d; the demo expected %d", commandLine(args), got, want)
	}
	return nil
}

func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, " ()'\"") {
			arg = "'" + arg + "'"
		}
		words[i] = arg
	}
	return strings.Join(words, " ")
}
