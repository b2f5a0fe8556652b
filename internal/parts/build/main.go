// Command build builds the parts that tests run against (see package parts) ahead of time and prints where they are.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("name the parts to build: %s, or all", strings.Join(parts.Names(), ", "))
	}
	if len(names) == 1 && names[0] == "all" {
		names = parts.Names()
	}
	for _, name := range names {
		dir, err := parts.Build(ctx, name, func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s\t%s\n", name, dir)
	}
	return nil
}
