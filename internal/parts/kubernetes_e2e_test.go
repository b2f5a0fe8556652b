//go:build e2e

package parts_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

func TestKubernetesKeepsObjectsAndStopsWithItsTest(t *testing.T) {
	t.Parallel()
	anyone := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // #nosec G402 -- it sends no secret
	defer anyone.CloseIdleConnections()
	var url string
	t.Run("running", func(t *testing.T) {
		server := parts.Kubernetes(t)
		url = server.URL
		var version struct{ GitVersion string }
		server.Do(t, "GET", "/version", nil, &version)
		if version.GitVersion != "v1.36.3" {
			t.Errorf("Kubernetes calls itself %q, want v1.36.3", version.GitVersion)
		}

		server.Do(t, "POST", "/api/v1/nodes", object("Node", "a"), nil)
		server.Do(t, "PATCH", "/api/v1/nodes/a", map[string]any{"metadata": map[string]any{"labels": map[string]any{"role": "build"}}}, nil)
		var node struct {
			Metadata struct{ Labels map[string]string }
		}
		server.Do(t, "GET", "/api/v1/nodes/a", nil, &node)
		if node.Metadata.Labels["role"] != "build" {
			t.Errorf("the node's labels are %q, want role=build", node.Metadata.Labels)
		}
		server.Do(t, "DELETE", "/api/v1/nodes/a", nil, nil)
		if server.Has(t, "/api/v1/nodes/a") {
			t.Error("the node is there still")
		}

		server.Do(t, "POST", "/api/v1/namespaces", object("Namespace", "b"), nil)
		server.DeleteNamespace(t, "b")
		if server.Has(t, "/api/v1/namespaces/b") {
			t.Error("the namespace is there still")
		}

		response, err := anyone.Get(url + "/api/v1/nodes")
		if err != nil {
			t.Fatalf("ask without a token: %v", err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a token the API answers %s, want 401", response.Status)
		}
	})
	if response, err := anyone.Get(url); err == nil {
		response.Body.Close()
		t.Errorf("%s still answers after its test ended", url)
	}
}

func object(kind, name string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name}}
}
