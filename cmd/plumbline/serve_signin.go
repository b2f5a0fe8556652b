package main

import (
	"log/slog"

	"github.com/plumbline-dev/plumbline/internal/audit"
	"github.com/plumbline-dev/plumbline/internal/database"
	"github.com/plumbline-dev/plumbline/internal/telemetry"
	"github.com/plumbline-dev/plumbline/runner/engine"
	"github.com/plumbline-dev/plumbline/web/signin"
)

// gate makes what lets people in; nil if nobody can sign in.
func (c *serverConfig) gate(db *database.DB, decisions *audit.Log, forges []engine.ForgeOptions, tracer *telemetry.Tracer, log *slog.Logger) (*signin.Gate, error) {
	if len(c.signIn.ways) == 0 {
		return nil, nil
	}
	o := signin.Options{
		DB: db, Audit: decisions, PublicURL: c.publicURL, Forges: map[string]signin.Forge{}, Grants: c.signIn.grants,
		Idle: c.signIn.idle, Absolute: c.signIn.absolute, Log: log.With("component", "sign-in"),
	}
	for _, w := range c.signIn.ways {
		w.Transport = tracer.Transport("sign-in", nil)
		o.Ways = append(o.Ways, w)
	}
	for _, f := range forges {
		o.Forges[f.Name] = f.Client
	}
	return signin.New(o)
}
