// Package archtest holds the rules about the repository itself: who may import
// whom, which library may be used where, and what may stand at the top level.
//
// The rules are tests, so a breach fails `make test` with the file and line of
// the import. Files are parsed here rather than asked of `go list`, whose
// results would not be part of the test cache's key.
package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/plumbline-dev/plumbline/"

// layers lists the packages from the top of the house to its floor. A package
// may import only packages of lower layers; packages of one layer are siblings
// and never import one another.
var layers = [][]string{
	{"cmd"},
	{"web"},
	{"web/api"},
	{"web/signin", "web/live"},
	{"runner/engine"},
	{"runner"},
	{"runner/access"},
	{"runner/gate"},
	{"forge/github", "forge/gitea", "forge/forgetest"},
	{"workspaces", "drift", "forge", "prcomment", "planstore"},
	{"internal"},
	{"internal/secret"},
}

// fences names, for each library, the only places that may import it. What a
// fence keeps in can be replaced by changing one package.
var fences = map[string][]string{
	"github.com/google/go-github":                     {"forge/github"},
	"github.com/bradleyfalzon/ghinstallation":         {"forge/github"},
	"github.com/gofri/go-github-ratelimit":            {"forge/github"},
	"github.com/getkin/kin-openapi":                   {},
	"code.gitea.io/sdk/gitea":                         {"forge/gitea"},
	"github.com/aws/aws-sdk-go-v2":                    {"planstore", "runner/access", "internal/cloudtrail", "internal/awstest"},
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail": {"internal/cloudtrail", "internal/awstest"},
	"github.com/aws/aws-sdk-go-v2/service/kms":        {"planstore", "internal/awstest"},
	"github.com/aws/aws-sdk-go-v2/service/s3":         {"planstore"},
	"github.com/aws/aws-sdk-go-v2/service/sts":        {"runner/access", "internal/awstest"},
	"github.com/tink-crypto/tink-go":                  {"planstore"},
	"github.com/go-git/go-git":                        {"internal/gitrepo"},
	"github.com/hashicorp/terraform-exec":             {"internal/terraform"},
	"github.com/hashicorp/hc-install":                 {"internal/terraform", "internal/parts"},
	"github.com/hashicorp/terraform-plugin-framework": {"internal/toycloud"},
	"github.com/hashicorp/terraform-plugin-go":        {"internal/toycloud"},
	"github.com/hashicorp/hcl/v2":                     {"workspaces", "internal/terraform", "drift/adopt"},
	"github.com/riverqueue/river":                     {"runner/engine", "internal/database"},
	"github.com/jackc/pgx":                            {"internal/database"},
	"modernc.org/sqlite":                              {"internal/database"},
	"github.com/urfave/cli":                           {"cmd"},
	"github.com/nicholas-fedor/shoutrrr":              {"internal/notify"},
	"github.com/prometheus":                           {"internal/telemetry"},
	"go.opentelemetry.io":                             {"internal/telemetry"},
	"github.com/google/uuid":                          {"runner", "planstore", "web/signin"},
	"github.com/coreos/go-oidc":                       {"web/signin"},
	"golang.org/x/oauth2":                             {"web/signin"},
	"github.com/robfig/cron":                          {"internal/schedule"},
	"golang.org/x/time":                               {"internal/cloudtrail"},
	"github.com/invopop/jsonschema":                   {"workspaces"},
	"github.com/yuin/goldmark":                        {"cmd"},
	"github.com/chromedp":                             {"internal/browsertest"},
}

// testFences adds places where a library may be used by tests alone.
var testFences = map[string][]string{
	// Secrets are looked for in what a collector receives.
	"go.opentelemetry.io": {"runner/engine"},
	// GitHub's description of its own API is what the stand-in for it is held against; and ours is held against our answers.
	"github.com/getkin/kin-openapi": {"forge/github", "web"},
	// Drift's corpus is made with a provider that can be told to misbehave; another one stands in for that of AWS.
	"github.com/hashicorp/terraform-plugin-framework": {"drift", "cmd/plumbline"},
	"github.com/hashicorp/terraform-plugin-go":        {"drift"},
	// Comments are read back as the HTML that a forge makes of them.
	"github.com/yuin/goldmark": {"prcomment"},
}

