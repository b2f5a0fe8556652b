package terraform

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// environRule lets variables through. A name that ends in * stands for every name that begins so.
type environRule struct {
	why string
	// plan is true when the values can change a plan: their names go on the receipt.
	plan  bool
	names []string
}

// environRules is the allow-list. What it does not name, Terraform does not see, unless the workspace names it: a
// plan must not depend on what happens to be in the environment of the machine, and a provider must not find secrets
// that are not meant for it, such as the tokens of the forge. GITHUB_TOKEN and GITLAB_TOKEN are left out for that
// reason, although providers read them: a workspace that manages GitHub names them itself.
func environRules() []environRule {
	return []environRule{
		{"to find programs, such as ssh and git for modules", false, []string{"PATH", "SHELL"}},
		{"to find the configuration of the user", false, []string{"HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"}},
		{"where temporary files go", false, []string{"TMPDIR", "TMP", "TEMP"}},
		{"time zone and language", false, []string{"TZ", "ZONEINFO", "LANG", "LANGUAGE", "LC_*"}},
		{"proxies", false, []string{
			"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		}},
		{"certificates to trust", false, []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}},
		{"modules from Git over SSH", false, []string{"SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS"}},
		{"memory and scheduling of Go programs", false, []string{"GOMEMLIMIT", "GOMAXPROCS", "GOGC"}},
		{"the CLI configuration, when the file exists", false, []string{"TF_CLI_CONFIG_FILE"}},
		{"credentials of registries and HCP Terraform", false, []string{"TF_TOKEN_*", "TF_REGISTRY_*"}},
		{"HCP Terraform's organisation, host and project", true, []string{"TF_CLOUD_*", "TFE_*"}},
		{"OpenTofu's state encryption", true, []string{"TF_ENCRYPTION"}},
		{"input variables", true, []string{"TF_VAR_*"}},
		{"the http backend", true, []string{"TF_HTTP_*"}},
		{"the pg and consul backends", true, []string{"PG_CONN_STR", "PG_SCHEMA_NAME", "PG_SKIP_*", "PGHOST", "PGPORT", "PGUSER",
			"PGPASSWORD", "PGDATABASE", "PGSSL*", "CONSUL_*"}},
		{"Amazon Web Services", true, []string{"AWS_*"}},
		{"Google Cloud", true, []string{"GOOGLE_*", "GCLOUD_*", "CLOUDSDK_*", "GCE_METADATA_HOST"}},
		{"Azure", true, []string{"ARM_*", "AZURE_*", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"}},
		{"OpenID Connect of CI jobs, for cloud credentials", true, []string{"ACTIONS_ID_TOKEN_REQUEST_*", "TFC_WORKLOAD_IDENTITY_*"}},
		{"Kubernetes and Helm", true, []string{"KUBE_*", "KUBECONFIG", "KUBERNETES_*", "HELM_*"}},
		{"DigitalOcean", true, []string{"DIGITALOCEAN_*", "SPACES_*"}},
		{"Hetzner", true, []string{"HCLOUD_*", "HETZNER_*", "HROBOT_*"}},
		{"OpenStack", true, []string{"OS_*"}},
		{"vSphere", true, []string{"VSPHERE_*", "GOVMOMI_*"}},
		{"Proxmox", true, []string{"PROXMOX_VE_*", "PM_*"}},
		{"Oracle, Alibaba, IBM, Scaleway, OVH, Exoscale, Linode, Vultr", true, []string{"OCI_*", "ALICLOUD_*", "ALIBABA_CLOUD_*",
			"IBMCLOUD_*", "IC_*", "SCW_*", "OVH_*", "EXOSCALE_*", "LINODE_*", "VULTR_*"}},
		{"Cloudflare, Fastly, Datadog, Vault", true, []string{"CLOUDFLARE_*", "FASTLY_*", "DD_*", "DATADOG_*", "VAULT_*"}},
	}
}

// refused are never let through, named or not, with the reason.
func refused() []environRule {
	return []environRule{
		{"it changes the arguments of every command, so that what runs is not what was reviewed", false, []string{"TF_CLI_ARGS", "TF_CLI_ARGS_*"}},
		{"plumbline.yaml says which Terraform workspace is used", false, []string{"TF_WORKSPACE"}},
		{"Plumbline chooses the data directory", false, []string{"TF_DATA_DIR"}},
		{"Terraform must not ask questions", false, []string{"TF_INPUT"}},
		{"Plumbline sets it itself", false, []string{"TF_IN_AUTOMATION", "TF_APPEND_USER_AGENT", "CHECKPOINT_DISABLE"}},
		{"logs of Terraform hold secrets in clear", false, []string{"TF_LOG", "TF_LOG_*"}},
		{"parallel runs break each other's files in it; Plumbline has a provider cache of its own", false,
			[]string{"TF_PLUGIN_CACHE_DIR", "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"}},
		{"it replaces or weakens providers that the lock file vouches for", false,
			[]string{"TF_REATTACH_PROVIDERS", "TF_DISABLE_PLUGIN_TLS", "TF_SKIP_PROVIDER_VERIFY"}},
		{"Plumbline's own settings hold the keys of the plan store", false, []string{"PLUMBLINE_*"}},
	}
}

// matches reports whether a name is one of names, each of which may end in *.
func matches(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		if stem, ok := strings.CutSuffix(n, "*"); ok {
			return strings.HasPrefix(name, stem)
		}
		return n == name
	})
}

// refusal returns why a variable is never let through, or "".
func refusal(name string) string {
	for _, r := range refused() {
		if matches(r.names, name) {
			return r.why
		}
	}
	return ""
}

// Environ picks from parent, which is as os.Environ returns it, what Terraform may see: the allow-list of this package
// and the names in extra, each of which may end in *. TF_CLI_ARGS, TF_WORKSPACE, TF_LOG and a few others, and all of
// PLUMBLINE_*, are never let through, not even when extra names them. TF_CLI_CONFIG_FILE is dropped when the file does
// not exist, because Terraform then warns on every command, and is made absolute, because Terraform runs elsewhere.
// The result is sorted; of a variable that is given twice the last one counts.
func Environ(parent, extra []string) []string {
	rules := environRules()
	values := map[string]string{}
	for _, kv := range parent {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" || strings.ContainsRune(value, 0) {
			continue
		}
		allowed := matches(extra, name) || slices.ContainsFunc(rules, func(r environRule) bool { return matches(r.names, name) })
		if !allowed || refusal(name) != "" {
			continue
		}
		values[name] = value
	}
	if file, ok := values["TF_CLI_CONFIG_FILE"]; ok {
		abs, err := filepath.Abs(file)
		if err == nil {
			_, err = os.Stat(abs)
		}
		if file == "" || err != nil {
			delete(values, "TF_CLI_CONFIG_FILE")
		} else {
			values["TF_CLI_CONFIG_FILE"] = abs
		}
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// EnvNames returns the sorted names, never the values, of the variables in environ that can change a plan. Give it a
// result of [Environ]: whatever is not known to belong to the machine (PATH, HOME, proxies and so on) is taken to
// matter, so that the extras of a workspace are among them.
func EnvNames(environ []string) []string {
	rules := environRules()
	var names []string
	for _, kv := range environ {
		name, _, ok := strings.Cut(kv, "=")
		machine := slices.ContainsFunc(rules, func(r environRule) bool { return !r.plan && matches(r.names, name) })
		if ok && name != "" && !machine {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkExtra says no to extra names that are never let through.
func checkExtra(extra []string) error {
	for _, name := range extra {
		if name == "*" {
			return fmt.Errorf("env %q would hand the whole environment to Terraform: name the variables, or give a longer prefix", name)
		}
		if why := refusal(name); why != "" {
			return fmt.Errorf("env %q cannot be handed to Terraform: %s", name, why)
		}
	}
	return nil
}

// checkGiven says no to variables that nobody but Plumbline and the machine sets.
func checkGiven(set []string) error {
	for _, kv := range set {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" || strings.ContainsRune(value, 0) {
			return errors.New("something cannot be handed to Terraform in its environment: it is no variable with a value") // and may be one alone
		}
		if why := NeverGiven(name); why != "" {
			return fmt.Errorf("env %q cannot be handed to Terraform: %s", name, why)
		}
	}
	return nil
}

// NeverGiven returns why no workspace may set a variable for Terraform, or "" if it may.
func NeverGiven(name string) string {
	if why := refusal(name); why != "" {
		return why
	}
	if strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "DYLD_") || slices.ContainsFunc(environRules(), func(r environRule) bool {
		return !r.plan && matches(r.names, name) && !strings.HasPrefix(name, "TF_TOKEN_")
	}) {
		return "it belongs to the machine, and is set where Plumbline runs"
	}
	return ""
}

// secretNames are parts of names whose values are masked in what Terraform says.
func secretNames() []string {
	return []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "PRIVATE", "APIKEY", "_KEY", "CONN_STR", "ENCRYPTION"}
}

// IsSecret reports whether a variable's value looks secret by its name.
func IsSecret(name string) bool {
	upper := strings.ToUpper(name)
	return slices.ContainsFunc(secretNames(), func(part string) bool { return strings.Contains(upper, part) })
}

// secretsOf returns the values in environ that look secret by their names, and passwords within URLs of any name, the
// longest first. A path is not a secret.
func secretsOf(environ []string) []string {
	var secrets []string
	add := func(s string) {
		// Shorter ones would blacken words of the message and protect nothing.
		if s = strings.TrimSpace(s); len(s) >= 6 && !filepath.IsAbs(s) {
			secrets = append(secrets, s)
		}
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				add(password)
			}
		}
		if !IsSecret(name) {
			continue
		}
		add(value)
		// Keys and credential files have many lines, and any one of them may be quoted alone.
		for line := range strings.Lines(value) {
			add(line)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(secrets)
}
