package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/forge"
)

// mergeable is a *refusal while the forge would not let an open change be merged, for a reason other than us. What is
// applied before a merge that then cannot be made is on no branch, and the next change would undo it.
//
// It is not known of everything that a forge may ask for: reviews by owners of the code, conversations that are to be
// resolved, a branch that is to be up to date.
func (h *errand) mergeable(ctx context.Context, c forge.Change) error {
	const before = "it cannot be merged as it is, and what is applied must be merged: "
	if c.Draft {
		return &refusal{why: before + "it is a draft. Mark it ready for review, then comment `plumbline apply` again.", noted: "a draft cannot be merged"}
	}
	p, err := h.forge.Client.Protection(ctx, h.repo.Repo, c.Base.Branch)
	var denied *forge.NotAllowedError
	if errors.As(err, &denied) {
		return &refusal{
			why:   fmt.Sprintf("nobody can tell whether it may be merged, and what is applied must be: %s", sentence(h.plain(denied.Error()))),
			noted: "the protection of the base branch cannot be read",
		}
	}
	if err != nil {
		return err
	}
	stand := standingOnForge{}
	if p.Approvals > 0 {
		if stand.approvals, err = h.approvalsAnyHead(ctx, c); err != nil {
			return err
		}
	}
	if p.Rejections {
		if stand.rejections, err = h.rejections(ctx, c); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(p.Checks, func(name string) bool { return !ours(name) }) {
		if stand.verdicts, err = h.forge.Client.Verdicts(ctx, h.repo.Repo, c.Head.Commit); err != nil {
			return err
		}
	}
	if missing := unmet(p, stand); len(missing) > 0 {
		return &refusal{
			why: before + fmt.Sprintf("the protection of %s asks for more. %s Once that is so, comment `plumbline apply` again.", codeName(c.Base.Branch), strings.Join(missing, " ")),
			// The log's readers want what, and not who.
			noted: "the protection of the base branch would not let it be merged",
		}
	}
	return nil
}

// standingOnForge is how a change stands as its forge counts.
type standingOnForge struct {
	approvals  int
	rejections []string
	verdicts   map[string]forge.StatusState
}

// unmet says in sentences what a protection asks for that a change does not have. Our own statuses are left out: one of
// them may turn green only by the apply that this is asked for.
func unmet(p forge.Protection, s standingOnForge) []string {
	var missing []string
	if s.approvals < p.Approvals {
		missing = append(missing, fmt.Sprintf("It takes %s, and there %s.", counted(p.Approvals, "approval"), isOrAre(s.approvals)))
	}
	if len(s.rejections) > 0 {
		missing = append(missing, names(s.rejections)+" asked for changes.")
	}
	for _, check := range p.Checks {
		if ours(check) {
			continue
		}
		if why := unmetCheck(check, s.verdicts); why != "" {
			missing = append(missing, fmt.Sprintf("The required check %s %s.", codeName(check), why))
		}
	}
	return missing
}

// unmetCheck says why a required check, which may be a pattern, does not hold; "" if it does.
func unmetCheck(check string, verdicts map[string]forge.StatusState) string {
	found, worst := false, forge.Success
	for context, state := range verdicts {
		if context != check {
			if ours(context) || !matches(check, context) {
				continue
			}
		}
		found = true
		if state != forge.Success && worst != forge.Failure {
			worst = forge.Failure
			if state == forge.Pending {
				worst = forge.Pending
			}
		}
	}
	if !found && matches(check, statusContext) {
		return "" // ours alone answer to it
	}
	switch {
	case !found:
		return "has not said anything"
	case worst == forge.Pending:
		return "has not ended"
	case worst != forge.Success:
		return "is not green"
	}
	return ""
}

// matches reports whether a pattern stands for a context. A "*" stands for slashes too, as in Gitea.
func matches(pattern, context string) bool {
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(pattern), flat.Replace(context))
	return ok && err == nil
}

// ours reports whether a status, or a pattern of statuses, is of this server alone.
func ours(context string) bool {
	return context == statusContext || strings.HasPrefix(context, statusContext+"/")
}

func isOrAre(n int) string {
	if n == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}

// approvalsAnyHead counts approvals as forges do: those that stand, of people with write permission, of an earlier head
// too. Where the forge dismisses those, they do not stand.
func (h *errand) approvalsAnyHead(ctx context.Context, c forge.Change) (int, error) {
	approvals, err := h.forge.Client.Approvals(ctx, h.repo.Repo, c.Number)
	if err != nil {
		return 0, err
	}
	approvals = slices.Clone(approvals)
	for i := range approvals {
		approvals[i].Commit = c.Head.Commit
	}
	people, err := h.writers(ctx, candidates(c, approvals))
	return len(people), err
}

// rejections are the people with write permission who have asked for changes.
func (h *errand) rejections(ctx context.Context, c forge.Change) ([]string, error) {
	logins, err := h.forge.Client.Rejections(ctx, h.repo.Repo, c.Number)
	if err != nil {
		return nil, err
	}
	return h.writers(ctx, logins)
}

// writers are those of some people who may write to the repository.
func (h *errand) writers(ctx context.Context, logins []string) ([]string, error) {
	var people []string
	for _, login := range logins {
		permission, err := h.forge.Client.Permission(ctx, h.repo.Repo, login)
		if err != nil {
			return nil, err
		}
		if permission >= forge.Write {
			people = append(people, login)
		}
	}
	return people, nil
}
