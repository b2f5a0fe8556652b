//go:build e2e

package engine_test

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// TestAskedOnTheWeb applies a pull request that nobody has commented on, and tells there who asked.
func TestAskedOnTheWeb(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]func(*testing.T) (world.Forge, engine.Forge){"GitHub": gitHub, "Gitea": giteaHost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := world.Files()
			files["plumbline.yaml"] = world.Settings("merge: squash", "workspaces:", "  - { dir: c, apply: on-comment }")
			s := start(t, options{world: world.Options{Files: files}, host: host})
			node := s.nodes[0]
			views := engine.NewViews(engine.ViewsOptions{DB: node.db})
			repo := engine.RepoID(forgeName + "/" + s.Repo.String())
			pull := s.Open(t, alice, "two", with("c", "2"))
			pull.AwaitComment(t, "kind=plan", "1 to add")
			pull.AwaitStatus(t, "plumbline", forge.Success)
			s.quiet(t)
			ask := func(login string, want engine.RequestState) engine.RequestView {
				t.Helper()
				id, err := node.live.Ask(t.Context(), engine.Request{
					Action: engine.ActApply, Repository: repo, Change: pull.Number,
					By: engine.Asker{ID: login, Name: login, Login: login, Via: engine.ViaWeb},
				})
				if err != nil {
					t.Fatal(err)
				}
				var v engine.RequestView
				s.Await(t, "the request to be "+string(want), func() bool {
					v, err = views.Request(t.Context(), engine.Everything(), id)
					return err != nil || v.State != engine.RequestWaiting
				}, func() string { return s.log.tail(30) })
				if err != nil || v.State != want {
					t.Fatalf("%s asks: %+v, %v; want it %s", login, v, err, want)
				}
				return v
			}
			if v := ask(mallory, engine.RequestRefused); !strings.Contains(v.Why, "write permission") {
				t.Errorf("refused with %q", v.Why)
			}
			if v := ask(alice, engine.RequestTaken); len(v.Runs) != 1 || v.Runs[0].Workspace != "c" {
				t.Errorf("what came of it: %+v", v.Runs)
			}
			s.AwaitVersions(t, map[string]string{"c": "2"})
			s.Await(t, "the pull request to be merged", func() bool { return s.state(t, pull) == forge.Merged }, func() string { return s.log.tail(30) })
			pull.AwaitComment(t, "kind=apply", "asked for on the web by `"+alice+"`")
			s.quiet(t)
		})
	}
}
