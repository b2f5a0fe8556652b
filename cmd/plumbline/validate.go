package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/workspaces"
)

func (p *program) validateCommand() *cli.Command {
	return &cli.Command{
		Name:  "validate",
		Usage: "check plumbline.yaml and print every mistake with its line",
		Description: "Checks plumbline.yaml by itself and against the repository: directories and workspaces that it names\n" +
			"must exist. A repository without the file is valid.\n\n" +
			"Examples:\n" +
			"   plumbline validate\n" +
			"   plumbline validate --schema > plumbline.schema.json\n\n" +
			"Exit status: 0 no mistakes; 1 otherwise.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "schema", Usage: "print the JSON Schema of plumbline.yaml, for editors"},
			jsonFlag(),
		},
		Action: p.validate,
	}
}

func (p *program) validate(c *cli.Context) error {
	if c.Bool("schema") {
		schema, err := workspaces.Schema()
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(schema)
		return err
	}
	co, err := p.openCheckout(c)
	if err != nil {
		return err
	}
	defer co.close()
	_, err = os.Lstat(filepath.Join(co.root, workspaces.ConfigFile))
	missing := errors.Is(err, fs.ErrNotExist)
	problems, err := workspaces.Check(c.Context, co.files, workspaces.Options{Facts: co.facts})
	if err != nil {
		return err
	}
	mistakes := errorCount(problems)
	if problems == nil {
		problems = []workspaces.Problem{}
	}
	if c.Bool("json") {
		if err := p.printJSON(problems); err != nil {
			return err
		}
	} else {
		for _, problem := range problems {
			fmt.Fprintf(p.stdout, "%s: %s\n", severity(problem), printable(problem.Error()))
		}
		switch {
		case mistakes > 0:
			fmt.Fprintf(p.stdout, "%d to mend\n", mistakes)
		case missing:
			fmt.Fprintln(p.stdout, "There is no plumbline.yaml: every root module is a workspace.")
		default:
			fmt.Fprintln(p.stdout, "plumbline.yaml is valid.")
		}
	}
	if mistakes > 0 {
		return status(exitError)
	}
	return nil
}

func errorCount(problems []workspaces.Problem) int {
	n := 0
	for _, p := range problems {
		if p.IsError() {
			n++
		}
	}
	return n
}
