//go:build e2e

package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/forge/forgetest/world"
	"github.com/plumbline-dev/plumbline/internal/browsertest"
	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

// watchRun has Alice ask for a plan that takes its time, and watch what Terraform prints until the page says what came of it.
func watchRun(t *testing.T, browser *browsertest.Browser, s *busyServer) {
	slow := toycloud.Rule{Verb: toycloud.Read, Kind: toycloud.Buckets, Latency: 2 * time.Second}
	if err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: append(s.never(), slow)}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Cloud.SetBehaviour(toycloud.Behaviour{Rules: s.never()}); err != nil {
			t.Error(err)
		}
	}()
	tab := browser.Tab(t, browsertest.Look{})
	s.signIn(t, tab, world.Alice)
	s.ask(t, tab, s.newest(t, registry, "plan"), fmt.Sprintf("Plan %s of #%d again", registry, s.planned.Number))
	row := "[...document.querySelectorAll('main [data-row]')].find((a) => a.closest('tr, li').innerText.includes('" + registry + "'))"
	s.Await(t, "the new run", func() bool {
		tab.Go(s.url + s.requested)
		return tab.Is(row)
	}, func() string { return tab.Text("document.body.innerText") })
	tab.Do(row + ".click()")
	tab.Await("its page", "location.pathname.startsWith('/run/')")

	const printed = `(document.querySelector('.log')?.textContent.match(/repository\["registry-\d+"\]: Refreshing/g) ?? []).length`
	tab.Await("what Terraform prints", printed+" > 0")
	var some int
	tab.Value(printed, &some)
	if state := tab.Text("document.querySelector('.head .mark').innerText"); some >= 40 {
		t.Errorf("all %d lines came at once, and the state is %q: nothing was watched", some, state)
	}
	tab.Await("more of it", fmt.Sprintf("%s > %d", printed, some))
	tab.Await("what came of it", "document.querySelector('.head .mark').innerText.includes('planned')")
	tab.Await("all of it", "document.querySelector('.log').textContent.includes('Plan: ')")
	for _, complaint := range tab.Complaints() {
		t.Error(complaint)
	}
}

// never is a cloud that does not answer when it is asked for networks.
func (s *busyServer) never() []toycloud.Rule {
	return []toycloud.Rule{{Verb: toycloud.Read, Kind: toycloud.Networks, Latency: time.Hour}}
}
