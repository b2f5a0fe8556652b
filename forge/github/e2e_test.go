//go:build e2e

package github_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/plumbline-dev/plumbline/forge/forgetest"
	"github.com/plumbline-dev/plumbline/forge/github"
	"github.com/plumbline-dev/plumbline/internal/parts"
)

// TestExchangesMatchGitHubsDescription runs the suite and holds every request that the client sends, and every answer of
// the stand-in, against GitHub's own description of its API: the client asks only for what GitHub has, and the stand-in
// answers only what GitHub would.
func TestExchangesMatchGitHubsDescription(t *testing.T) {
	t.Parallel()
	d := readDescription(t)
	for name, options := range hosts {
		t.Run(name, func(t *testing.T) {
			g := forgetest.StartGitHub(t)
			g.PageCap = 2
			var mu sync.Mutex
			operations := map[string]int{}
			g.OnExchange = func(x forgetest.Exchange) {
				if strings.HasPrefix(x.URL, "/graphql") {
					return // not in the description
				}
				operation, err := d.check(x)
				mu.Lock()
				defer mu.Unlock()
				operations[operation]++
				if err != nil {
					t.Errorf("%s %s → %d: %v", x.Method, x.URL, x.Status, err)
				}
			}
			forgetest.Run(t, newClient(t, options(g)), g)
			mu.Lock()
			defer mu.Unlock()
			if len(operations) < 20 {
				t.Errorf("only %d operations were exercised: %v", len(operations), operations)
			}
			t.Logf("%d operations: %v", len(operations), operations)
		})
	}
}

// TestDecodeTakesEveryExample decodes each webhook that GitHub published as an example.
func TestDecodeTakesEveryExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(parts.GitHubWebhooks(t))
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	const secret = "examples"
	client := newClient(t, github.Options{Token: "none", WebhookSecret: secret})
	decoded := map[string]int{}
	total := 0
	for _, event := range events {
		for i, payload := range event.Examples {
			total++
			got, err := client.Decode(signed(secret, event.Name, payload), payload)
			if err != nil {
				t.Errorf("%s example %d: %v", event.Name, i, err)
			}
			for _, e := range got {
				if e.Key == "" || (e.Repo.Name == "" && event.Name != "ping") {
					t.Errorf("%s example %d: event without key or repository: %+v", event.Name, i, e)
				}
				decoded[event.Name]++
			}
		}
	}
	if total < 150 {
		t.Errorf("there are %d examples, want at least 150", total)
	}
	// No example of issue_comment is on a pull request.
	for _, name := range []string{"pull_request", "pull_request_review", "push", "ping"} {
		if decoded[name] == 0 {
			t.Errorf("no example of %s gave an event", name)
		}
	}
	t.Logf("%d examples, events: %v", total, decoded)
}

// description finds operations in GitHub's description.
type description struct {
	doc *openapi3.T
}

func readDescription(t *testing.T) *description {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(parts.GitHubDescription(t))
	if err != nil {
		t.Fatal(err)
	}
	// There the description asks for an account that is a user and an enterprise at once; one installation alone is
	// described, under another path, as belonging to either.
	list := doc.Paths.Value("/app/installations").Get.Responses.Status(http.StatusOK).Value.Content.Get("application/json").Schema.Value
	account := list.Items.Value.Properties["account"].Value
	account.AnyOf, account.AllOf = account.AllOf, nil
	return &description{doc}
}

// check validates one exchange and returns the operation that it belongs to.
func (d *description) check(x forgetest.Exchange) (string, error) {
	req, err := http.NewRequest(x.Method, "https://api.github.com"+x.URL, bytes.NewReader(x.Body))
	if err != nil {
		return "", err
	}
	req.Header = x.Header.Clone()
	route, values := d.route(req)
	if route == nil {
		return "", fmt.Errorf("GitHub has no such operation")
	}
	name := x.Method + " " + route.Path
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: values, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	// What the client asked for wrongly on purpose gets an error, and is none of the description's.
	if x.Status < 400 {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			return name, fmt.Errorf("request: %w", err)
		}
	}
	if x.Status == http.StatusNotModified || route.Operation.Responses.Status(x.Status) == nil {
		if x.Status < 400 && x.Status != http.StatusNotModified {
			return name, fmt.Errorf("GitHub does not answer %d here", x.Status)
		}
		return name, nil // 401, 403 and 304 are described once for the whole API
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: x.Status, Header: x.AnswerHeader,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	output.SetBodyBytes(x.Answer)
	if err := openapi3filter.ValidateResponse(context.Background(), output); err != nil {
		return name, fmt.Errorf("answer: %w", err)
	}
	return name, nil
}

// route finds the path of the description that a request matches: the one with the most literal segments.
func (d *description) route(req *http.Request) (*routers.Route, map[string]string) {
	segments := strings.Split(strings.TrimPrefix(req.URL.EscapedPath(), "/"), "/")
	// Of all parameters only {ref} in git/ref/{ref} takes slashes.
	if len(segments) > 5 && segments[0] == "repos" && segments[3] == "git" && segments[4] == "ref" {
		segments = append(segments[:5:5], strings.Join(segments[5:], "%2F"))
	}
	var best *routers.Route
	var bestValues map[string]string
	bestScore := -1
	for path, item := range d.doc.Paths.Map() {
		operation := item.GetOperation(req.Method)
		template := strings.Split(strings.TrimPrefix(path, "/"), "/")
		if operation == nil || len(template) != len(segments) {
			continue
		}
		score, values := 0, map[string]string{}
		for i, part := range template {
			if name, isParameter := strings.CutPrefix(part, "{"); isParameter {
				value, err := url.PathUnescape(segments[i])
				if err != nil {
					return nil, nil
				}
				values[strings.TrimSuffix(name, "}")] = value
			} else if part == segments[i] {
				score++
			} else {
				score = -1
				break
			}
		}
		if score > bestScore {
			bestScore, bestValues = score, values
			best = &routers.Route{Spec: d.doc, Path: path, PathItem: item, Method: req.Method, Operation: operation}
		}
	}
	return best, bestValues
}
