package access_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/planstore"
	"github.com/plumbline-dev/plumbline/runner/access"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// permit is the gate's, for a plan in which nothing has moved.
func permit(t *testing.T, workspace string) gate.Permit {
	t.Helper()
	w := &workspaces.Workspace{Name: workspace, Dir: "a", Workspace: "default", Apply: "on-merge"}
	d := gate.Decide(gate.Evidence{
		Workspace: w, Inputs: "d", State: terraform.StateID{Lineage: "l", Serial: 1},
		Receipt: planstore.Plan{ID: "1", Workspace: workspace, Dir: "a", TerraformWorkspace: "default", InputsDigest: "d", Lineage: "l", Serial: 1, Fingerprint: "f"},
	})
	p, err := d.Permit()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get reads a variable that Terraform is given; of two the last counts.
func get(g *access.Grant, name string) string {
	for _, kv := range slices.Backward(g.Given().Set) {
		if n, value, _ := strings.Cut(kv, "="); n == name {
			return value
		}
	}
	return ""
}

var purpose = access.Purpose{Repository: "hub/acme/live", Change: "42", Commit: "1a2b3c4d5e6f", Actor: "alice"}

// stage is a stand-in for STS with two roles, and a workspace that names them.
func stage(t *testing.T, environ ...string) (*awstest.Server, *workspaces.Workspace, *access.Broker) {
	t.Helper()
	s := awstest.New(t)
	s.Setenv(t)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	w := &workspaces.Workspace{Name: "clusters/prod", Access: workspaces.Access{
		PlanRole:  s.AddRole("team/plan", awstest.Role{Trusts: []string{awstest.AccessKey, "the-token-of-a-job"}}),
		ApplyRole: s.AddRole("team/apply", awstest.Role{Trusts: []string{awstest.AccessKey, "the-token-of-a-job"}, Longest: 3 * time.Hour}),
	}}
	return s, w, access.New(access.Options{Environ: os.Environ(), Anything: true})
}

// TestRoles: a plan gets the one role, and only a permit of the gate gets the other.
func TestRoles(t *testing.T) {
	s, w, b := stage(t)
	w.Access.SessionTags, w.Access.Region, w.Access.Duration = true, "eu-west-1", "2h"
	k := b.For(w, purpose)
	w.Access.Duration = ""
	plan, err := k.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Sessions()) != 1 || s.Sessions()[0].Role != w.Access.PlanRole {
		t.Fatalf("the sessions are %+v", s.Sessions())
	}
	if _, err := k.Apply(t.Context(), gate.Permit{}); err == nil || len(s.Sessions()) != 1 {
		t.Errorf("no permit: %v, and %d sessions", err, len(s.Sessions()))
	}
	if _, err := k.Apply(t.Context(), permit(t, "clusters/test")); err == nil || len(s.Sessions()) != 1 {
		t.Errorf("a permit for another workspace: %v, and %d sessions", err, len(s.Sessions()))
	}
	w.Access.Duration = "2h"
	apply, err := k.Apply(t.Context(), permit(t, w.Name))
	if err != nil {
		t.Fatal(err)
	}
	var got []awstest.Session
	for i, one := range s.Sessions() {
		g := []*access.Grant{plan, apply}[i]
		if get(g, "AWS_ACCESS_KEY_ID") != one.AccessKey || get(g, "AWS_SECRET_ACCESS_KEY") != one.Secret || get(g, "AWS_SESSION_TOKEN") != one.Token {
			t.Errorf("session %d is not what was given", i)
		}
		if get(g, "AWS_REGION") != "eu-west-1" || get(g, "AWS_CONFIG_FILE") != os.DevNull || get(g, "AWS_EC2_METADATA_DISABLED") != "true" {
			t.Errorf("session %d has other things beside it", i)
		}
		one.AccessKey, one.Secret, one.Token = "", "", ""
		got = append(got, one)
	}
	tags := func(phase string) map[string]string {
		return map[string]string{
			"plumbline-phase": phase, "plumbline-repository": "hub/acme/live", "plumbline-workspace": "clusters/prod", "plumbline-change": "42",
			"plumbline-commit": "1a2b3c4d5e6f", "plumbline-actor": "alice",
		}
	}
	want := []awstest.Session{
		{Role: w.Access.PlanRole, Name: "plan,pr42,1a2b3c4d,alice,live,clusters-prod", Tags: tags("plan"), Lasts: time.Hour, Source: awstest.AccessKey},
		{Role: w.Access.ApplyRole, Name: "apply,pr42,1a2b3c4d,alice,live,clusters-prod", Tags: tags("apply"), Lasts: 2 * time.Hour, Source: awstest.AccessKey},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if calls := s.Calls(); calls[0].Region != "eu-west-1" {
		t.Errorf("STS was asked in %s", calls[0].Region)
	}
}

func TestHalfOfTheRoles(t *testing.T) {
	_, w, b := stage(t)
	both := w.Access
	w.Access.ApplyRole = ""
	if _, err := b.For(w, purpose).Plan(t.Context()); err != nil {
		t.Errorf("a plan with a role to plan with: %v", err)
	}
	if _, err := b.For(w, purpose).Apply(t.Context(), permit(t, w.Name)); err == nil || !strings.Contains(err.Error(), "no apply_role") {
		t.Errorf("an apply without its role: %v", err)
	}
	w.Access.PlanRole, w.Access.ApplyRole = "", both.ApplyRole
	if _, err := b.For(w, purpose).Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "no plan_role") {
		t.Errorf("a plan without its role: %v", err)
	}
}