// topLevel is what the design allows at the top of the repository.
var topLevel = []string{
	".ci", ".dockerignore", ".git", ".gitignore", ".golangci.yml",
	"CHANGELOG.md", "DESIGN.md", "Dockerfile", "LICENSE", "Makefile", "README.md",
	"cmd", "docs", "drift", "forge", "go.mod", "go.sum", "internal", "planstore",
	"prcomment", "runner", "testdata", "web", "workspaces",
}

// goImport is one import statement.
type goImport struct {
	file string // slash path relative to the repository root
	line int
	path string
}

func TestImportsPointDown(t *testing.T) {
	for _, im := range repositoryImports(t) {
		rel, ours := strings.CutPrefix(im.path, module)
		if !ours {
			continue
		}
		from := path.Dir(im.file)
		if msg := breach(from, rel, strings.HasSuffix(im.file, "_test.go")); msg != "" {
			t.Errorf("%s:%d: %s", im.file, im.line, msg)
		}
	}
}

func TestLibrariesStayBehindTheirFences(t *testing.T) {
	for _, im := range repositoryImports(t) {
		for library, allowed := range fences {
			if im.path != library && !strings.HasPrefix(im.path, library+"/") {
				continue
			}
			if strings.HasSuffix(im.file, "_test.go") {
				allowed = slices.Concat(allowed, testFences[library])
			}
			if !slices.ContainsFunc(allowed, func(dir string) bool { return within(path.Dir(im.file), dir) }) {
				t.Errorf("%s:%d: %s may be imported only by %s", im.file, im.line, library, strings.Join(allowed, ", "))
			}
		}
	}
}

func TestTopLevelIsTheDesign(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	ignored := []string{"plumbline", "dist"}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) && !slices.Contains(ignored, e.Name()) {
			t.Errorf("%s stands at the top level; DESIGN.md allows only %s", e.Name(), strings.Join(topLevel, ", "))
		}
	}
}

func TestREADMEToursEveryFolder(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "dist" && !strings.Contains(string(readme), "`"+e.Name()+"/") {
			t.Errorf("README.md has no line for the folder %s/", e.Name())
		}
	}
}

// TestDesignNamesEveryDependency: a library that go.mod asks for has its reason in DESIGN.md.
func TestDesignNamesEveryDependency(t *testing.T) {
	design, required := text(t, "DESIGN.md"), 0
	for line := range strings.Lines(text(t, "go.mod")) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !strings.HasPrefix(line, "\t") || !strings.HasPrefix(fields[1], "v") {
			continue // an indirect one has a comment behind it
		}
		required++
		if !named(design, fields[0]) {
			t.Errorf("go.mod requires %s: give it a line in the table of DESIGN.md, section 3", fields[0])
		}
	}
	if required < 10 {
		t.Errorf("go.mod requires %d libraries: this test no longer sees what it is for", required)
	}
}

// named reports whether the table names a module, or the family that it is of: `golang.org/x/{mod,sync}`.
func named(design, module string) bool {
	short := strings.TrimPrefix(module, "github.com/")
	for name := short; strings.Contains(name, "/"); name = path.Dir(name) {
		if strings.Contains(design, "`"+name+"`") {
			return true
		}
	}
	family, member := path.Split(short)
	_, rest, found := strings.Cut(design, "`"+family+"{")
	members, _, _ := strings.Cut(rest, "}")
	return found && slices.Contains(strings.Split(members, ","), member)
}

// TestWritingCredentialsAreAskedForInOnePlace: what an apply may reach is read from plumbline.yaml by package workspaces, and
// asked for by runner/access, which takes a permit of the gate for it. Nobody else knows the role.
func TestWritingCredentialsAreAskedForInOnePlace(t *testing.T) {
	standsOnlyIn(t, regexp.MustCompile(`\.(ApplyRole|Access\.Apply)\b`), "reads what an apply may reach: runner/access gives it for a permit of the gate",
		"workspaces", "runner/access")
}

// TestPermitsAreAskedForInOnePlace: gate.Trust takes its caller's word that somebody trusts a plan, and so makes a permit for
// whoever calls it. Only the runner does, with what a person has said.
func TestPermitsAreAskedForInOnePlace(t *testing.T) {
	standsOnlyIn(t, regexp.MustCompile(`\.Trust\b`), "asks for a permit on nobody's review: only the runner does, with what a person has said", "runner")
}

