package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

func (p *program) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what Terraform prints in a run of a server, and follow it",
		ArgsUsage: "RUN",
		Description: "Asks a server that runs, over its API: docs/web.md tells how to get a token. `plumbline runs` has the ids of runs.\n\n" +
			"With --follow, what comes is printed as it comes, until the run has ended. A server that goes away for a while is\n" +
			"waited for; nothing is missed and nothing comes twice.\n\n" +
			"Example:\n" +
			"   plumbline logs -f 0192f0c1-7d3a-7c54-9f0e-2b8c6d1e4a77\n\n" +
			"Exit status: 0; with --follow 2 if the run has ended otherwise than well; 1 on an error.",
		Flags: append(serverFlags(),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the run has ended"},
		),
		Action: p.logs,
	}
}

func (p *program) logs(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("logs takes the id of one run: `plumbline runs` lists them")
	}
	p.idle.Store(true)
	a, err := p.client(c)
	if err != nil {
		return err
	}
	address := apiAddress("/runs/" + url.PathEscape(c.Args().First()) + "/output")
	out := &logWriter{to: p.stdout}
	if c.Bool("follow") {
		return p.followLog(c.Context, a, address+"/events", out)
	}
	resp, err := a.send(c.Context, http.MethodGet, address, http.Header{"Accept": {"text/plain"}}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // all of it was read
	text := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		part, err := text.ReadSlice('\n')
		if _, err := io.WriteString(out, string(part)); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return a.unreachable(c.Context, err)
		}
	}
}

// logWriter keeps a terminal from what a text may do to it beside being read.
type logWriter struct{ to io.Writer }

func (w *logWriter) Write(b []byte) (int, error) {
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		cells := strings.Split(line, "\t")
		for j := range cells {
			cells[j] = printable(cells[j])
		}
		lines[i] = strings.Join(cells, "\t")
	}
	_, err := io.WriteString(w.to, strings.Join(lines, "\n"))
	return len(b), err
}

// followLog prints an output until its run has ended.
func (p *program) followLog(ctx context.Context, a *client, address string, out io.Writer) error {
	last, lost := "", false
	for {
		over, err := p.logStream(ctx, a, address, &last, func(text string) error {
			if lost {
				lost = false
				fmt.Fprintf(p.stderr, "plumbline: %s answers again\n", a.server)
			}
			_, err := io.WriteString(out, text)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case over != "":
			if !engine.Status(over).OK() {
				fmt.Fprintf(p.stderr, "plumbline: the run has ended: %s\n", printable(over))
				return status(exitChanges)
			}
			return nil
		case err != nil && !errors.Is(err, errUnreachable):
			return err
		case err != nil && !lost:
			lost = true
			fmt.Fprintf(p.stderr, "plumbline: %s\nplumbline: asking again until it answers\n", printable(err.Error()))
		}
		pause := followEvery
		if err == nil {
			pause = followEvery / 10 // a stream ends after a while, and is begun anew
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// silence is how long a stream may say nothing. Servers give a sign of life far more often.
const silence = time.Minute

// maxEvent is how long a line of a stream may be, in bytes.
const maxEvent = 8 << 20

// logStream reads one stream, from behind the event called last on. Over is how the run has ended; "" if it has not.
func (p *program) logStream(ctx context.Context, a *client, address string, last *string, take func(text string) error) (over string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-Id", *last)
	}
	resp, err := a.send(ctx, http.MethodGet, address, header, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // what is left of it nobody wants
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	id, kind, data := "", "", ""
	for lines.Scan() {
		quiet.Reset(silence)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if lines.Text() != "" || data == "" {
				continue // a sign of life
			}
			switch kind {
			case "end":
				var state struct{ Status string }
				if err := json.Unmarshal([]byte(data), &state); err != nil || state.Status == "" {
					return "", fmt.Errorf("%s has answered what this plumbline cannot read", a.server)
				}
				return state.Status, nil
			case "":
				var text string
				if err := json.Unmarshal([]byte(data), &text); err != nil {
					return "", fmt.Errorf("%s has answered what this plumbline cannot read: %w", a.server, err)
				}
				if err := take(text); err != nil {
					return "", err
				}
				*last = id
			}
			kind, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("ask %s: %w: the connection broke", a.server, errUnreachable)
	}
	return "", nil
}
