package web

import (
	"context"
	"time"

	"github.com/plumbline-dev/plumbline/runner/engine"
)

type queueView struct {
	Running, Waiting []queuedLine
	More             int
	Retries          []retryLine
	Recent           []operationLine
}

type (
	queuedLine struct {
		runLine
		Repo, Title, ChangeURL string
		Waits                  []string
		Started                moment
	}
	retryLine struct {
		What, Repo string
		Change     int
		Attempts   int
		Next       moment
		Problem    string
		Actions    []actionLink
	}
	operationLine struct {
		What, Repo string
		Number     int
		Title, URL string
		Cause      string
		Actor      string
		Commit     string
		Status     mark
		Created    moment
		Runs       []runMark
		More       int
	}
	runMark struct {
		Name, URL string
		Status    mark
	}
)

// operationRuns is how many runs of an operation are named.
const operationRuns = 10

func (s *site) queue(ctx context.Context, q *query) (any, error) {
	if q.wrong != "" {
		return nil, q
	}
	all, err := s.views.Queue(ctx, q.sight)
	if err != nil {
		return nil, err
	}
	now := s.now()
	v := queueView{More: all.More}
	for _, r := range all.Running {
		v.Running = append(v.Running, queuedOf(r, now))
	}
	for _, r := range all.Waiting {
		v.Waiting = append(v.Waiting, queuedOf(r, now))
	}
	for _, r := range all.Retries {
		v.Retries = append(v.Retries, retryLine{clean(r.What), repoName(r.Repository), r.Change, r.Attempts, at(r.NextAt, now), sentence(r.Problem), offers(ctx, retryOf(r))})
	}
	for _, o := range all.Recent {
		line := operationLine{
			What: kindWord(o.Kind), Repo: repoName(o.Repository), Number: o.Change, Title: clean(o.Title), URL: outward(o.URL), Cause: clean(string(o.Cause)),
			Actor: clean(o.Actor), Commit: short(o.Commit), Status: markOf(o.Status), Created: at(o.CreatedAt, now), More: max(0, len(o.Runs)-operationRuns),
		}
		for _, r := range o.Runs[:min(len(o.Runs), operationRuns)] {
			line.Runs = append(line.Runs, runMark{clean(r.Workspace), runURL(r.ID), markOfRun(r.Status, r.Phase)})
		}
		v.Recent = append(v.Recent, line)
	}
	return v, nil
}

func queuedOf(r engine.QueuedRun, now time.Time) queuedLine {
	l := queuedLine{runLine: runLineOf(r.RunCard, now), Repo: repoName(r.Repository), Title: clean(r.Title), ChangeURL: outward(r.URL), Started: at(r.StartedAt, now)}
	l.Waits = each(r.Waits[:min(len(r.Waits), 4)], sentence)
	return l
}
