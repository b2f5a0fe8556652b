package archtest

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// policy is a policy of IAM, or of a key or role, with the parts that our guides use. An action or a resource is one or several.
type policy struct {
	Version   string
	Statement []struct {
		Effect    string
		Principal map[string]string
		Action    oneOrMore
		Resource  oneOrMore
		Condition map[string]map[string]string
	}
}

type oneOrMore []string

func (l *oneOrMore) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]string)(l))
	}
	*l = make([]string, 1)
	return json.Unmarshal(data, &(*l)[0])
}

// TestPoliciesInTheGuides: what is to be copied into AWS stands alone, and allows what Plumbline needs there.
func TestPoliciesInTheGuides(t *testing.T) {
	for guide, needed := range map[string][]string{
		"docs/credentials.md": {"sts:AssumeRole", "sts:TagSession", "sts:AssumeRoleWithWebIdentity", "cloudtrail:LookupEvents",
			"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "kms:Decrypt", "kms:GenerateDataKey"},
		"docs/plan-store.md": {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:PutObjectTagging",
			"kms:GenerateDataKey", "kms:Decrypt"},
	} {
		allowed := map[string]bool{}
		for _, part := range strings.Split(text(t, guide), "```json\n")[1:] {
			block, _, _ := strings.Cut(part, "```")
			if !json.Valid([]byte(block)) {
				t.Errorf("%s: not JSON that stands alone:\n%s", guide, block)
				continue
			}
			if strings.Contains(block, `"Rules"`) { // of a bucket's lifecycle
				continue
			}
			var p policy
			decoder := json.NewDecoder(strings.NewReader(block))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&p); err != nil || p.Version != "2012-10-17" || len(p.Statement) == 0 {
				t.Errorf("%s: no policy (%v):\n%s", guide, err, block)
			}
			for _, s := range p.Statement {
				if s.Effect != "Allow" || len(s.Action) == 0 || len(s.Resource) == 0 && len(s.Principal) == 0 {
					t.Errorf("%s: a statement without effect, action, or resource and principal:\n%s", guide, block)
				}
				for _, action := range s.Action {
					allowed[action] = true
				}
			}
		}
		for _, action := range needed {
			if !allowed[action] {
				t.Errorf("%s: no policy allows %s", guide, action)
			}
		}
	}
}

// TestGuidesQuoteWhatIsSaid: who looks an error up in a guide finds it by the words that the program says.
func TestGuidesQuoteWhatIsSaid(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"planstore", "runner/access", "workspaces"} {
		err := filepath.WalkDir(filepath.Join(root(t), dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			data, err := os.ReadFile(name)
			source.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := regexp.MustCompile("`[^`]+`")
	for guide, want := range map[string]int{"docs/credentials.md": 20, "docs/plan-store.md": 28} {
		inTable, rows := false, 0
		for line := range strings.Lines(text(t, guide)) {
			inTable = strings.HasPrefix(line, "|") && (inTable || strings.HasPrefix(line, "| error |") || strings.HasPrefix(line, "| it says |"))
			said, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), " | ")
			if !inTable || !strings.Contains(said, "`") {
				continue
			}
			rows++
			for _, message := range quoted.FindAllString(said, -1) {
				pieces := strings.Split(strings.Trim(message, "`"), "…")
				for i := range pieces {
					pieces[i] = regexp.QuoteMeta(pieces[i])
				}
				if !regexp.MustCompile(strings.Join(pieces, ".{0,60}")).MatchString(source.String()) {
					t.Errorf("%s: nobody says %s", guide, message)
				}
			}
		}
		if rows < want {
			t.Errorf("%s: %d errors, want at least %d", guide, rows, want)
		}
	}
}

// TestGuidesAreWrapped: the guides on AWS are read in a terminal, too.
func TestGuidesAreWrapped(t *testing.T) {
	for _, guide := range []string{"docs/credentials.md", "docs/plan-store.md"} {
		for i, line := range slices.Collect(strings.Lines(text(t, guide))) {
			if !strings.HasPrefix(line, "|") && len([]rune(line)) > 141 {
				t.Errorf("%s:%d: %d characters: wrap it", guide, i+1, len([]rune(line)))
			}
		}
	}
}
