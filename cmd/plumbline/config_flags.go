package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/workspaces"
)

// configFlags are the settings of server.yaml that a flag or a variable may
// stand in for: a flag before a variable, a variable before the file. Each is
// named as its key, with hyphens.
func configFlags() []cli.Flag {
	return append(storageFlags(),
		overFlag("listen", "`ADDRESS` to listen on"),
		overFlag("public_url", "`URL` of this server, for statuses that have no comment to point to"),
		overFlag("plan_store", "`LOCATION` of plans: a directory or s3://BUCKET/PREFIX"),
		overFlag("plan_kms_key", "`KEY` of AWS KMS that wraps the keys of plans: an ARN, an id or alias/NAME"),
		overFlag("parallel", "run `N` workspaces at once; 0 for two a core, or one where memory is short"),
		overFlag("status_limit", "up to `N` workspaces of a pull request have a status each"),
		overFlag("grace", "how long applies may take to end after SIGTERM: a `DURATION` such as 10m"),
		overFlag("log.level", "`LEVEL` of the log: debug, info, warn or error"),
		overFlag("log.format", "`FORMAT` of the log: text or json"),
		overFlag("traces.endpoint", "`URL` of a collector that takes traces by OTLP over HTTP"),
	)
}

// storageFlags are those that say where the server keeps things.
func storageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "`FILE` with the server's configuration", Value: "server.yaml", EnvVars: []string{"PLUMBLINE_CONFIG"}},
		overFlag("data_dir", "`DIR` for what the server keeps"),
		overFlag("database", "`URL` of a PostgreSQL database, postgres://…, instead of SQLite in data_dir"),
		overFlag("plan_key_file", "`FILE` with the key that seals plans"),
	}
}

// overKeys are the keys of configFlags.
var overKeys = []string{"listen", "public_url", "data_dir", "database", "plan_store", "plan_key_file", "plan_kms_key", "parallel",
	"status_limit", "grace", "log.level", "log.format", "traces.endpoint"}

func overName(key string) string { return strings.NewReplacer("_", "-", ".", "-").Replace(key) }

func overVariable(key string) string {
	return "PLUMBLINE_" + strings.ToUpper(strings.NewReplacer(".", "_").Replace(key))
}

func overFlag(key, usage string) cli.Flag {
	return &cli.StringFlag{Name: overName(key), Usage: usage + " (default: " + key + " of the file) [$" + overVariable(key) + "]"}
}

// readConfig reads the configuration that the command line names, and prints
// its warnings.
func (p *program) readConfig(c *cli.Context, storageOnly bool) (*serverConfig, error) {
	source := configSource{file: c.String("config"), getenv: p.lookupEnv, over: map[string]setting{}, storageOnly: storageOnly}
	for _, key := range overKeys {
		name := overName(key)
		if value, ok := flagGiven(c, name); ok {
			source.over[key] = override("--"+name, value)
		} else if value, _ := p.lookupEnv(overVariable(key)); value != "" {
			source.over[key] = override("$"+overVariable(key), value)
		}
	}
	config, warnings, err := readServerConfig(source)
	for _, w := range warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", printable(w.Error()))
	}
	return config, err
}

// flagGiven returns the value of a flag that stands on the command line, after
// the command or before it.
func flagGiven(c *cli.Context, name string) (string, bool) {
	for _, at := range c.Lineage() {
		if slices.Contains(at.LocalFlagNames(), name) {
			return at.String(name), true
		}
	}
	return "", false
}

func override(source, text string) setting {
	return setting{text: text, written: text, set: true, place: workspaces.Problem{File: source}}
}

func (p *program) lookupEnv(name string) (string, bool) {
	for _, kv := range p.environ {
		if key, value, _ := strings.Cut(kv, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// fileExists reports whether there is something at a path.
func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
