package workspaces

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scanSeeds are files in the part of the language that scanFile knows, and
// around its edges.
var scanSeeds = []string{
	"",
	"# only a comment",
	"// a comment\n/* another\n */\n",
	"terraform {\n  required_version = \">= 1.5, < 2.0\"\n  backend \"s3\" {}\n  required_providers {\n    aws = { source = \"hashicorp/aws\", version = \"~> 5.0\" }\n  }\n}\n",
	"module \"vpc\" {\n  source  = \"../modules/vpc\"\n  version = \"1.0\"\n  cidr = var.cidr # why\n}\n",
	"module vpc { source = \"./x\" }\n",
	"module \"a\" \"b\" { source = \"./x\" }\n",
	"module \"a\" {}\n",
	"module \"a\" {\n  source = \"./${var.x}\"\n}\n",
	"module \"a\" {\n  source = local.x\n}\n",
	"module \"a\" {\n  source = (\"./x\")\n}\n",
	"resource \"a\" \"b\" {\n  x = y == 1 ? [1, 2,] : { a = 1, b : 2 }\n  z = -foo[*].bar[0].*.baz + !a && b || c\n}\n",
	"locals {\n  a = [for k, v in var.x : v.id if v.ok]\n  b = { for k in x : k => k... if k != \"\" }\n  c = f(a, b...)\n  d = \"${a.b[\"c\"]} and ${~ d ~}\"\n}\n",
	"locals {\n  t = <<-EOT\n    hello ${var.name}\n    100$ and 5% of\n  EOT\n  u = [<<A\nx\nA\n  , 1]\n}\n",
	"locals {\n  t = <<EOT\n${a}EOT\nEOT\n}\n",
	"a = 1\na = 2\n",
	"a = 1 b = 2\n",
	"a {\n",
	"a = \"x\n",
	"a = \"$${x} %%{y}\"\n",
	"a = \"%{ if x }y%{ endif }\"\n",
	"a = \"\\u00e9 \\n\"\n",
	"a = file(\"x\")\nb = path.module\nc = \"../x\"\n",
	"a = core::file(\"x\")\n",
	"a = b.0.c\n",
	"a = 1.5\nb = 1e5\nc = .5\n",
	"a = (\n  1 +\n  2\n)\n",
	"a = 1 +\n2\n",
	"a = b\n  .c\n",
	"a = [\n  for x in y : x\n]\n",
	"a = {\n  (b) = 1\n  \"c d\" = 2, e = 3\n\n  f : 4,\n}\n",
	"a = { b = 1, , c = 2 }\n",
	"a = b ? c : d ? e : f\n",
	"a { b = 1 }\n",
	"a { b = 1\n}\n",
	"a { b {} }\n",
	"a \"b\" c \"d\" {\n}\n",
	"a = b::c(1)\n",
	"é = 1\n",
	"a = \"é\" # ü\n",
	"a = b\r\n",
	"a = x /* in line */ + 1\n",
	"a = <<EOT\nx\nEOT\n.b\n",
	"output \"x\" { value = 1 }",
	"a = f(<<EOT\nx\nEOT\n)\n",
	"a = !b != c\n",
	"a = b[\n  0\n]\n",
	"a = \"${\n  b\n}\"\n",
	"a = [for for in x : for]\n",
	"a = [1 2]\n",
	"a = for\n",
	"a = x...\n",
	"a = f(x..., y)\n",
	"a = f(,)\n",
	"a=b=>c\n",
	"\ufeffa = 1\n",
	"a = \"~}\"\n",
	"a = ${b}\n",
	"a = b.*.c.*.d[0][*].e\n",
	"a = b[*\n]\n",
	"a = null.x\n",
	"a = true ? 1 : 2\n",
}

// FuzzScan holds scanFile to its promise: what it accepts, the full parser
// accepts, with the same facts.
func FuzzScan(f *testing.F) {
	for _, seed := range scanSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := scanFile(data)
		if !ok {
			return
		}
		fast.name = "main.tf"
		full := parseFile("main.tf", data)
		if diff := cmp.Diff(full, fast, cmp.AllowUnexported(fileFacts{}, backendFact{}, call{}, read{}, syntaxError{})); diff != "" {
			t.Errorf("scanFile and parseFile disagree on %q (-parse +scan):\n%s", data, diff)
		}
	})
}

// FuzzRecord holds the encoding of records to two promises: what was written
// is read again as it was, and anything else is refused without a panic.
func FuzzRecord(f *testing.F) {
	for _, seed := range scanSeeds {
		f.Add(appendRecord(nil, &record{files: []fileFacts{parseFacts("main.tf", []byte(seed))}}))
	}
	f.Add(appendRecord(nil, &record{
		dirs: []childDir{{"a", "1"}}, links: []symlink{{"l", "../x"}}, opaque: []string{"sub"},
		values: []string{"prod.tfvars"}, pins: []versionPin{{terraformPin, "1.11.0"}}, tested: []string{"./setup"},
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRecord(string(data))
		if err != nil {
			return
		}
		again, err := readRecord(string(appendRecord(nil, r)))
		if err != nil {
			t.Fatalf("a record that was written cannot be read: %v", err)
		}
		if !bytes.Equal(appendRecord(nil, again), appendRecord(nil, r)) {
			t.Errorf("a record changed when it was written and read: %+v, then %+v", r, again)
		}
	})
}

// TestScanKnowsUsualFiles keeps the fast path from being given up: a scanner
// that accepts nothing would pass FuzzScan.
func TestScanKnowsUsualFiles(t *testing.T) {
	for _, data := range []string{scanSeeds[3], scanSeeds[4], scanSeeds[11], scanSeeds[12], scanSeeds[13]} {
		if _, ok := scanFile([]byte(data)); !ok {
			t.Errorf("scanFile gives up on\n%s", data)
		}
	}
}
