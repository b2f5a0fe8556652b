package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/workspaces"
	"github.com/plumbline-dev/plumbline/workspaces/atlantis"
)

func (p *program) migrateCommand() *cli.Command {
	return &cli.Command{
		Name:      "migrate",
		Usage:     "write a plumbline.yaml with the meaning of an atlantis.yaml",
		ArgsUsage: "[FILE]",
		Description: "Reads FILE, by default atlantis.yaml at the repository's root, and writes plumbline.yaml beside it. What\n" +
			"has no equal is named in a comment where it would stand, and on standard error. An existing\n" +
			"plumbline.yaml is left alone unless --force is given.\n\n" +
			"Examples:\n" +
			"   plumbline migrate\n" +
			"   plumbline migrate --stdout | less\n\n" +
			"Exit status: 0; 1 error.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stdout", Usage: "print the result instead of writing it"},
			&cli.BoolFlag{Name: "force", Usage: "replace an existing plumbline.yaml"},
		},
		Action: p.migrate,
	}
}

func (p *program) migrate(c *cli.Context) error {
	co, err := p.openCheckout(c)
	if err != nil {
		return err
	}
	defer co.close()
	name := filepath.Join(co.root, "atlantis.yaml")
	if c.NArg() > 1 {
		return fmt.Errorf("migrate takes one file, not %d", c.NArg())
	} else if c.NArg() == 1 {
		if name, err = filepath.Abs(filepath.Join(c.String("chdir"), c.Args().First())); filepath.IsAbs(c.Args().First()) {
			name = c.Args().First()
		}
		if err != nil {
			return err
		}
	}
	target := filepath.Join(co.root, workspaces.ConfigFile)
	if _, err := os.Lstat(target); err == nil && !c.Bool("force") && !c.Bool("stdout") {
		return fmt.Errorf("%s exists already: look at the result with --stdout, or replace the file with --force", target)
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s: say which file to read (`plumbline migrate FILE`)", name)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	yaml, notes, err := atlantis.Migrate(data, atlantis.Options{File: filepath.Base(name), FS: co.files})
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintf(p.stderr, "note: %s:%d: %s: %s\n", filepath.Base(name), note.Line, note.Key, printable(note.Text))
	}
	if c.Bool("stdout") {
		_, err := p.stdout.Write(yaml)
		return err
	}
	if err := renameio.WriteFile(target, yaml, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	fmt.Fprintf(p.stdout, "Wrote %s. `plumbline validate` checks it, `plumbline workspaces` lists what it means.\n", target)
	return nil
}
