package terraform_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/terraform"
)

func TestEnviron(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "cli.tfrc")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := []string{
		"PATH=/bin", "HOME=/home/x", "LC_ALL=C", "https_proxy=http://proxy", "SSL_CERT_FILE=/ca",
		"TF_VAR_a=1", "TF_VAR_a=2", "TF_VAR_multi=line one\nline two=x", "TF_TOKEN_app_terraform_io=t", "TF_HTTP_PASSWORD=p",
		"AWS_PROFILE=x", "GOOGLE_CREDENTIALS=x", "ARM_CLIENT_ID=x", "KUBECONFIG=x", "HCLOUD_TOKEN=x", "OS_AUTH_URL=x",
		"TF_CLI_CONFIG_FILE=" + config,
		"GITHUB_TOKEN=secret", "GITLAB_TOKEN=secret", "PLUMBLINE_KEY=secret", "DATABASE_URL=secret", "MY_TEAM_A=1", "MY_TEAM_B=2", "MY_OTHER=3",
		"TF_CLI_ARGS=-destroy", "TF_CLI_ARGS_plan=-destroy", "TF_WORKSPACE=other", "TF_LOG=trace", "TF_LOG_PATH=/tmp/x",
		"TF_PLUGIN_CACHE_DIR=/x", "TF_REATTACH_PROVIDERS={}", "TF_DATA_DIR=/x",
		"", "novalue", "=x",
	}
	got := terraform.Environ(parent, []string{"MY_TEAM_*", "GITHUB_TOKEN", "PLUMBLINE_*", "TF_CLI_ARGS"})
	want := []string{
		"ARM_CLIENT_ID=x", "AWS_PROFILE=x", "GITHUB_TOKEN=secret", "GOOGLE_CREDENTIALS=x", "HCLOUD_TOKEN=x", "HOME=/home/x", "KUBECONFIG=x", "LC_ALL=C",
		"MY_TEAM_A=1", "MY_TEAM_B=2", "OS_AUTH_URL=x", "PATH=/bin", "SSL_CERT_FILE=/ca", "TF_CLI_CONFIG_FILE=" + config, "TF_HTTP_PASSWORD=p",
		"TF_TOKEN_app_terraform_io=t", "TF_VAR_a=2", "TF_VAR_multi=line one\nline two=x", "https_proxy=http://proxy",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Environ (-want +got):\n%s", diff)
	}

	names := terraform.EnvNames(got)
	want = []string{
		"ARM_CLIENT_ID", "AWS_PROFILE", "GITHUB_TOKEN", "GOOGLE_CREDENTIALS", "HCLOUD_TOKEN", "KUBECONFIG",
		"MY_TEAM_A", "MY_TEAM_B", "OS_AUTH_URL", "TF_HTTP_PASSWORD", "TF_VAR_a", "TF_VAR_multi",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("EnvNames (-want +got):\n%s", diff)
	}

	if got := terraform.Environ([]string{"TF_CLI_CONFIG_FILE=" + config + ".missing", "TF_CLI_CONFIG_FILE_X=1"}, nil); len(got) != 0 {
		t.Errorf("a CLI configuration that does not exist: got %v, want nothing", got)
	}
}
