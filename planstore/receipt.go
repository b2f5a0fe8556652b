package planstore

import (
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// What a plan was made for.
const (
	PurposePlan       = "plan"       // to be reviewed and applied
	PurposeCorrection = "correction" // a targeted plan that takes drift back
	// PurposeProposal is a plan made when a reviewed one was held, or when none was reviewed: it is shown, and applied only
	// where somebody accepts it by its id.
	PurposeProposal = "proposal"
)

// Plan is the receipt of a stored plan: everything that is known about it but its contents. It holds no value of a
// resource. The fields without a remark are the caller's to fill in; none but Workspace is required.
type Plan struct {
	ID         string `json:"id"`         // set by Put; sorts by time, cannot be guessed
	Repository string `json:"repository"` // set by Put
	Workspace  string `json:"workspace"`  // the name of the workspace
	Dir        string `json:"dir"`        // its directory in the repository

	// Change is the scope of the plan: the change (pull request) that it was made for, such as "7"; "" for the command
	// line. A newer plan replaces only those of its own scope.
	Change string `json:"change,omitempty"`

	// Run is the server's run that made it; "" for the command line.
	Run string `json:"run,omitempty"`

	TerraformWorkspace string `json:"terraform_workspace"`
	Commit             string `json:"commit"`
	Dirty              bool   `json:"dirty,omitempty"` // planned from a checkout that differs from Commit

	InputsDigest string `json:"inputs_digest"`
	// ConfigurationDigest covers what InputsDigest does, but for versions: it stays when only those were moved.
	ConfigurationDigest string `json:"configuration_digest,omitempty"`
	// EnvironmentDigest covers the values of the environment that choose what is managed, such as a region or a profile.
	// Secrets, which come and go, are not among them.
	EnvironmentDigest string `json:"environment_digest,omitempty"`
	// ProvidersDigest is that of how the plan's configuration sets up its providers; "" when that cannot be told.
	ProvidersDigest string `json:"providers_digest,omitempty"`
	// ContentDigest is that of the plan file but for the time it was made at: two files that share it plan the same.
	ContentDigest string `json:"content_digest,omitempty"`

	Lineage     string `json:"lineage"` // of the state that was planned against; "" if there was none yet
	Serial      uint64 `json:"serial"`  // likewise
	Fingerprint string `json:"fingerprint"`

	Engine           string            `json:"engine"`
	TerraformVersion string            `json:"terraform_version"`
	Providers        map[string]string `json:"providers,omitempty"`        // source address to version
	FloatingModules  []string          `json:"floating_modules,omitempty"` // remote modules whose content may move

	Counts  Counts   `json:"counts"`
	Targets []string `json:"targets,omitempty"`
	Purpose string   `json:"purpose"` // PurposePlan, also when left empty, PurposeCorrection or PurposeProposal

	CreatedAt time.Time `json:"created_at"` // set by Put if zero

	PlanSHA256 string `json:"plan_sha256"` // hex; this and the following are set by Put
	PlanBytes  int64  `json:"plan_bytes"`
	JSONSHA256 string `json:"json_sha256"`
	JSONBytes  int64  `json:"json_bytes"`
}

// Counts says how many things a plan would do. One resource may count twice, for example as moved and as updated.
type Counts struct {
	Create  int `json:"create"`
	Update  int `json:"update"`
	Replace int `json:"replace"` // delete and create, in either order; counted neither as Create nor as Delete
	Delete  int `json:"delete"`
	Import  int `json:"import"`
	Forget  int `json:"forget"` // taken out of the state, the real object stays
	Move    int `json:"move"`   // another address in the state
	Read    int `json:"read"`   // data sources that are read during apply
	Outputs int `json:"outputs"`
}

// Any reports whether an apply would change anything: a real object, the state, or an output. Reads alone do not count.
func (c Counts) Any() bool {
	c.Read = 0
	return c != Counts{}
}

// Count counts what a plan would do. Things that Terraform deferred to a later plan are not counted.
func Count(plan *tfjson.Plan) Counts {
	var c Counts
	if plan == nil {
		return c
	}
	for _, rc := range plan.ResourceChanges {
		if rc == nil || rc.Change == nil {
			continue
		}
		switch a := rc.Change.Actions; {
		case a.Create():
			c.Create++
		case a.Update():
			c.Update++
		case a.Delete():
			c.Delete++
		case a.Forget():
			c.Forget++
		case a.Read():
			c.Read++
		case a.Replace():
			c.Replace++
		case forgetAndCreate(a):
			c.Forget++
			c.Create++
		}
		if rc.Change.Importing != nil {
			c.Import++
		}
		if moved(rc) {
			c.Move++
		}
	}
	for _, change := range plan.OutputChanges {
		if change != nil && !change.Actions.NoOp() {
			c.Outputs++
		}
	}
	return c
}

// forgetAndCreate is how a replacement looks whose old object is kept (`lifecycle { destroy = false }`).
func forgetAndCreate(a tfjson.Actions) bool {
	return len(a) == 2 && (a[0] == tfjson.ActionForget && a[1] == tfjson.ActionCreate ||
		a[0] == tfjson.ActionCreate && a[1] == tfjson.ActionForget)
}

func moved(rc *tfjson.ResourceChange) bool {
	return rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address
}
