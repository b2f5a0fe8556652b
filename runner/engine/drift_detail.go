package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/drift"
	"github.com/plumbline-dev/plumbline/planstore"
)

// findingDetail is what is kept of a finding beside the columns of its row, sealed: attributes hold values of the cloud.
type findingDetail struct {
	drift.Judged
	// Fight is why a finding is not corrected any more though its verdict allows it; "" when nobody fights back.
	Fight string `json:"fight,omitempty"`
	// Refused is why nothing was corrected though the verdict allows it, or why the correction stopped on the way; "" when
	// nothing stood in the way.
	Refused string `json:"refused,omitempty"`
	// Absent is when it was last known not to be there; zero if nobody knows.
	Absent time.Time `json:"absent,omitzero"`
	// Commit is what the finding was measured against.
	Commit string `json:"commit,omitempty"`
	// Newer is the commit at the tip of the branch, where it was planned as well; "" where it was not.
	Newer string `json:"newer,omitempty"`
}

// The contexts that seals are bound to: what is sealed for one place cannot be put in another.
func findingContext(repo RepoID, workspace, key string) string {
	return fmt.Sprintf("finding %s %q %s", repo, workspace, key)
}

func problemContext(repo RepoID, workspace string) string {
	return fmt.Sprintf("sweep %s %q", repo, workspace)
}

// sealFinding makes what goes into the detail column of a finding.
func sealFinding(plans *planstore.Store, repo RepoID, workspace string, d findingDetail) ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write down a finding of %s of %s: %w", workspace, repo, err)
	}
	return plans.Seal(findingContext(repo, workspace, d.Key), text)
}

// openFinding reads what sealFinding made.
func openFinding(plans *planstore.Store, f FindingRow) (findingDetail, error) {
	var d findingDetail
	text, err := plans.Unseal(findingContext(f.Repository, f.Workspace, f.Key), f.Detail)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return findingDetail{}, fmt.Errorf("read a finding of %s of %s: %w", f.Workspace, f.Repository, err)
	}
	return d, nil
}

// sealProblem makes what goes into the problem column of a sweep: why a look came to no answer, in Terraform's words.
func sealProblem(plans *planstore.Store, repo RepoID, workspace, problem string) ([]byte, error) {
	return plans.Seal(problemContext(repo, workspace), []byte(problem))
}

// openProblem reads what sealProblem made.
func openProblem(plans *planstore.Store, w Sweep) (string, error) {
	if len(w.Problem) == 0 {
		return "", nil
	}
	text, err := plans.Unseal(problemContext(w.Repository, w.Workspace), w.Problem)
	if err != nil {
		return "", fmt.Errorf("read why a look at %s of %s came to no answer: %w", w.Workspace, w.Repository, err)
	}
	return string(text), nil
}