// TestSources: whatever the SDK's default chain finds is what roles are assumed with.
func TestSources(t *testing.T) {
	script := func(t *testing.T, text string) string {
		file := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write := func(t *testing.T, text string) string {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	without := []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}
	printed := func(key, secret string) string {
		text, _ := json.Marshal(map[string]any{"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret})
		return string(text)
	}
	for _, c := range []struct {
		name   string
		env    func(t *testing.T, s *awstest.Server) []string
		tags   bool
		source string // access key; "" for a web identity
		want   string // in the error; "" for none
	}{
		{name: "the environment", env: func(*testing.T, *awstest.Server) []string { return nil }, tags: true, source: awstest.AccessKey},
		{name: "an external process", tags: true, source: awstest.AccessKey, env: func(t *testing.T, _ *awstest.Server) []string {
			process := script(t, "echo '"+printed(awstest.AccessKey, awstest.SecretKey)+"'\n")
			return append(without, "AWS_CONFIG_FILE="+write(t, "[default]\ncredential_process = "+process+"\n"))
		}},
		{name: "an external process that prints something else", want: "credential_process", env: func(t *testing.T, _ *awstest.Server) []string {
			process := script(t, "echo 'canary "+awstest.SecretKey+"'\necho 'canary' >&2\n")
			return append(without, "AWS_CONFIG_FILE="+write(t, "[default]\ncredential_process = "+process+"\n"))
		}},
		{name: "an external process that fails", want: "credential_process", env: func(t *testing.T, _ *awstest.Server) []string {
			process := script(t, "echo canary\necho canary >&2\nexit 3\n")
			return append(without, "AWS_CONFIG_FILE="+write(t, "[default]\ncredential_process = "+process+"\n"))
		}},
		{name: "a web identity", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job\n"))
		}},
		{name: "a web identity cannot tag", tags: true, want: "session_tags", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job\n"))
		}},
		{name: "a web identity that AWS does not trust", want: "the trust policy of arn:aws:iam::111122223333:role/team/plan must name the token's issuer, allow sts:AssumeRoleWithWebIdentity", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "canary"))
		}},
		{name: "a web identity beside a profile", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_PROFILE=base", "AWS_CONFIG_FILE="+write(t, "[profile base]\nregion = eu-west-1\n"), "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job"))
		}},
		{name: "a web identity beside half of the keys", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_ACCESS_KEY_ID="+awstest.AccessKey, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job"))
		}},
		{name: "a web identity that has ended", want: "token of the web identity has ended", env: func(t *testing.T, _ *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "canary-expired"))
		}},
		{name: "a token that is not there", want: "no such file", env: func(*testing.T, *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE=/nowhere/token")
		}},
		{name: "a web identity with a role between", tags: true, source: "chain", env: func(t *testing.T, s *awstest.Server) []string {
			arn := s.AddRole("server", awstest.Role{Trusts: []string{"the-token-of-a-job"}})
			s.AddRole("team/plan", awstest.Role{Trusts: []string{arn}})
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job"), "AWS_ROLE_ARN="+arn)
		}},
		{
			name: "a role between that does not trust the web identity",
			want: "first arn:aws:iam::111122223333:role/server (AWS_ROLE_ARN) must be assumed, and that failed: Not authorized to perform sts:AssumeRoleWithWebIdentity (AccessDenied): " +
				"the trust policy of arn:aws:iam::111122223333:role/server (AWS_ROLE_ARN) must name the token's issuer",
			env: func(t *testing.T, s *awstest.Server) []string {
				return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "canary"), "AWS_ROLE_ARN="+s.AddRole("server", awstest.Role{}))
			},
		},
		{
			name: "a role between whose token is not there", want: "the token of AWS_WEB_IDENTITY_TOKEN_FILE: read the value from /nowhere/token: no such file",
			env: func(_ *testing.T, s *awstest.Server) []string {
				return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE=/nowhere/token", "AWS_ROLE_ARN="+s.AddRole("server", awstest.Role{}))
			},
		},
		{name: "a role between that may not assume the next", want: "the trust policy of arn:aws:iam::111122223333:role/team/plan must name who asks", env: func(t *testing.T, s *awstest.Server) []string {
			return append(without, "AWS_WEB_IDENTITY_TOKEN_FILE="+write(t, "the-token-of-a-job"), "AWS_ROLE_ARN="+s.AddRole("server", awstest.Role{Trusts: []string{"the-token-of-a-job"}}))
		}},
		{name: "a profile whose role trusts somebody else", want: "the trust policy of the role of the AWS profile must name who asks", env: func(t *testing.T, s *awstest.Server) []string {
			return append(without, "AWS_CONFIG_FILE="+write(t, "[default]\nrole_arn = "+s.AddRole("server", awstest.Role{})+
				"\nsource_profile = keys\n[profile keys]\naws_access_key_id = "+awstest.AccessKey+"\naws_secret_access_key = "+awstest.SecretKey+"\n"))
		}},
		{name: "a machine without a role", want: "no AWS credentials", env: func(*testing.T, *awstest.Server) []string {
			return append(without, "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1")
		}},
		{name: "a profile that is not there", want: `there is no AWS profile "nope": correct AWS_PROFILE`, env: func(*testing.T, *awstest.Server) []string {
			return append(without, "AWS_PROFILE=nope")
		}},
		{name: "nothing", want: "no AWS credentials", env: func(*testing.T, *awstest.Server) []string { return without }},
		{name: "a wrong secret", want: "refuses the credentials", env: func(*testing.T, *awstest.Server) []string { return []string{"AWS_SECRET_ACCESS_KEY=canary"} }},
		{name: "credentials that have ended", want: "have ended", env: func(_ *testing.T, s *awstest.Server) []string {
			s.AddSession("ASIAOLD", "canary", "canary")
			s.Expire("ASIAOLD")
			return []string{"AWS_ACCESS_KEY_ID=ASIAOLD", "AWS_SECRET_ACCESS_KEY=canary", "AWS_SESSION_TOKEN=canary"}
		}},
		{name: "a role that trusts somebody else", want: "and, because of session_tags, sts:TagSession; a policy of who asks must allow the same", tags: true, env: func(_ *testing.T, s *awstest.Server) []string {
			s.AddRole("team/plan", awstest.Role{})
			return nil
		}},
		{name: "a role that does not let itself be tagged", want: "sts:TagSession", tags: true, env: func(_ *testing.T, s *awstest.Server) []string {
			s.AddRole("team/plan", awstest.Role{Trusts: []string{awstest.AccessKey}, NoTags: true})
			return nil
		}},
		{name: "STS is away", want: "cannot be reached", env: func(*testing.T, *awstest.Server) []string {
			return []string{"AWS_ENDPOINT_URL_STS=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w, _ := stage(t)
			for _, kv := range c.env(t, s) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			w.Access.SessionTags = c.tags
			g, err := access.New(access.Options{Environ: os.Environ(), Anything: true}).For(w, purpose).Plan(t.Context())
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "clusters/prod") {
					t.Fatalf("got %v, want %q", err, c.want)
				}
				if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), awstest.SecretKey) {
					t.Errorf("the error holds a secret: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sessions := s.Sessions()
			last := sessions[len(sessions)-1]
			if get(g, "AWS_ACCESS_KEY_ID") != last.AccessKey || last.Role != w.Access.PlanRole {
				t.Errorf("the sessions are %d, the last of %s", len(sessions), last.Role)
			}
			if c.source == "chain" {
				c.source = sessions[0].AccessKey
			}
			if last.Source != c.source {
				t.Errorf("the session was asked for by %q, want %q", last.Source, c.source)
			}
		})
	}
}

