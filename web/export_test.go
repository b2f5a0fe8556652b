package web

import "log/slog"

// Routes are the patterns of all routes.
func Routes() []string {
	var all []string
	for _, r := range routes(Options{}, &webhooks{}, newSite(Options{}, slog.Default())) {
		all = append(all, r.pattern)
	}
	return all
}
