package prcomment_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/prcomment"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew; read what changed before committing it")

// pageBreak stands between the pages of a golden file.
const pageBreak = "\n=================================== next page ===================================\n\n"

func TestGolden(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			got := strings.Join(prcomment.Render(s.report, s.limit), pageBreak)
			file := filepath.Join("testdata", "golden", s.name+".md")
			if *updateGolden {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the comment changed (-want +got); -update accepts it:\n%s", diff)
			}
		})
	}
}

func TestPages(t *testing.T) {
	for _, s := range scenarios(t) {
		for _, limit := range []int{s.limit, 8192, 20000} {
			t.Run(fmt.Sprint(s.name, "/", limit), func(t *testing.T) {
				checkPages(t, prcomment.Render(s.report, limit), limit, s.report)
			})
		}
	}
}
