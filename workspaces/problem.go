package workspaces

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a [Problem] keeps something from being run.
type Severity string

const (
	// SeverityError means that what the problem names cannot be run as it
	// stands.
	SeverityError Severity = "error"
	// SeverityWarning means that it runs, but perhaps not as its author meant.
	SeverityWarning Severity = "warning"
)

// Problem is one mistake in a repository: in plumbline.yaml or in the Terraform
// files. It says where, what, and what to do. It is an error, so that several
// can be joined and returned.
type Problem struct {
	// File is the slash-separated path from the repository's root, or "" when
	// no single file is at fault.
	File string `json:"file"`
	// Line counts from 1; 0 means the file as a whole.
	Line int `json:"line"`
	// Text says what is wrong, in lower case and without a final stop.
	Text string `json:"text"`
	// Fix says what to do about it; "" when Text leaves nothing to add.
	Fix string `json:"fix"`
	// Severity is an error when empty.
	Severity Severity `json:"severity"`
	// Workspace names the workspace that is concerned, or "" when the problem
	// concerns none or many.
	Workspace string `json:"workspace"`
}

// Error returns "file:line: text (fix)", without the parts that are not set.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	b.WriteString(p.Text)
	if p.Fix != "" {
		fmt.Fprintf(&b, " (%s)", p.Fix)
	}
	return b.String()
}

// IsError reports whether the problem is more than a warning.
func (p Problem) IsError() bool { return p.Severity != SeverityWarning }

// joinProblems makes one error of those problems that are errors; nil when
// there are none.
func joinProblems(problems []Problem) error {
	var errs []error
	for _, p := range problems {
		if p.IsError() {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// sortProblems orders by place, so that a list reads like the files do.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			strings.Compare(a.Text, b.Text),
		)
	})
}
