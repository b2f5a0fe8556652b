// Package access gives Terraform its credentials: for planning and looking for drift those that may read, and for an apply
// those that may write, to nobody who has no permit of the gate.
//
// The life of a [Broker]: one for a server or a command. [Broker.For] says for which workspace, change and commit something
// is run, which makes a [Keyring]. [Keyring.Plan] gives the credentials of a plan to whoever asks; [Keyring.Apply] wants a
// gate.Permit, which only package gate can make. Both return a [Grant]: variables for Terraform's environment, for as long as
// it runs. A grant is kept nowhere and does not print itself.
//
// What is given is what the settings of the workspace name: roles of AWS, which STS is asked for each time, and variables
// from text, files, the environment or commands. What of that may be named is for the operator to say ([Rule]), and the
// caller sees to it that a pull request's own settings do not count.
package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/plumbline-dev/plumbline/internal/secret"
	"github.com/plumbline-dev/plumbline/internal/terraform"
	"github.com/plumbline-dev/plumbline/runner/gate"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// Options say what a Broker works with. The zero value gives nobody anything but text.
type Options struct {
	// Environ is Plumbline's own environment, as os.Environ returns it: values are taken from it, and commands run with
	// it. What AWS is asked with comes from the SDK's default chain, which reads the process's.
	Environ []string
	// Rules say what the plumbline.yaml of which repository may name. What no rule allows is refused.
	Rules []Rule
	// Anything allows everything, without rules: for a person's own checkout.
	Anything bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Patience is how long one request to STS may take, whole; a command may take twice that. 0 means 30 s.
	Patience time.Duration
}

// usualPatience is what Options.Patience says.
const usualPatience = 30 * time.Second

// Broker gives credentials.
type Broker struct {
	opts Options

	mu     sync.Mutex
	source *aws.Config // what STS is asked with, once it was needed
}

// New makes a Broker. It contacts nobody.
func New(o Options) *Broker {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Patience = cmp.Or(o.Patience, usualPatience)
	return &Broker{opts: o}
}

// Purpose is what something is run for. Sessions are named and tagged by it.
type Purpose struct {
	// Repository is FORGE/OWNER/NAME on a server, and how the repository is known elsewhere.
	Repository string
	// Change is the number of a pull request, or how else plans are kept apart; "" for none.
	Change string
	// Commit is what is run, and Actor who wants it; "" if that is not known.
	Commit, Actor string
}

// phase is what Terraform is started for.
type phase string

const (
	planning phase = "plan"
	applying phase = "apply"
)

// Keyring is what one workspace may be given in one run. A value is read once for planning, so that what is planned with is
// what the digest of the plan's inputs is of.
type Keyring struct {
	broker    *Broker
	purpose   Purpose
	workspace *workspaces.Workspace

	mu    sync.Mutex
	known map[string]string // values for planning, by variable
}

// For is what a workspace may be given.
func (b *Broker) For(w *workspaces.Workspace, p Purpose) *Keyring {
	return &Keyring{broker: b, purpose: p, workspace: w, known: map[string]string{}}
}

// Plan gives what a plan, a look for drift, and everything that writes nothing is run with.
func (k *Keyring) Plan(ctx context.Context) (*Grant, error) {
	a := k.workspace.Access
	if a.PlanRole == "" && a.ApplyRole != "" {
		return nil, fmt.Errorf("credentials for planning %s: aws has an apply_role and no plan_role: name the role that plans run with", k.workspace.Name)
	}
	return k.grant(ctx, planning, a.PlanRole, a.Plan)
}

// Apply gives what an apply is run with. The permit is the gate's, and for this workspace.
func (k *Keyring) Apply(ctx context.Context, p gate.Permit) (*Grant, error) {
	w := k.workspace
	if p.Workspace() == "" || p.Workspace() != w.Name {
		return nil, fmt.Errorf("credentials for applying %s: the gate has not allowed that", w.Name)
	}
	if w.Access.PlanRole != "" && w.Access.ApplyRole == "" {
		return nil, fmt.Errorf("credentials for applying %s: aws has a plan_role and no apply_role, so nothing is applied: name the role, or say apply: never", w.Name)
	}
	return k.grant(ctx, applying, w.Access.ApplyRole, w.Access.Apply)
}

