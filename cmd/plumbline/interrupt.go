package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// interrupts returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, and a
// channel that the second one closes. stop gives the signals back.
//
// The first asks Terraform to stop, and Plumbline waits for it. The second
// makes Terraform exit at once, which may lose what it has not saved: so it is
// announced before it can happen, and needs its own key press.
func (p *program) interrupts() (ctx context.Context, hurry <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	closing := make(chan struct{})
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader that goes away (`plumbline apply | head`) must not end an apply.
	// Being notified, and not ignoring, keeps the signal as it was for children.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			grace := time.Duration(p.grace.Load())
			switch {
			case n == 1 && grace > 0:
				cancel()
				fmt.Fprintf(p.stderr, "plumbline: stopping. Plans are interrupted; applies may take %s to end. A second signal asks their Terraform to stop.\n", written(grace))
			case n == 2 && grace > 0:
				close(closing)
				fmt.Fprintln(p.stderr, "plumbline: stopping at once. Terraform is asked to stop and to save its state.")
			case n == 1:
				cancel()
				if p.idle.Load() {
					continue
				}
				fmt.Fprintln(p.stderr, "\nplumbline: interrupted. Terraform was asked to stop; waiting for it to end and to save its state.\n"+
					"plumbline: a second interrupt makes it exit at once: what an apply has created and not yet saved may be lost from the state.")
			case n == 2:
				close(closing)
				fmt.Fprintln(p.stderr, "plumbline: interrupted again. Terraform exits at once; what it could not save, and where, follows.")
			}
		}
	})
	return ctx, closing, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		ended.Wait()
		cancel()
	}
}
