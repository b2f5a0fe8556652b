package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/plumbline-dev/plumbline/planstore"
)

// plansFlags choose the plan store, and whose plans in it: those of the
// checkout, or those that a server keeps for a repository.
func plansFlags() []cli.Flag {
	return append(storeFlags(),
		&cli.StringFlag{Name: "config", Usage: "take the plan store and its keys from the server's configuration `FILE`"},
		&cli.StringFlag{Name: "repository", Usage: "whose plans: `REPOSITORY` as a server names it, FORGE/OWNER/NAME, or OWNER/NAME where there is one such (default: the checkout's)"},
	)
}

// plansStore opens the store that the flags name.
func (p *program) plansStore(c *cli.Context) (*planstore.Store, error) {
	if c.String("config") == "" && c.String("repository") == "" {
		co, err := p.openCheckout(c)
		if err != nil {
			return nil, err
		}
		defer co.close()
		return p.lookIntoStore(c, co)
	}
	o, err := p.serverStore(c)
	if err != nil {
		return nil, err
	}
	all, err := planstore.Repositories(c.Context, o.Location)
	if err != nil {
		return nil, err
	}
	here := ""
	if co, err := p.openCheckout(c); err == nil { // it need not be one
		if co.repo != nil {
			here = co.identity()
		}
		co.close()
	}
	if o.Repository, err = chooseRepository(all, c.String("repository"), here); err != nil {
		return nil, err
	}
	return planstore.Open(c.Context, o)
}

// lookIntoStore opens the store of the checkout to look into it, and makes no
// key for that: one that was just made opens nothing, and hides that the name
// of the right one was mistyped.
func (p *program) lookIntoStore(c *cli.Context, co *checkout) (*planstore.Store, error) {
	o, err := p.checkoutStore(c, co)
	if err != nil {
		return nil, err
	}
	if o.Key == "" && !fileExists(o.KeyFile) {
		missing := fmt.Errorf("there is no key at %s: give the one that the plans were sealed with, with --plan-key-file, PLUMBLINE_PLAN_KEY_FILE or PLUMBLINE_PLAN_KEY", o.KeyFile)
		if c.String("plan-key-file") != "" {
			return nil, missing
		}
		stored, err := planstore.Repositories(c.Context, o.Location)
		if err != nil {
			return nil, err
		}
		if slices.Contains(stored, o.Repository) {
			return nil, missing
		}
		// Nothing was ever stored: there is nothing to open, and nobody keeps this key.
		var none [32]byte
		if _, err := rand.Read(none[:]); err != nil {
			return nil, err
		}
		o.Key = base64.StdEncoding.EncodeToString(none[:])
	}
	return planstore.Open(c.Context, o)
}

// serverStore says where a server keeps its plans, by its configuration or by
// the flags that say the same. A server's key is not made here: what it would
// seal, the server could not open.
func (p *program) serverStore(c *cli.Context) (planstore.Options, error) {
	o := planstore.Options{Key: p.getenv("PLUMBLINE_PLAN_KEY")}
	if c.String("config") != "" {
		config, err := p.readConfig(c, true)
		if err != nil {
			return planstore.Options{}, err
		}
		o.Location, o.KeyFile, o.KMSKey = config.planStore, config.planKeyFile, config.planKMSKey
	} else {
		where, err := p.paths(c)
		if err != nil {
			return planstore.Options{}, err
		}
		if o.Location = p.givenLocation(c); o.Location == "" {
			return planstore.Options{}, errors.New("--repository needs --config, or --plan-store: by default each checkout has a plan store of its own")
		}
		o.KMSKey, o.KeyFile = c.String("plan-kms-key"), c.String("plan-key-file")
		if o.KeyFile == "" {
			o.KeyFile = filepath.Join(where.state, "plan.key")
		}
	}
	if err := planstore.CheckLocation(o.Location); err != nil {
		return planstore.Options{}, fmt.Errorf("open plan store: %w", err)
	}
	if !strings.Contains(o.Location, "://") && !fileExists(o.Location) {
		return planstore.Options{}, fmt.Errorf("there is no plan store at %s: has `plumbline serve` run with this configuration?", o.Location)
	}
	if o.Key == "" && !fileExists(o.KeyFile) {
		return planstore.Options{}, fmt.Errorf("there is no key at %s: give the one that the server uses, with --plan-key-file, PLUMBLINE_PLAN_KEY_FILE or PLUMBLINE_PLAN_KEY", o.KeyFile)
	}
	return o, nil
}

// givenLocation is the plan store that flag or environment name; "" if neither
// does.
func (p *program) givenLocation(c *cli.Context) string {
	location := c.String("plan-store")
	if location == "" || strings.Contains(location, "://") || filepath.IsAbs(location) || planstore.CheckLocation(location) != nil {
		return location
	}
	dir := filepath.Join(c.String("chdir"), location)
	if planstore.CheckLocation(dir) != nil {
		return "./" + dir // it said ./s3:…, and Join takes that away
	}
	return dir
}

// chooseRepository finds whose plans are meant among those that a store holds:
// the one that is named; else the only one; else that of the checkout, whose
// identity ends as a server's name for it does.
func chooseRepository(all []string, named, here string) (string, error) {
	fitting := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return !strings.EqualFold(id, named) })
	if len(fitting) == 0 {
		fitting = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return named != "" && !endsIn(id, named) })
	}
	if len(fitting) > 1 && named == "" && here != "" {
		fitting = slices.DeleteFunc(fitting, func(id string) bool {
			_, repo, ok := strings.Cut(id, "/") // what follows the forge
			return id != here && !(ok && endsIn(here, repo))
		})
	}
	listed := shownList(all)
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(all) == 0 && named != "":
		return named, nil // nothing is stored: there is nothing to mistake it for
	case len(all) == 0:
		return "", errors.New("nothing is stored there, of no repository")
	case named == "":
		return "", fmt.Errorf("there are plans of several repositories: say whose with --repository: %s", listed)
	case len(fitting) == 0:
		return "", fmt.Errorf("nothing of %s is stored there; there is something of %s", printable(named), listed)
	}
	return "", fmt.Errorf("several repositories are called %s: write one of %s", printable(named), shownList(fitting))
}

// endsIn reports whether a name ends in another one, at a slash.
func endsIn(id, end string) bool {
	id, end = "/"+strings.ToLower(id), "/"+strings.ToLower(strings.Trim(end, "/"))
	return strings.HasSuffix(id, end)
}

// shownList lists some names for people.
func shownList(names []string) string {
	const most = 10
	var shown []string
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, printable(name))
	}
	if more := len(names) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// hintAtOthers tells whoever finds nothing in a store that was named whose
// plans there are: a server has names of its own for repositories.
func (p *program) hintAtOthers(c *cli.Context) {
	location := p.givenLocation(c)
	if location == "" || c.String("config") != "" || c.String("repository") != "" {
		return
	}
	if others, err := planstore.Repositories(c.Context, location); err == nil && len(others) > 0 {
		fmt.Fprintf(p.stderr, "note: nothing of this checkout is stored there, but of %s: `--repository NAME` shows it\n", shownList(others))
	}
}