func (k *Keyring) grant(ctx context.Context, p phase, role string, sources map[string]workspaces.Source) (*Grant, error) {
	failed := func(err error) (*Grant, error) {
		return nil, fmt.Errorf("credentials for the %s of %s: %w", p, k.workspace.Name, err)
	}
	g := &Grant{now: k.broker.opts.Now, since: k.broker.opts.Now()}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if k.broker.roles() && leadsToCredentials(name) {
			return failed(fmt.Errorf("env.%s.%s: it leads to credentials of the server itself, which no Terraform gets where the server's configuration allows roles: name a role in aws instead", p, name))
		}
		value, err := k.value(ctx, p, name, sources[name])
		if err != nil {
			return failed(err)
		}
		g.add(name, value, sources[name].Text == "")
	}
	if role == "" {
		if k.broker.roles() {
			g.alone()
		}
		return g, nil
	}
	if err := k.broker.allowsRole(k.purpose.Repository, role); err != nil {
		return failed(err)
	}
	session, err := k.broker.assume(ctx, k.session(p, role))
	if err != nil {
		return failed(err)
	}
	g.role, g.until, g.lasts = role, session.Expires, k.workspace.Access.Lasts()
	g.add("AWS_ACCESS_KEY_ID", session.AccessKeyID, true)
	g.add("AWS_SECRET_ACCESS_KEY", session.SecretAccessKey, true)
	g.add("AWS_SESSION_TOKEN", session.SessionToken, true)
	g.alone()
	if region := k.workspace.Access.Region; region != "" {
		g.add("AWS_REGION", region, false)
		g.add("AWS_DEFAULT_REGION", region, false)
	}
	return g, nil
}

// alone has AWS's SDKs find nothing of the machine's own: neither the profiles of the user who runs Plumbline, nor the role
// of the machine. They are good for assuming roles, so no Terraform gets them where the operator allows any role, not even
// for a workspace that has none.
func (g *Grant) alone() {
	for _, kv := range [][2]string{{"AWS_CONFIG_FILE", "/dev/null"}, {"AWS_SHARED_CREDENTIALS_FILE", "/dev/null"}, {"AWS_EC2_METADATA_DISABLED", "true"}} {
		g.add(kv[0], kv[1], false)
	}
}

// roles reports whether the operator allows any role.
func (b *Broker) roles() bool {
	return slices.ContainsFunc(b.opts.Rules, func(r Rule) bool { return len(r.Roles) > 0 })
}

// leadsToCredentials reports a variable that tells AWS's SDKs where to get credentials.
func leadsToCredentials(name string) bool {
	switch name {
	case "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_ROLE_ARN":
		return true
	}
	return strings.HasPrefix(name, "AWS_CONTAINER_") || strings.HasPrefix(name, "AWS_WEB_IDENTITY_") || strings.HasPrefix(name, "AWS_EC2_METADATA_SERVICE_")
}

// value reads one value. For planning it is remembered.
func (k *Keyring) value(ctx context.Context, p phase, name string, s workspaces.Source) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if value, ok := k.known[name]; ok && p == planning {
		return value, nil
	}
	value, err := k.broker.read(ctx, k.purpose.Repository, s)
	if err != nil {
		return "", fmt.Errorf("env.%s.%s: %w", p, name, err)
	}
	if p == planning {
		k.known[name] = value
	}
	return value, nil
}

// Inputs are what of the credentials belongs to what a plan is made from. Variables, as NAME=value, are input variables and
// what is written as text; declared says, in lines, which roles and sources there are besides. Nobody is asked for a session.
func (k *Keyring) Inputs(ctx context.Context) (variables, declared []string, err error) {
	a := k.workspace.Access
	for _, name := range slices.Sorted(maps.Keys(a.Plan)) {
		s := a.Plan[name]
		if s.Text != "" || strings.HasPrefix(name, "TF_VAR_") {
			value, err := k.value(ctx, planning, name, s)
			if err != nil {
				return nil, nil, fmt.Errorf("credentials for the plan of %s: %w", k.workspace.Name, err)
			}
			variables = append(variables, name+"="+value)
		}
		declared = append(declared, fmt.Sprintf("plan %s %s", name, s))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Apply)) {
		declared = append(declared, fmt.Sprintf("apply %s %s %q", name, a.Apply[name], a.Apply[name].Text))
	}
	for _, kv := range [][2]string{{"plan_role", a.PlanRole}, {"apply_role", a.ApplyRole}, {"region", a.Region}} {
		if kv[1] != "" {
			declared = append(declared, kv[0]+" "+kv[1])
		}
	}
	return variables, declared, nil
}

