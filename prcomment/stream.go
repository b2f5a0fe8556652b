package prcomment

import (
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// SensitiveValues are the texts that a plan marks as sensitive, as far as they are worth hiding elsewhere: what With hides.
func SensitiveValues(plan *tfjson.Plan) []string {
	if plan == nil {
		return nil
	}
	return sensitiveValues(plan)
}

// Whole is for a text that goes on: it returns how much of its beginning may be treated by itself, because no secret that is
// looked for lies across the end of that, nor may have begun before it and go on in what is yet to come.
func (p *Plain) Whole(text string) int {
	cut := len(text)
	if cut == 0 {
		return 0
	}
	last := text[cut-1]
	for pattern := range p.redactor.known {
		for n := min(len(pattern)-1, len(text)); n > len(text)-cut; n-- {
			if pattern[n-1] == last && strings.HasSuffix(text, pattern[:n]) {
				cut = len(text) - n
				break
			}
		}
	}
	// What was cut off may have cut another one in two.
	for again := cut < len(text); again; {
		again = false
		for pattern := range p.redactor.known {
			from := max(0, cut-len(pattern)+1)
			to := min(len(text), cut+len(pattern)-1)
			if i := strings.Index(text[from:to], pattern); i >= 0 && from+i < cut {
				cut, again = from+i, true
			}
		}
	}
	return cut
}
