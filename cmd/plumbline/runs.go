package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/api"
)

func (p *program) runsCommand() *cli.Command {
	return &cli.Command{
		Name:      "runs",
		Usage:     "list a server's plans and applies, newest first, and follow them",
		ArgsUsage: " ",
		Description: "Asks a server that runs, over its API: docs/web.md tells how to get a token. Looks for drift that found\n" +
			"nothing are left out unless --all is given.\n\n" +
			"With --follow, the newest runs are followed by a line for each that comes, begins and ends, until Ctrl-C; with\n" +
			"--json too, each line is the run as it is then. A server that goes away for a while is waited for.\n\n" +
			"Examples:\n" +
			"   plumbline runs --repo acme/live --status failed,held\n" +
			"   plumbline runs -f --workspace clusters/prod\n\n" +
			"Exit status: 0; 1 on an error.",
		Flags: append(serverFlags(),
			&cli.StringFlag{Name: "repo", Usage: "only of the repository `OWNER/NAME`"},
			&cli.StringFlag{Name: "workspace", Aliases: []string{"w"}, Usage: "only of workspaces called `NAME`"},
			&cli.IntFlag{Name: "change", Usage: "only of pull request `N`"},
			&cli.StringFlag{Name: "kind", Usage: "only of one `KIND`: plan, apply, unlock, drift or adopt"},
			&cli.StringFlag{Name: "status", Usage: "only in one of these `STATUSES`, with commas between, such as running,failed"},
			&cli.StringFlag{Name: "since", Usage: "only from `TIME` on: 2026-11-21, 2026-11-21T09:00:00Z, or 24h for that long ago"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` of them", Value: 25},
			&cli.BoolFlag{Name: "all", Usage: "looks for drift that found nothing, too"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with those that come, begin and end"},
			jsonFlag(),
		),
		Action: p.runs,
	}
}

// maxRuns is how many runs one call lists at most.
const maxRuns = 10_000

func (p *program) runs(c *cli.Context) error {
	limit, since := c.Int("limit"), ""
	switch {
	case c.NArg() > 0:
		return fmt.Errorf("runs takes no argument %q: name a workspace with --workspace", c.Args().First())
	case limit < 1 || limit > maxRuns:
		return fmt.Errorf("--limit %d: say how many runs, from 1 to %d", limit, maxRuns)
	case c.Int("change") < 0:
		return fmt.Errorf("--change %d: that is no number of a pull request", c.Int("change"))
	}
	if from, err := parseMoment("since", c.String("since")); err != nil {
		return err
	} else if !from.IsZero() {
		since = from.UTC().Format(time.RFC3339)
	}
	p.idle.Store(true)
	a, err := p.client(c)
	if err != nil {
		return err
	}
	repo, err := a.repositoryID(c.Context, c.String("repo"))
	if err != nil {
		return err
	}
	change := ""
	if n := c.Int("change"); n > 0 {
		change = strconv.Itoa(n)
	}
	notable := "true"
	if c.Bool("all") {
		notable = ""
	}
	filter := []string{"repository", repo, "workspace", c.String("workspace"), "change", change, "kind", c.String("kind"), "since", since, "notable", notable, "status", c.String("status")}
	runs, err := listOf[api.Run](c.Context, a, apiAddress("/runs", append(filter, "limit", strconv.Itoa(min(limit, 1000)))...), limit)
	if err != nil {
		return err
	}
	if !c.Bool("follow") {
		if c.Bool("json") {
			return p.printJSON(runs)
		}
		rows := [][]string{{"MADE", "RUN", "WORKSPACE", "REPOSITORY", "WHAT", "STATUS", "TOOK", "CHANGE", "BY"}}
		for _, r := range runs {
			rows = append(rows, append([]string{momentText(r.CreatedAt.Time)}, runRow(r)...))
		}
		return table(p.stdout, rows)
	}
	f := &follower{program: p, client: a, json: c.Bool("json"), filter: filter, known: map[string]api.Run{}}
	if len(runs) > 0 {
		f.last = runs[0].ID
	}
	slices.Reverse(runs)
	for _, r := range runs {
		if err := f.tell(r); err != nil {
			return err
		}
	}
	return f.follow(c.Context)
}

// runRow is a run in cells, without a time.
func runRow(r api.Run) []string {
	status, took, change := r.Status, "", ""
	if r.Status == string(engine.Running) && r.Phase != "" {
		status = r.Phase
	}
	if d := r.Took(); d > 0 {
		took = short(d)
	}
	if r.Change != 0 {
		change = "#" + strconv.Itoa(r.Change)
	}
	return []string{r.ID, r.Workspace, r.Repository, r.Kind, status, took, change, r.Actor}
}

// follower tells of runs that come, begin and end.
type follower struct {
	*program
	client *client
	json   bool
	filter []string // parameters and their values; that of status is the last
	known  map[string]api.Run
	last   string // id of the newest when it began: those before it are none that come
	// newest and active are what was last asked for: the newest runs, and those that have not ended.
	newest, active followed
}

// followed is an answer that may not have changed.
type followed struct {
	tag  string
	runs []api.Run
}

// followEvery is how often a server is asked. It answers in a few bytes when nothing has changed.
const followEvery = 2 * time.Second

// follow asks until it is interrupted. Only a server that does not answer is waited for.
func (f *follower) follow(ctx context.Context) error {
	lost := false
	for {
		err := f.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // to be interrupted is how it ends
		case errors.Is(err, errUnreachable) && !lost:
			lost = true
			fmt.Fprintf(f.stderr, "plumbline: %s\nplumbline: asking again until it answers\n", printable(err.Error()))
		case errors.Is(err, errUnreachable):
		case err != nil:
			return err
		case lost:
			lost = false
			fmt.Fprintf(f.stderr, "plumbline: %s answers again\n", f.client.server)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// ask tells what has changed since it asked before.
func (f *follower) ask(ctx context.Context) error {
	if err := f.part(ctx, &f.newest, apiAddress("/runs", append(slices.Clone(f.filter), "limit", "100")...)); err != nil {
		return err
	}
	if f.filter[len(f.filter)-1] == "" { // of any status
		unended := append(slices.Clone(f.filter[:len(f.filter)-1]), "waiting,queued,running", "limit", "1000")
		if err := f.part(ctx, &f.active, apiAddress("/runs", unended...)); err != nil {
			return err
		}
	}
	now := map[string]api.Run{}
	for _, r := range slices.Concat(f.active.runs, f.newest.runs) {
		now[r.ID] = r
	}
	for id, was := range f.known {
		if _, there := now[id]; there || ended(was) {
			continue
		}
		// It has ended, and others have come since: it is asked for by itself.
		var r api.RunDetail
		_, _, err := f.client.get(ctx, apiAddress("/runs/"+id), "", &r)
		var gone *api.Problem
		switch {
		case errors.As(err, &gone) && gone.Kind() == "not-found":
		case err != nil:
			return err
		default:
			now[id] = r.Run
		}
	}
	var changed []api.Run
	for id, r := range now {
		was, there := f.known[id]
		if (there || id > f.last) && (was.Status != r.Status || was.Phase != r.Phase) {
			changed = append(changed, r)
		}
	}
	slices.SortFunc(changed, func(a, b api.Run) int { return strings.Compare(a.ID, b.ID) })
	for _, r := range changed {
		if err := f.tell(r); err != nil {
			return err
		}
	}
	f.known = now
	return nil
}

// part asks for runs, unless they are as they were.
func (f *follower) part(ctx context.Context, part *followed, address string) error {
	var l api.List[api.Run]
	tag, changed, err := f.client.get(ctx, address, part.tag, &l)
	if err == nil && changed {
		*part = followed{tag, l.Items}
	}
	return err
}

func ended(r api.Run) bool { return engine.Status(r.Status).Ended() }

// tell prints a line of a run as it is now.
func (f *follower) tell(r api.Run) error {
	f.known[r.ID] = r
	if f.json {
		line, err := json.Marshal(r)
		if err == nil {
			_, err = f.stdout.Write(append(withoutSecrets(line, f.secrets()), '\n'))
		}
		return err
	}
	at := r.CreatedAt
	for _, later := range []api.Time{r.StartedAt, r.EndedAt} {
		if !later.IsZero() {
			at = later
		}
	}
	line := momentText(at.Time)
	for _, cell := range runRow(r) {
		if cell != "" {
			line += "  " + printable(cell)
		}
	}
	_, err := fmt.Fprintln(f.stdout, line)
	return err
}
