package prcomment_test

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/prcomment"
)

// TestWhoAskedIsNamed on the web as in a comment.
func TestWhoAskedIsNamed(t *testing.T) {
	for via, want := range map[string]string{"": "asked for by `bob`", "web": "asked for on the web by `bob`", "api": "asked for through the API by `bob`"} {
		page := prcomment.Render(prcomment.Report{Key: "k", By: "bob", Via: via}, 0)[0]
		if !strings.Contains(page, want) {
			t.Errorf("via %q: no %q in\n%s", via, want, page)
		}
	}
}
