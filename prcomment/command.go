package prcomment

// Verb is what a command asks for.
type Verb string

// The verbs.
const (
	VerbPlan   Verb = "plan"
	VerbApply  Verb = "apply"
	VerbUnlock Verb = "unlock"
	VerbHelp   Verb = "help"
)

// Command is what a person asked for in a comment.
type Command struct {
	Verb       Verb
	Workspaces []string // as written after -w, without doubles; none = all that are affected
}

// ParseCommand reads the command on the first line of a comment. It answers false for a comment that is no command.
// A comment that is meant as a command but cannot be understood gives true and an error that says what to write
// instead, to be shown to its author.
func ParseCommand(body string) (Command, bool, error) {
	return Command{}, false, nil
}

// Help is the answer to `plumbline help`, in Markdown.
func Help() string {
	return ""
}
