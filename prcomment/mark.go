package prcomment

// Mark is the hidden first line of a page.
type Mark struct {
	Kind  Kind
	Key   string // Report.Key
	Page  int    // from 1
	Pages int
	Plans string // a digest of the names and fingerprints of all plans of the report
}

// ParseMark reads the mark of a page. It looks at the very beginning only: a mark that is quoted further down is text.
// The mark says which page this is, not who wrote it: the forge knows the author.
func ParseMark(page string) (Mark, bool) {
	return Mark{}, false
}