// standsOnlyIn checks that what a pattern finds in Go files, tests aside, stands in each of some folders, and nowhere else.
func standsOnlyIn(t *testing.T, pattern *regexp.Regexp, otherwise string, dirs ...string) {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir(root(t), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n := d.Name(); d.IsDir() && (n == ".git" || n == "testdata" || n == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil || !pattern.Match(data) {
			return err
		}
		rel, err := filepath.Rel(root(t), name)
		if dir := filepath.ToSlash(filepath.Dir(rel)); slices.Contains(dirs, dir) {
			known[dir] = true
		} else {
			t.Errorf("%s %s", rel, otherwise)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(known) < len(dirs) {
		t.Errorf("%s is in %v and should be in %v: this test no longer sees what it is for", pattern, known, dirs)
	}
}

// TestLogsAreInOrder: entries of many hands are put together line by line, which may double some and leave marks.
func TestLogsAreInOrder(t *testing.T) {
	for _, name := range []string{"DESIGN.md", "CHANGELOG.md"} {
		for _, problem := range disorder(text(t, name)) {
			t.Errorf("%s:%s", name, problem)
		}
	}
}

// disorder says what is out of order in a log: by line, headings and items that stand there twice or follow without a blank
// line, paragraphs that begin with the same sentence, and marks of a conflict.
func disorder(log string) (problems []string) {
	seen, previous := map[string]bool{}, ""
	lines := strings.Split(log, "\n")
	wrong := func(i int, what string) { problems = append(problems, fmt.Sprintf("%d: %s", i+1, what)) }
	for i, line := range lines {
		heading := strings.HasPrefix(line, "### ")
		// Releases have headings of the same words.
		if (strings.HasPrefix(line, "### 20") || strings.HasPrefix(line, "- ")) && seen[line] {
			wrong(i, "stands there twice: "+line)
		}
		if strings.HasPrefix(line, "<<<<<<<") || strings.HasPrefix(line, ">>>>>>>") {
			wrong(i, "a conflict was left")
		}
		if heading && previous != "" {
			wrong(i, "no blank line before "+line)
		}
		// A paragraph that was glued to another one begins where a line ends with a sentence.
		if first := firstSentence(lines[i:]); first != "" && (previous == "" || strings.HasSuffix(previous, ".")) {
			if seen[first] {
				wrong(i, "another paragraph begins with: "+first)
			}
			seen[first] = true
		}
		seen[line] = true
		previous = line
	}
	return problems
}

// firstSentence is that of the paragraph at the beginning of some lines, or "" if no prose stands there.
func firstSentence(lines []string) string {
	if line := lines[0]; line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "```") {
		return ""
	}
	end := slices.Index(lines, "")
	if end < 0 {
		end = len(lines)
	}
	sentence, _, _ := strings.Cut(strings.Join(strings.Fields(strings.Join(lines[:end], " ")), " "), ". ")
	return sentence
}

func TestDisorderIsSeen(t *testing.T) {
	entry := "### 2026-11-21 — One\n\nIt is so, because of\nthis. And more.\n\n"
	for log, want := range map[string]string{
		entry + "### 2026-11-21 — Two\n\nIt is otherwise.\n\n### Fixed\n":         "",
		entry + "### 2026-11-21 — One\n":                                          "stands there twice",
		entry + "### 2026-11-21 — Two\n\nIt is so, because\nof this. And less.\n": "another paragraph begins with: It is so, because of this",
		entry + "It is not.\nIt is so, because\nof this. And less.\n":             "another paragraph begins with: It is so, because of this",
		"### 2026-11-21 — One\n\nIt is so.\n### 2026-11-21 — Two\n\nIt is not.\n": "4: no blank line before ### 2026-11-21 — Two",
		entry + ">>>>>>> theirs\n":                                                "a conflict was left",
		"- One.\n- Two.\n- One.\n":                                                "3: stands there twice",
	} {
		if got := strings.Join(disorder(log), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

// text reads a file of the repository.
func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRulesCatchABreach holds the checker itself to account: a rule that lets
// everything through would leave the tests above green.
func TestRulesCatchABreach(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		bad      bool
	}{
		{"cmd/plumbline", "runner", false, false},
		{"runner", "cmd/plumbline", false, true},
		{"runner", "drift", false, false},
		{"runner", "runner/gate", false, false},
		{"runner/gate", "runner", false, true},
		{"runner/gate", "runner/access", false, true},
		{"drift", "workspaces", false, true},
		{"drift", "internal/schedule", false, false},
		{"internal/gitrepo", "workspaces", false, true},
		{"internal/terraform", "internal/parts", true, false},
		{"internal/terraform", "internal/parts", false, true},
		{"planstore", "internal/awstest", true, false},
		{"planstore", "internal/awstest", false, true},
		{"cmd/plumbline", "internal/browsertest", true, false},
		{"cmd/plumbline", "internal/browsertest", false, true},
		{"web/signin", "internal/oidctest", true, false},
		{"web/signin", "internal/oidctest", false, true},
		{"forge/forgetest", "internal/parts", false, false},
		{"workspaces/atlantis", "workspaces", false, false},
		{"workspaces", "workspaces/atlantis", false, true},
		{"workspaces", "internal/gitrepo", true, false},
		{"web", "forge/github", false, false},
		{"web", "web/signin", false, false},
		{"web/signin", "web", false, true},
		{"forge", "forge/github", false, true},
		{"forge/github", "forge/gitea", false, true},
		{"forge/github", "forge/forgetest", true, false},
		{"runner", "forge/forgetest", false, true},
		{"unheard/of", "runner", false, true},
	} {
		if got := breach(c.from, c.to, c.test) != ""; got != c.bad {
			t.Errorf("breach(%q → %q, test %v) = %q, want a breach: %v", c.from, c.to, c.test, breach(c.from, c.to, c.test), c.bad)
		}
	}
}

// breach says what is wrong with package from importing package to, or "".
func breach(from, to string, test bool) string {
	// The real parts that tests run against are built by this package; a
	// product that imported it would need a compiler at run time. Forgetest is
	// itself for tests only.
	if within(to, "internal/parts") && !test && !within(from, "internal/parts") && !within(from, "forge/forgetest") {
		return fmt.Sprintf("%s imports %s, which is for tests only", from, to)
	}
	for _, tests := range []string{"internal/awstest", "internal/browsertest", "internal/oidctest"} {
		if within(to, tests) && !test && !within(from, tests) {
			return fmt.Sprintf("%s imports %s, which is for tests only", from, to)
		}
	}
	if within(to, "forge/forgetest") && test {
		return "" // what tests of any package above run against
	}
	if within(to, "forge/forgetest") && !within(from, "forge/forgetest") {
		return fmt.Sprintf("%s imports %s, which is for tests only", from, to)
	}
	lf, lt := layer(from), layer(to)
	switch {
	case lf < 0:
		return from + " has no place in the layers of archtest"
	case lt < 0:
		return to + " has no place in the layers of archtest"
	case lf < lt:
		return ""
	case lf > lt:
		return fmt.Sprintf("%s imports %s: imports point down only", from, to)
	case unit(from) == unit(to):
		if within(to, from) && to != from && !test && !strings.HasPrefix(from, "internal/") && !strings.HasPrefix(from, "cmd/") {
			return fmt.Sprintf("%s imports its own part %s: parts build on the whole, not the whole on its parts", from, to)
		}
		return ""
	case strings.HasPrefix(from, "internal/") && strings.HasPrefix(to, "internal/"):
		if test {
			return ""
		}
		return fmt.Sprintf("%s imports %s: siblings never import one another", from, to)
	default:
		return fmt.Sprintf("%s imports %s: siblings never import one another", from, to)
	}
}

// layer returns the index of the layer that dir belongs to, or -1. The longest
// matching entry wins, so forge/github is not mistaken for forge.
func layer(dir string) int {
	best, at := -1, -1
	for i, names := range layers {
		for _, name := range names {
			if within(dir, name) && len(name) > best {
				best, at = len(name), i
			}
		}
	}
	return at
}

// unit is the part of dir that counts as one package among its siblings.
func unit(dir string) string {
	parts := strings.Split(dir, "/")
	if (parts[0] == "internal" || parts[0] == "forge") && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func within(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

func repositoryImports(t *testing.T) []goImport {
	t.Helper()
	top := root(t)
	var found []goImport
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == ".git" || n == "testdata" || n == "dist" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found = append(found, goImport{filepath.ToSlash(rel), fset.Position(spec.Pos()).Line, p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no imports found: the rules were checked against nothing")
	}
	return found
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("repository root not found above internal/archtest: %v", err)
	}
	return dir
}