// TestNoPermitForNoName: a workspace without a name is not the one that no permit is for.
func TestNoPermitForNoName(t *testing.T) {
	s, w, b := stage(t)
	w.Name = ""
	if _, err := b.For(w, purpose).Apply(t.Context(), gate.Permit{}); err == nil || len(s.Sessions()) != 0 {
		t.Errorf("no permit: %v, and %d sessions", err, len(s.Sessions()))
	}
}

// TestRegionOfThePartition: where nobody says which region, STS of the role's own partition is asked.
func TestRegionOfThePartition(t *testing.T) {
	for partition, want := range map[string]string{"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"} {
		s, w, b := stage(t, "AWS_REGION=", "AWS_DEFAULT_REGION=")
		w.Access.PlanRole = "arn:" + partition + ":iam::111122223333:role/elsewhere"
		if _, err := b.For(w, purpose).Plan(t.Context()); err == nil {
			t.Errorf("%s: a role that is not there was assumed", partition)
		}
		if calls := s.Calls(); len(calls) != 1 || calls[0].Region != want {
			t.Errorf("%s: asked were %+v, want one in %s", partition, calls, want)
		}
	}
}

// TestTooLong: what the role does not allow is said, with what to do.
func TestTooLong(t *testing.T) {
	_, w, b := stage(t)
	w.Access.Duration = "12h"
	if _, err := b.For(w, purpose).Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "set aws.duration to less") {
		t.Errorf("got %v", err)
	}
}

