package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/gitea"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// clients makes the client of each forge. Nothing is asked of them yet.
func (c *serverConfig) clients(metrics *telemetry.Metrics, tracer *telemetry.Tracer) ([]engine.ForgeOptions, error) {
	var forges []engine.ForgeOptions
	for _, f := range c.forges {
		client, err := f.client(metrics, tracer)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: the forge %s: %w", f.place.File, f.place.Line, f.name, err)
		}
		if !f.statuses {
			client = withoutStatuses{client}
		}
		forges = append(forges, engine.ForgeOptions{
			Name: f.name, Client: client, Repos: f.repos, GitURL: f.gitURL, Poll: f.poll, TrustForks: f.trustForks, Branches: f.branches,
		})
	}
	return forges, nil
}

func (f forgeConfig) client(metrics *telemetry.Metrics, tracer *telemetry.Tracer) (engine.Forge, error) {
	if f.kind == "gitea" {
		return gitea.New(gitea.Options{
			URL: f.url, Token: f.token, WebhookSecret: f.webhookSecret, Transport: tracer.Transport(f.name, nil),
			OnCall: func(call gitea.Call) { metrics.ForgeCalled(f.name, call.Method, call.Status, call.Elapsed, "", -1) },
		})
	}
	options := github.Options{
		URL: f.url, Token: f.token, WebhookSecret: f.webhookSecret, Transport: tracer.Transport(f.name, nil),
		OnCall: func(call github.Call) {
			metrics.ForgeCalled(f.name, call.Method, call.Status, call.Elapsed, call.Resource, call.Remaining)
		},
	}
	if f.appID != 0 {
		options.App = &github.App{ID: f.appID, PrivateKey: f.privateKey}
	}
	return github.New(options)
}

// withoutStatuses is a forge on whose commits no verdicts are put.
type withoutStatuses struct{ engine.Forge }

func (withoutStatuses) SetStatus(context.Context, forge.Repo, string, forge.Status) error { return nil }

// checkTime is how long a forge gets to answer at the start. One that is down
// keeps nobody from starting: it may come back.
const checkTime = 15 * time.Second

// checkForges asks each forge who we are and whether the repositories are
// there. The error is about credentials that a forge refuses; what may mend
// itself, or concerns single repositories, is logged.
func checkForges(ctx context.Context, forges []engine.ForgeOptions, log *slog.Logger) error {
	errs := make([]error, len(forges))
	var group errgroup.Group
	for i, f := range forges {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			errs[i] = checkForge(ctx, f, log.With("forge", f.Name))
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

func checkForge(ctx context.Context, f engine.ForgeOptions, log *slog.Logger) error {
	login, err := f.Client.Self(ctx)
	var refused *forge.NotAllowedError
	switch {
	case errors.As(err, &refused), errors.Is(err, forge.ErrNotFound):
		return fmt.Errorf("the forge %s does not accept our credentials: %w", f.Name, err)
	case err != nil:
		log.Warn("the forge does not answer; it is asked again when there is work", "error", err)
		return nil
	}
	log.Info("the forge accepts our credentials", "as", login, "repos", strings.Join(f.Repos, " "))
	var patterns []string
	for _, name := range f.Repos {
		if strings.Contains(name, "*") {
			patterns = append(patterns, name)
			continue
		}
		repo, err := forge.ParseRepo(name)
		if err == nil {
			_, err = f.Client.Repository(ctx, repo)
		}
		if err != nil {
			log.Warn("a repository that is to be served cannot be read", "repository", name, "error", err)
		}
	}
	if len(patterns) == 0 {
		return nil
	}
	visible, err := f.Client.Repos(ctx)
	if err != nil {
		log.Warn("the forge does not list its repositories", "error", err)
		return nil
	}
	for _, pattern := range patterns {
		if !slices.ContainsFunc(visible, func(repo forge.Repo) bool {
			ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(repo.String()))
			return ok && err == nil
		}) {
			log.Warn("no repository that the credentials see is named by a pattern of repos", "pattern", pattern)
		}
	}
	return nil
}