// Pass takes out of an environment what Terraform must not get from it: variables that a phase sets or that values come from,
// in any workspace of the set, and where there are roles, the other credentials of AWS. Where the operator allows any role,
// no workspace gets them: they are good for assuming roles.
func (k *Keyring) Pass(environ []string, set []*workspaces.Workspace) []string {
	withheld := map[string]bool{}
	sources := func(w *workspaces.Workspace) {
		for _, phase := range []map[string]workspaces.Source{w.Access.Plan, w.Access.Apply} {
			for _, s := range phase {
				withheld[s.Env] = true
			}
		}
	}
	for _, w := range set {
		sources(w)
	}
	sources(k.workspace)
	for _, name := range k.workspace.Access.Names() {
		withheld[name] = true
	}
	roles := k.broker.roles() || k.workspace.Access.PlanRole != "" || k.workspace.Access.ApplyRole != ""
	for _, r := range k.broker.opts.Rules {
		for _, name := range r.Env {
			withheld[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return withheld[name] || roles && (strings.HasPrefix(name, "AWS_") && !harmless(name) || proves(name) && !slices.Contains(k.workspace.Env, name))
	})
}

// proves reports a variable with which a CI job proves who it is: a role may trust the job, so a workspace that wants to have
// it names it.
func proves(name string) bool {
	return strings.HasPrefix(name, "ACTIONS_ID_TOKEN_REQUEST_") || strings.HasPrefix(name, "TFC_WORKLOAD_IDENTITY_")
}

// harmless reports a variable of AWS's SDKs that holds no credentials and leads to none.
func harmless(name string) bool {
	switch name {
	case "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
		"AWS_STS_REGIONAL_ENDPOINTS", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_EC2_METADATA_DISABLED", "AWS_ENDPOINT_URL":
		return true
	}
	return strings.HasPrefix(name, "AWS_ENDPOINT_URL_")
}

// Grant is what Terraform is given for one phase. It does not print itself.
type Grant struct {
	set, hide []string
	// caught are values that no plan may hold, by their variables.
	caught map[string]string
	// role and until are what STS has said; since is our own clock, by which it is told whether its time is over.
	role         string
	until, since time.Time
	lasts        time.Duration
	now          func() time.Time
}

// add gives a variable. A value that is not written down in plumbline.yaml is hidden wherever it turns up.
func (g *Grant) add(name, value string, hidden bool) {
	g.set = append(g.set, name+"="+value)
	if !hidden {
		return
	}
	g.hide = append(g.hide, value)
	if terraform.IsSecret(name) || name == "AWS_SESSION_TOKEN" {
		if g.caught == nil {
			g.caught = map[string]string{}
		}
		g.caught[name] = value
	}
}

// Given is the grant as package terraform takes it. Nil gives nothing.
func (g *Grant) Given() terraform.Given {
	if g == nil {
		return terraform.Given{}
	}
	return terraform.Given{Set: slices.Clone(g.set), Hide: slices.Clone(g.hide), Explain: g.explain}
}

// Ending reports whether less than half of the time of a session is left: whoever begins something long wants another one.
func (g *Grant) Ending() bool { return g.role != "" && g.now().Sub(g.since) > g.lasts/2 }

// explain says what to do when credentials have ended while Terraform ran.
func (g *Grant) explain(said string) string {
	lower := strings.ToLower(said)
	if g.role == "" || !strings.Contains(lower, "expiredtoken") && !(strings.Contains(lower, "token") && strings.Contains(lower, "expired")) {
		return ""
	}
	how := "AWS says that they are not valid any more, although they should last until then"
	if g.now().Sub(g.since) >= g.lasts {
		how = fmt.Sprintf("Terraform ran for longer than the %s that they last: set aws.duration in plumbline.yaml to more, which the role must allow", shortDuration(g.lasts))
	}
	return fmt.Sprintf("The credentials of %s that Terraform was given end at %s. %s.", g.role, g.until.UTC().Format(time.DateTime+" MST"), how)
}

// ErrHeld is the error of a plan that holds a credential in clear.
var ErrHeld = errors.New("a credential stands in the plan")

// Check returns an error if a plan, as JSON, holds a credential that was given to Terraform for its environment: the
// configuration reads it from there, and whoever reads the plan would, too. Input variables are the configuration's own.
func (g *Grant) Check(plan []byte) error {
	if g == nil || len(plan) == 0 {
		return nil
	}
	text := string(plan)
	variables := map[string]bool{}
	for _, kv := range g.set {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "TF_VAR_") {
			variables[value] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.caught)) {
		if value := g.caught[name]; len(value) >= 8 && !variables[value] && holds(text, value) {
			return fmt.Errorf("%w: it is the value of %s, which Terraform was given for its environment alone. Nothing of the plan was kept. "+
				"Take out of the configuration what reads the environment, or hand the value over as a variable that is sensitive", ErrHeld, name)
		}
	}
	return nil
}

// holds reports whether a plan, as JSON, holds a value in one of the forms that configurations give it.
func holds(plan, value string) bool {
	return slices.ContainsFunc(append(secret.Encoded(value), value), func(form string) bool { return strings.Contains(plan, jsonText(form)) })
}

// Format hides the environment, whatever the verb.
func (o Options) Format(f fmt.State, _ rune) { fmt.Fprint(f, "access.Options (hidden)") }

// Format hides the environment, whatever the verb.
func (b *Broker) Format(f fmt.State, _ rune) { fmt.Fprint(f, "access.Broker (hidden)") }

// Format hides the values that are known, whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) { fmt.Fprint(f, "access.Keyring (hidden)") }

// String hides what is given.
func (g *Grant) String() string { return "credentials (hidden)" }

// GoString hides what is given.
func (g *Grant) GoString() string { return g.String() }

// Format hides what is given, whatever the verb.
func (g *Grant) Format(f fmt.State, _ rune) { fmt.Fprint(f, g.String()) }

// LogValue hides what is given.
func (g *Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// MarshalText hides what is given.
func (g *Grant) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// shortDuration is 1h and not 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
