package api

import (
	"net/http"
	"time"
)

// verifyTime is how long the verification of the whole audit log may take.
const verifyTime = 50 * time.Second

// operations is the catalogue: all that can be asked for. Each has its part in openapi.json, and a row in the test of that.
func (a *API) operations() []operation {
	const get, post = http.MethodGet, http.MethodPost
	return []operation{
		{method: get, path: "/openapi.json", read: a.description},
		{method: get, path: "/server", read: a.server},
		{method: get, path: "/status", read: a.status},
		{method: get, path: "/repositories", read: a.repositories},
		{method: get, path: "/workspaces", parameters: []string{"q", "repository", "state", "cursor", "limit"}, read: a.workspaces},
		{method: get, path: "/workspace", parameters: []string{"repository", "name"}, read: a.workspace},
		{method: get, path: "/runs", parameters: []string{"repository", "workspace", "change", "kind", "status", "since", "notable", "cursor", "limit"}, read: a.runs},
		{method: get, path: "/runs/{id}", read: a.run},
		{method: get, path: "/runs/{id}/plan", parameters: []string{"which", "action", "cursor", "limit"}, read: a.plan},
		{method: get, path: "/runs/{id}/output", parameters: []string{"from"}, kind: plainText, read: a.output},
		{method: get, path: "/runs/{id}/output/events", parameters: []string{"from"}, kind: eventStream, read: a.outputEvents},
		{method: get, path: "/graph", parameters: []string{"repository", "cursor", "limit"}, read: a.graph},
		{method: get, path: "/drift", read: a.drift},
		{method: get, path: "/drift/findings", parameters: []string{"q", "class", "cause", "cursor", "limit"}, read: a.findings},
		{method: get, path: "/queue", read: a.queue},
		{method: get, path: "/audit", parameters: []string{"q", "actor", "action", "repository", "workspace", "change", "refused", "since", "until", "cursor", "limit"}, read: a.audit},
		{method: get, path: "/audit/verification", read: a.verification},
		{method: post, path: "/requests", read: a.requests},
		{method: post, path: "/requests/preview", read: a.preview},
		{method: get, path: "/requests/{id}", read: a.request},
		{method: get, path: "/tokens", read: a.tokens},
		{method: post, path: "/tokens/{id}/revoke", read: a.revoke},
		{method: post, path: "/audit/verification", patience: verifyTime, read: a.verify},
	}
}
