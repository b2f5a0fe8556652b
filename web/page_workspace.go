package web

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/workspaces"
)

type workspaceView struct {
	cardView
	Repo, List   string // the repository, and the address of its workspaces
	Dir          string
	Now          []mark // beside its state
	Looked       string // whether and how often it is looked at
	Next         moment
	Issue        string
	Pauses       []string
	Problem      string
	Unknown      moment // since when no look came to an answer
	Graph        *drawing
	GraphURL     string
	NeedsMore    int
	NeededMore   int
	Findings     []findingView
	MoreFindings int
	Chart        *chartView
	Turns        []turnView
	Runs         []runLine
	Older        string
	Settings     []setting
	Actions      []actionLink
}

type (
	turnView struct {
		At   moment
		Text string
	}
	runLine struct {
		URL, Workspace string
		Kind, Cause    string
		Actor          string
		Change         int
		Commit         string
		Status         mark
		Created        moment
		Took           string
	}
	// setting is one of the workspace's settings, and where it comes from.
	setting struct{ Name, Value, Source string }
)

func (v workspaceView) title() string { return v.Name }

// neighbours is how many workspaces are drawn on either side.
const neighbours = 12

func (s *site) workspace(ctx context.Context, q *query) (any, error) {
	repo, name, before := engine.RepoID(q.name("repo")), q.name("name"), q.id("before")
	if repo == "" || name == "" {
		q.fail("It must name a repository and a workspace.")
	}
	if q.wrong != "" {
		return nil, q
	}
	d, err := s.views.Workspace(ctx, q.sight, repo, name, before)
	if err != nil {
		return nil, err
	}
	now := s.now()
	v := workspaceView{
		cardView: cardOf(d.WorkspaceCard, at(d.AppliedAt, now), at(d.CheckedAt, now)),
		Repo:     repoName(repo), List: address("/", "repo", string(repo)), Dir: clean(d.Dir), Issue: outward(d.IssueURL), Next: at(d.Look.NextAt, now),
		Problem: paragraphs(d.Problem, 6000), MoreFindings: d.More, GraphURL: address("/graph", "repo", string(repo)),
		NeedsMore: max(0, len(d.Needs)-neighbours), NeededMore: max(0, len(d.NeededBy)-neighbours),
	}
	for _, p := range d.Pauses {
		v.Pauses = append(v.Pauses, sentence(p.String()))
	}
	switch every := d.Look.Every; {
	case every == "":
		v.Looked = "not looked at yet"
	case every == "off":
		v.Looked = "off: nobody looks"
	case strings.Contains(every, " "): // a cron line
		v.Looked = "looked at by " + clean(every)
	default:
		v.Looked = "looked at every " + clean(every)
	}
	if d.Look.State == engine.SweepUnknown {
		v.Unknown = at(d.Look.Since, now)
	}
	if len(d.Needs)+len(d.NeededBy) > 0 {
		v.Graph = draw(neighbourhood(d))
	}
	room := budget{left: 40_000}
	for _, f := range d.Findings {
		v.Findings = append(v.Findings, findingOf(f, now, &room))
	}
	v.Actions = offers(ctx, asksOf(d)...)
	v.Chart = chart(d.Looks, d.Since, now)
	for i, l := range d.Looks {
		if i == 30 {
			break
		}
		v.Turns = append(v.Turns, turnView{at(l.At, now), turn(l)})
	}
	for _, r := range d.Runs {
		v.Runs = append(v.Runs, runLineOf(r, now))
	}
	if d.Older != "" {
		v.Older = address("/workspace", "repo", string(repo), "name", name, "before", d.Older) + "#runs"
	}
	if d.Known {
		v.Settings = settings(d.Settings, d.Look)
	}
	return v, nil
}

// neighbourhood is a workspace between what it needs and what needs it.
func neighbourhood(d engine.WorkspaceDetail) []engine.GraphNode {
	needs, neededBy := d.Needs[:min(len(d.Needs), neighbours)], d.NeededBy[:min(len(d.NeededBy), neighbours)]
	self := engine.GraphNode{WorkspaceCard: d.WorkspaceCard, Wave: min(1, len(needs))}
	var nodes []engine.GraphNode
	for _, c := range needs {
		nodes = append(nodes, engine.GraphNode{WorkspaceCard: c})
		self.Needs = append(self.Needs, c.Name)
	}
	nodes = append(nodes, self)
	for _, c := range neededBy {
		nodes = append(nodes, engine.GraphNode{WorkspaceCard: c, Wave: self.Wave + 1, Needs: []string{d.Name}})
	}
	return nodes
}

