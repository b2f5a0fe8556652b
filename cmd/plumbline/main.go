// Command plumbline is GitOps for Terraform: it finds the Terraform workspaces
// of a repository, plans and applies them, and watches for drift.
//
// This package is the only place that knows everything. It reads flags, the
// environment and signals, builds what the packages below need in one straight
// line, calls them, and prints. One file is one command; session.go builds what
// the commands share, progress.go and output.go are how they talk.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/internal/toycloud/provider"
)

// version is set when a release is built.
var version = "development"

// Exit statuses. Each command's help says which of them it uses.
const (
	exitOK      = 0
	exitError   = 1
	exitChanges = 2 // plan: there are changes; drift: drift remains
	exitHeld    = 3 // apply: a plan is stale
)

func main() {
	os.Exit(Main())
}

// Main is main without the exit, so that test scripts can run the command
// inside the test binary.
func Main() int {
	// A Terraform that was pointed at the demo's provider mirror starts this
	// very binary under the provider's name.
	if provider.IsProvider(os.Args[0]) {
		err := provider.Serve(context.Background(), provider.Options{
			Endpoint: os.Getenv(provider.EndpointVariable),
			Token:    os.Getenv(provider.TokenVariable),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitError
		}
		return exitOK
	}
	p := &program{
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		environ: os.Environ(),
	}
	return p.run(os.Args)
}

// program is one invocation: what it talks to, and what it was told.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	// hurry is closed by the second interrupt.
	hurry <-chan struct{}
	// idle is set while nothing runs that an interrupt could leave half done.
	idle *atomic.Bool
	// grace is how long a server's applies may take to end, in nanoseconds; 0
	// while no server runs.
	grace *atomic.Int64
}

// status is an error that carries the exit status and says nothing more: what
// there is to say has been printed.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run runs one command line, listening for interrupts, and returns the exit
// status.
func (p *program) run(args []string) int {
	p.idle, p.grace = new(atomic.Bool), new(atomic.Int64)
	ctx, hurry, stop := p.interrupts()
	defer stop()
	p.hurry = hurry
	return p.runContext(ctx, args)
}

// runContext runs one command line and returns the exit status.
func (p *program) runContext(ctx context.Context, args []string) int {
	app := p.app()
	err := app.RunContext(ctx, flagsFirst(app, args))
	var code status
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	default:
		var lines []string
		for line := range strings.SplitSeq(err.Error(), "\n") {
			lines = append(lines, printable(line))
		}
		fmt.Fprintf(p.stderr, "plumbline: %s\n", strings.Join(lines, "\n"))
		return exitError
	}
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:                   "plumbline",
		Usage:                  "GitOps for Terraform",
		Version:                version,
		UseShortOptionHandling: true,
		EnableBashCompletion:   true,
		Suggest:                true,
		Reader:                 p.stdin,
		Writer:                 p.stdout,
		ErrWriter:              p.stderr,
		// Errors are printed and turned into a status in one place: run.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return fmt.Errorf("%w (see `plumbline %s --help`)", err, c.Command.Name)
		},
		Description: "Plumbline finds the Terraform workspaces of a repository, says what a change touches, plans and\n" +
			"applies what was reviewed, and tells what has drifted behind Git's back. Run it in a checkout:\n\n" +
			"   plumbline workspaces      what there is\n" +
			"   plumbline plan            what would change, as the comment a pull request would get\n" +
			"   plumbline apply           apply what was planned, if it still holds\n" +
			"   plumbline drift           what has changed outside of Git\n" +
			"   plumbline serve           all of it on GitHub or Gitea: plans as comments, applies on merge\n" +
			"   plumbline status          what wants somebody there, and plumbline runs -f what is done\n" +
			"   plumbline demo            the whole life of a change on a toy cloud",
		Flags: globalFlags(),
		Commands: []*cli.Command{
			p.workspacesCommand(),
			p.planCommand(),
			p.applyCommand(),
			p.driftCommand(),
			p.plansCommand(),
			p.validateCommand(),
			p.migrateCommand(),
			p.serveCommand(),
			p.standingCommand(),
			p.runsCommand(),
			p.logsCommand(),
			p.auditCommand(),
			p.demoCommand(),
		},
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return fmt.Errorf("there is no command %q (see `plumbline --help`)", name)
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		saysUsage(command)
	}
	return app
}

// saysUsage makes a mistake in a command's flags one line that says where help
// is, instead of the whole help on standard output.
func saysUsage(c *cli.Command) {
	c.OnUsageError = func(c *cli.Context, err error, _ bool) error {
		return fmt.Errorf("%w (see `plumbline %s --help`)", err, strings.TrimPrefix(c.Command.HelpName, "plumbline "))
	}
	for _, sub := range c.Subcommands {
		saysUsage(sub)
	}
}
