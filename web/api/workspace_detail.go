package api

import (
	"context"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// WorkspaceDetail is all that is known of one workspace. Its runs are a list of their own: /runs.
type WorkspaceDetail struct {
	Workspace
	Schedule     Schedule    `json:"schedule"`
	IssueURL     string      `json:"issue_url"` // of the issue that tells of its drift
	Pauses       []Pause     `json:"pauses"`    // that hold for it
	Needs        []Neighbour `json:"needs"`     // are applied first
	NeededBy     []Neighbour `json:"needed_by"`
	Findings     []Finding   `json:"findings"`      // that are there, and those that went lately
	MoreFindings int         `json:"more_findings"` // that are there and are not shown
	Looks        []Look      `json:"looks"`         // what was seen lately, the newest first, and one before
	LooksSince   Time        `json:"looks_since"`
	Settings     []Setting   `json:"settings"`
}

// Schedule is when a workspace is looked at for drift, and how that went.
type Schedule struct {
	Every     string `json:"every"` // an interval, a cron line, "off", or "" before it is known
	NextAt    Time   `json:"next_at"`
	StartedAt Time   `json:"started_at"` // of the newest look
	Since     Time   `json:"since"`      // when drift came to be as it is
	Failures  int    `json:"failures"`   // looks in a row that came to no answer
	Problem   string `json:"problem"`    // why the newest came to none
	Running   bool   `json:"running"`
}

// Neighbour is another workspace of the repository.
type Neighbour struct {
	Name  string `json:"name"`
	Dir   string `json:"dir"`
	State string `json:"state"`
}

// Setting is one of a workspace's settings, and where it comes from.
type Setting struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
	Source string   `json:"source"`
}

func (a *API) workspace(c *call) work {
	repo, name := engine.RepoID(c.named("repository")), c.named("name")
	return func(ctx context.Context) (any, error) {
		d, err := a.Views.Workspace(ctx, c.sight, repo, name, "")
		if err != nil {
			return nil, err
		}
		neighbour := func(c engine.WorkspaceCard) Neighbour { return Neighbour{c.Name, c.Dir, word(c.State)} }
		v := WorkspaceDetail{
			Workspace: workspaceOf(d.WorkspaceCard),
			Schedule: Schedule{
				Every: d.Look.Every, NextAt: at(d.Look.NextAt), StartedAt: at(d.Look.StartedAt), Since: at(d.Look.Since), Failures: d.Look.Failures, Problem: d.Problem,
				Running: d.Look.Operation != "",
			},
			IssueURL: outward(d.IssueURL), Pauses: all(d.Pauses, pauseOf), Needs: all(d.Needs, neighbour), NeededBy: all(d.NeededBy, neighbour),
			Findings: all(d.Findings, findingOf), MoreFindings: d.More, Looks: all(d.Looks, lookOf), LooksSince: at(d.Since), Settings: []Setting{},
		}
		if d.Known {
			v.Settings = settingsOf(d.Settings, d.Look)
		}
		return v, nil
	}
}

// Where settings come from.
const (
	fromYAML    = "plumbline.yaml"
	fromFiles   = "terraform_files"
	fromVersion = "version_file"
	fromServer  = "server.yaml"
	fromNowhere = "default"
)

// settingsOf lists what a workspace is set to, under the names of plumbline.yaml, and what says so. Values of NAME=VALUE and of
// variables are left out: they may be secrets.
func settingsOf(w workspaces.Workspace, look engine.Sweep) []Setting {
	settings := []Setting{}
	add := func(name, source string, values ...string) {
		var kept []string
		for _, value := range values {
			if value != "" {
				kept = append(kept, value)
			}
		}
		if len(kept) > 0 {
			settings = append(settings, Setting{name, kept, source})
		}
	}
	source := func(set bool) string {
		if set {
			return fromYAML
		}
		return fromNowhere
	}
	found := fromYAML
	if w.Source == "discovered" {
		found = fromFiles
	}
	add("source", found, w.Source)
	add("dir", found, w.Dir)
	add("workspace", source(w.Workspace != "default"), w.Workspace)
	add("engine", source(w.Engine != "terraform"), w.Engine)
	switch {
	case w.Terraform != "":
		add("terraform", fromYAML, w.Terraform)
	case w.VersionFile != "":
		add("terraform", fromVersion, w.VersionFile)
	default:
		add("terraform", fromFiles, w.RequiredVersions...)
	}
	add("backend", fromFiles, w.Backend)
	var keys []string
	for _, setting := range w.BackendConfig {
		key, _, _ := strings.Cut(setting, "=")
		keys = append(keys, key)
	}
	add("backend_config", fromYAML, keys...)
	add("var_files", fromYAML, w.VarFiles...)
	add("env", fromYAML, w.Env...)
	add("watch", fromYAML, w.Watch...)
	add("depends_on", fromYAML, w.DependsOn...)
	add("account", fromYAML, w.Account)
	add("apply", source(w.Apply != "on-merge"), w.Apply)
	add("approvals", source(w.Approvals > 0), strconv.Itoa(w.Approvals))
	every := fromServer
	if w.Drift.Every != "" {
		every = fromYAML
	}
	add("drift.every", every, look.Every)
	var ladder []string
	for _, class := range classes {
		if rung := w.Drift.Correct[string(class)]; rung != "" {
			ladder = append(ladder, string(class)+": "+rung)
		}
	}
	add("drift.correct", fromYAML, ladder...)
	if w.Drift.MaxChanges > 0 {
		add("drift.max_changes", fromYAML, strconv.Itoa(w.Drift.MaxChanges))
	}
	add("drift.windows", fromYAML, w.Drift.Windows...)
	for _, rule := range w.Drift.Ignore {
		add("drift.ignore", fromYAML, rule.Address)
	}
	add("modules", fromFiles, w.Modules...)
	return settings
}