// TestGrantsDoNotPrintThemselves: a canary for the ways in which a value is printed by mistake.
func TestGrantsDoNotPrintThemselves(t *testing.T) {
	s, w, b := stage(t)
	g, err := b.For(w, purpose).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	one := s.Sessions()[0]
	for _, printed := range []string{fmt.Sprint(g), fmt.Sprintf("%+v %#v %s %q", g, g, g, g), fmt.Sprintf("%v", []any{g}), string(text), g.LogValue().String()} {
		for _, value := range []string{one.AccessKey, one.Secret, one.Token} {
			if strings.Contains(printed, value) {
				t.Errorf("%s holds a credential", printed)
			}
		}
	}
}

// TestPlansHoldNoCredentials: a configuration that reads Terraform's environment does not get it into a comment.
func TestPlansHoldNoCredentials(t *testing.T) {
	s, w, b := stage(t, "SECRET=canary/of<the>environment")
	w.Access.Plan = map[string]workspaces.Source{
		"HCLOUD_TOKEN": {Env: "SECRET"}, "TF_VAR_other": {Text: "an input variable"}, "OTHER_TOKEN": {Text: "an input variable"},
	}
	g, err := b.For(w, purpose).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := s.Sessions()[0]
	for _, value := range []string{one.AccessKey, one.Secret, one.Token, "canary/of<the>environment"} {
		raw, err := json.Marshal(map[string]any{"planned_values": map[string]any{"outputs": "env: " + value + "."}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check(raw); err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("a plan that holds %s: %v", value, err)
		}
	}
	for value, held := range map[string]bool{"1234567": false, "12345678": true} {
		short := &workspaces.Workspace{Name: "a", Access: workspaces.Access{Plan: map[string]workspaces.Source{"A_TOKEN": {Env: "SHORT"}}}}
		g, err := access.New(access.Options{Environ: []string{"SHORT=" + value}, Anything: true}).For(short, purpose).Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check([]byte(`{"a":"` + value + `"}`)); (err != nil) != held {
			t.Errorf("a plan that holds %d characters: %v", len(value), err)
		}
	}
	if err := g.Check([]byte(`{"a":"an input variable"}`)); err != nil {
		t.Errorf("an input variable in a plan: %v", err)
	}
	if err := (*access.Grant)(nil).Check([]byte("{}")); err != nil {
		t.Error(err)
	}
}

// TestEndedCredentials: who reads the error of a Terraform whose credentials have ended is told so.
func TestEndedCredentials(t *testing.T) {
	_, w, _ := stage(t)
	now := time.Now()
	b := access.New(access.Options{Environ: os.Environ(), Anything: true, Now: func() time.Time { return now }})
	g, err := b.For(w, purpose).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	explain := g.Given().Explain
	if got := explain("Error: no such bucket"); got != "" {
		t.Errorf("another error is explained: %s", got)
	}
	if g.Ending() {
		t.Error("a new session ends soon")
	}
	if now = now.Add(31 * time.Minute); !g.Ending() {
		t.Error("after half of its time a session does not end soon")
	}
	now = now.Add(2 * time.Hour)
	if got := explain("api error ExpiredToken: The provided token has expired."); !strings.Contains(got, "longer than the 1h that they last: set aws.duration") || !strings.Contains(got, w.Access.PlanRole) {
		t.Errorf("credentials that have ended: %s", got)
	}
}