func runLineOf(r engine.RunCard, now time.Time) runLine {
	l := runLine{
		URL: runURL(r.ID), Workspace: clean(r.Workspace), Kind: kindWord(r.Kind), Cause: clean(string(r.Cause)), Actor: clean(r.Actor), Change: r.Change,
		Commit: short(r.Commit), Status: markOfRun(r.Status, r.Phase), Created: at(r.CreatedAt, now),
	}
	if !r.StartedAt.IsZero() && !r.EndedAt.IsZero() {
		l.Took = took(r.EndedAt.Sub(r.StartedAt))
	}
	return l
}

// kindWord is what a run does, for people.
func kindWord(k engine.Kind) string {
	switch k {
	case engine.KindDrift:
		return "look for drift"
	case engine.KindAdopt:
		return "adoption of drift"
	}
	return clean(string(k))
}

// settings lists what a workspace is set to, and which file says so. plumbline.yaml may say it at the workspace's own entry
// or in its defaults.
func settings(w workspaces.Workspace, look engine.Sweep) []setting {
	const yaml, builtIn = "plumbline.yaml", "built-in default"
	var all []setting
	add := func(name, value, source string) {
		if value != "" {
			all = append(all, setting{name, sentence(value), source})
		}
	}
	source := func(set bool) string {
		if set {
			return yaml
		}
		return builtIn
	}
	add("found by", w.Source, map[bool]string{true: "its Terraform files", false: yaml}[w.Source == "discovered"])
	add("directory", w.Dir, "")
	add("Terraform workspace", w.Workspace, source(w.Workspace != "default"))
	add("engine", w.Engine, source(w.Engine != "terraform"))
	switch {
	case w.Terraform != "":
		add("version", w.Terraform, yaml)
	case w.VersionFile != "":
		add("version", w.VersionFile, "a version file in the repository")
	case len(w.RequiredVersions) > 0:
		add("version", strings.Join(w.RequiredVersions, ", "), "required_version of the module")
	}
	backend := w.Backend
	if backend == "" {
		backend = "none: a local file"
	}
	add("backend", backend, "its Terraform files")
	add("backend settings", strings.Join(names(w.BackendConfig), ", "), yaml)
	add("variable files", strings.Join(w.VarFiles, ", "), yaml)
	add("variables it may see", strings.Join(w.Env, ", "), yaml)
	add("also watches", strings.Join(w.Watch, ", "), yaml)
	add("needs", strings.Join(w.DependsOn, ", "), yaml)
	add("account", w.Account, yaml)
	add("apply", w.Apply, source(w.Apply != "on-merge"))
	approvals := "none needed"
	if w.Approvals > 0 {
		approvals = plural(w.Approvals, "approval")
	}
	add("approvals", approvals, source(w.Approvals > 0))
	every := "server.yaml, or its default"
	if w.Drift.Every != "" {
		every = yaml
	}
	add("looks for drift", look.Every, every)
	var ladder []string
	for _, class := range []drift.Class{drift.ClassCluster, drift.ClassNode, drift.ClassResource} {
		if rung := w.Drift.Correct[string(class)]; rung != "" {
			ladder = append(ladder, string(class)+": "+rung)
		}
	}
	if len(ladder) == 0 {
		add("corrects", "nothing", builtIn)
	}
	add("corrects", strings.Join(ladder, ", "), yaml)
	if w.Drift.MaxChanges > 0 {
		add("corrects at most", plural(w.Drift.MaxChanges, "resource"), yaml)
	}
	add("corrects during", strings.Join(w.Drift.Windows, ", "), yaml)
	if n := len(w.Drift.Ignore); n > 0 {
		add("ignores", strconv.Itoa(n)+" kinds of difference", yaml)
	}
	add("local modules", strings.Join(w.Modules, ", "), "its Terraform files")
	return all
}

// names leaves out the values of NAME=VALUE, which may be secrets.
func names(settings []string) []string {
	var all []string
	for _, s := range settings {
		name, _, _ := strings.Cut(s, "=")
		all = append(all, name)
	}
	return all
}
