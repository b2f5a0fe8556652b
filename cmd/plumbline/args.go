package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/drift"
)

// flagsFirst moves the flags of a command line before its other arguments, so
// that `plumbline plan network --json` means what it says. urfave/cli stops at
// the first argument that is no flag, and would take --json for a workspace.
// What follows "--" is left alone.
func flagsFirst(app *cli.App, args []string) []string {
	// A shell that asks for completions says so with the last argument.
	if len(args) == 0 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	out := []string{args[0]}
	rest := args[1:]
	// A command's flags begin after its name; those before it are the app's.
	flags, commands := app.Flags, app.Commands
	for {
		var kept []string
		kept, rest = leadingFlags(flags, rest)
		out = append(out, kept...)
		if len(rest) == 0 {
			return out
		}
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		out = append(out, rest[0])
		rest = rest[1:]
		flags, commands = commands[i].Flags, commands[i].Subcommands
	}
	var positional []string
	for len(rest) > 0 {
		var kept []string
		kept, rest = leadingFlags(flags, rest)
		out = append(out, kept...)
		if len(rest) == 0 {
			break
		}
		if rest[0] == "--" {
			positional = append(positional, rest[1:]...)
			break
		}
		positional = append(positional, rest[0])
		rest = rest[1:]
	}
	if len(positional) > 0 {
		out = append(append(out, "--"), positional...)
	}
	return out
}

// leadingFlags splits off the flags that args begin with, values included.
func leadingFlags(flags []cli.Flag, args []string) (kept, rest []string) {
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" || arg == "-" || !strings.HasPrefix(arg, "-") {
			break
		}
		args = args[1:]
		name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		takesValue := false
		if i >= 0 && !joined {
			switch f := flags[i].(type) {
			case *cli.BoolFlag:
			case *cli.GenericFlag:
				// The value of --correct may be left out.
				if _, optional := f.Value.(*correctFlag); !optional {
					takesValue = true
				} else if len(args) > 0 {
					if _, err := drift.ParseLadder(args[0]); err == nil {
						arg += "=" + args[0]
						args = args[1:]
					}
				}
			default:
				takesValue = true
			}
		}
		kept = append(kept, arg)
		if takesValue && len(args) > 0 {
			kept = append(kept, args[0])
			args = args[1:]
		}
	}
	return kept, args
}
