package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// trusts reports whether a change from a fork by this author may be planned.
func (o ForgeOptions) trusts(author string) bool {
	return slices.ContainsFunc(o.TrustForks, func(login string) bool {
		return login == "*" || author != "" && strings.EqualFold(login, author)
	})
}

// distrust is what a change from a fork that is not trusted is told. Nobody can vouch for it in a comment: planning runs
// what the fork has with the server's credentials, and a word given for what was read would also cover what is pushed a
// moment later.
func distrust(c forge.Change, o ForgeOptions) (Notice, bool) {
	if !c.Fork || o.trusts(c.Author) {
		return Notice{}, false
	}
	return Notice{
		Waits: fmt.Sprintf("This comes from a fork. To plan it is to run its code with the credentials of this server, so that is not done, not even when a maintainer comments `plumbline plan`. "+
			"Either an operator trusts %s (`trust_forks` in the server's configuration), or a maintainer who has read the commits pushes them to a branch of this repository and opens a pull request from there.", codeName(c.Author)),
		State: forge.Failure, Short: "not planned: it comes from a fork",
	}, true
}

// drafted is what a draft is told where drafts wait.
func drafted(c forge.Change, policy workspaces.Policy) (Notice, bool) {
	if !c.Draft || policy.Drafts != "wait" {
		return Notice{}, false
	}
	return Notice{
		Waits: "This is a draft. It is planned once it is ready for review; `plumbline plan` plans it before.",
		State: forge.Pending, Short: "waits until it is ready for review",
	}, true
}

// approvers are the people whose approval of a change counts: of the very commit that is its head, by somebody with write
// permission who is not its author. An approval of an earlier head was of something else, whatever the forge's branch
// protection makes of it.
func (h *errand) approvers(ctx context.Context, c forge.Change) ([]string, error) {
	approvals, err := h.forge.Client.Approvals(ctx, h.repo.Repo, c.Number)
	if err != nil {
		return nil, err
	}
	return h.writers(ctx, candidates(c, approvals))
}

// candidates are those who have approved of a change's head and are not its author, each once.
func candidates(c forge.Change, approvals []forge.Approval) []string {
	var logins []string
	seen := map[string]bool{strings.ToLower(c.Author): true, "": true}
	for _, a := range approvals {
		if key := strings.ToLower(a.Author); a.Commit == c.Head.Commit && c.Head.Commit != "" && !seen[key] {
			seen[key] = true
			logins = append(logins, a.Author)
		}
	}
	slices.Sort(logins)
	return logins
}

// approvalsFor counts approvals only if one of the workspaces asks for any.
func (h *errand) approvalsFor(ctx context.Context, c forge.Change, affected []*workspaces.Workspace) ([]string, error) {
	if !slices.ContainsFunc(affected, func(w *workspaces.Workspace) bool { return w.Approvals > 0 && !w.Removed }) {
		return nil, nil
	}
	return h.approvers(ctx, c)
}

// judgement is what becomes of one workspace in an apply, and why.
type judgement struct {
	Leave       string // why it is not in the operation, in a sentence; "" if it is
	Hold, Next  string // why it is in it and must not be applied, and what to do about it
	Reviewed    string // id of the plan to apply
	Fingerprint string
	Accept      string // fingerprint that somebody has accepted
	Reason      string // for the audit log
}

func (j judgement) allowed() bool { return j.Leave == "" && j.Hold == "" }

// missingApprovals says which approvals a workspace lacks; "" if none.
func missingApprovals(w *workspaces.Workspace, head string, approvers []string) string {
	if len(approvers) >= w.Approvals {
		return ""
	}
	return fmt.Sprintf("It needs %s of %s by people with write permission who are not its author, and has %d.",
		counted(w.Approvals, "approval"), short(head), len(approvers))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// judgeMerge decides what the merge of a change does to one of the workspaces it touches.
func judgeMerge(w *workspaces.Workspace, head string, plan review, appliedBefore bool, approvers []string) judgement {
	missing := missingApprovals(w, head, approvers)
	j := judgement{Reviewed: plan.Plan, Fingerprint: plan.Fingerprint}
	switch {
	case w.Removed:
		j.Reason = "its directory is gone: nothing is run"
	case w.Apply == "never":
		j.Leave = fmt.Sprintf("%s is left as it is: `%s` says `apply: never`.", codeName(w.Name), workspaces.ConfigFile)
		j.Reason = "plumbline.yaml says apply: never"
	case appliedBefore:
		j.Leave = fmt.Sprintf("%s was applied before the merge.", codeName(w.Name))
		j.Reason = "applied by command before the merge"
	case w.Apply == "on-comment":
		j.Hold = fmt.Sprintf("`%s` says `apply: on-comment`, and nobody has applied it.", workspaces.ConfigFile)
		j.Next = "nothing was changed. `plumbline apply` applies the plan that was reviewed, if it still holds."
		j.Reason = "plumbline.yaml says apply: on-comment, and nobody has commented plumbline apply"
	case missing != "":
		j.Hold, j.Reason = missing, missing
		j.Next = "nothing was changed. Once it is approved, comment `plumbline apply`."
	case plan.Status == "" || plan.Status == Failed:
		j.Reviewed, j.Fingerprint = "", ""
		j.Reason = "no plan of this head was reviewed: it is planned, and held if it would change anything"
	default:
		j.Reason = "merged; the plan that was reviewed is applied if the gate lets it"
	}
	return j
}

// judgePush decides what a push without a change does to a workspace.
func judgePush(w *workspaces.Workspace, policy workspaces.Policy) judgement {
	switch {
	case w.Removed:
		return judgement{Reason: "its directory is gone: nothing is run"}
	case w.Apply == "never":
		return judgement{
			Leave:  fmt.Sprintf("%s is left as it is: `%s` says `apply: never`.", codeName(w.Name), workspaces.ConfigFile),
			Reason: "plumbline.yaml says apply: never",
		}
	case policy.Push == "apply" && w.Apply == "on-merge" && w.Approvals == 0:
		return judgement{Accept: acceptAny, Reason: "plumbline.yaml says push: apply"}
	}
	return judgement{Reason: "pushed without a pull request: it is planned, and held if it would change anything"}
}

// acceptAny in Operation.Accept stands for whatever the plan will be: plumbline.yaml of the base branch says that pushes
// without a review are applied.
const acceptAny = "any"
