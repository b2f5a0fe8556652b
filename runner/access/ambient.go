package access

import (
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// chain are the variables by which AWS's SDKs find credentials.
var chain = []string{
	"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
}

// Ambient reports whether Terraform may use the credentials of AWS that Plumbline itself finds where it runs: [Keyring.Pass]
// takes none of them away. Only then may Plumbline use them for something that a workspace asks for. What the grant gives in
// their place is no less than that.
func (k *Keyring) Ambient(g *Grant, set []*workspaces.Workspace) bool {
	given := g.Given().Set
	probe := make([]string, 0, len(chain))
	for _, name := range chain {
		if !slices.ContainsFunc(given, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			probe = append(probe, name+"=")
		}
	}
	return len(k.Pass(probe, set)) == len(probe)
}
