package workspaces_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
	"github.com/plumbline-dev/plumbline/workspaces"
)

// The monorepo of the benchmarks: so many root modules share so many local
// modules. Each has three files with distinct content, but for the versions.
const (
	benchRoots   = 5000
	benchModules = 200
)

// monorepo is generated once for all benchmarks of a run.
var monorepo struct {
	once  sync.Once
	dir   string
	first string // the commit with everything
	next  string // the one after it, in which one file of one root module changed
	share string // another one after the first, in which one shared module changed
	err   error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if monorepo.dir != "" {
		_ = os.RemoveAll(monorepo.dir)
	}
	os.Exit(status)
}

// openMonorepo returns the directory of the generated repository.
func openMonorepo(b *testing.B) string {
	b.Helper()
	monorepo.once.Do(func() { monorepo.err = makeMonorepo() })
	if monorepo.err != nil {
		b.Fatal(monorepo.err)
	}
	return monorepo.dir
}

func makeMonorepo() error {
	dir, err := os.MkdirTemp("", "monorepo")
	if err != nil {
		return err
	}
	monorepo.dir = dir
	var stream bytes.Buffer
	commit := func(mark int, parent string, files map[string]string) {
		fmt.Fprintf(&stream, "commit refs/heads/main\nmark :%d\ncommitter T <t@example.com> %d +0000\ndata 1\nx\n%s", mark, 1700000000+mark, parent)
		for name, content := range files {
			fmt.Fprintf(&stream, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
		}
		stream.WriteString("\n")
	}
	files := monorepoFiles()
	commit(1, "", files)
	commit(2, "from :1\n", map[string]string{rootDir(77) + "/main.tf": files[rootDir(77)+"/main.tf"] + "\n# changed\n"})
	stream.WriteString("reset refs/heads/share\nfrom :1\n\n")
	text := strings.Replace("commit refs/heads/main", "main", "share", 1)
	fmt.Fprintf(&stream, "%s\nmark :3\ncommitter T <t@example.com> 1700000003 +0000\ndata 1\nx\nM 100644 inline %s/main.tf\ndata 2\n#\n\n", text, moduleDir(7))

	for _, step := range []struct {
		args  []string
		input io.Reader
	}{
		{args: []string{"init", "-q"}},
		{args: []string{"fast-import", "--quiet", "--export-marks=marks"}, input: &stream},
		{args: []string{"repack", "-adq"}},
	} {
		cmd := exec.Command("git", step.args...)
		cmd.Dir, cmd.Stdin = dir, step.input
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", step.args[0], err, out)
		}
	}
	marks, err := os.ReadFile(filepath.Join(dir, "marks"))
	if err != nil {
		marks, err = os.ReadFile(filepath.Join(dir, ".git", "marks"))
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(marks)) {
		mark, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch mark {
		case ":1":
			monorepo.first = id
		case ":2":
			monorepo.next = id
		case ":3":
			monorepo.share = id
		}
	}
	return nil
}

func rootDir(i int) string {
	return fmt.Sprintf("live/team%02d/service%02d/env%d", i/100%50, i/4%25, i%4)
}

func moduleDir(i int) string { return fmt.Sprintf("modules/group%d/module%03d", i%10, i) }

func monorepoFiles() map[string]string {
	files := map[string]string{}
	const versions = "terraform {\n  required_version = \">= 1.5\"\n  required_providers {\n    aws = {\n      source  = \"hashicorp/aws\"\n      version = \"~> 5.0\"\n    }\n  }\n}\n"
	for i := range benchRoots {
		dir := rootDir(i)
		var b strings.Builder
		fmt.Fprintf(&b, "terraform {\n  backend \"s3\" {\n    bucket = \"state-%d\"\n    key    = \"%s/terraform.tfstate\"\n  }\n}\n\nlocals {\n  name = \"service-%d\"\n  tags = merge(var.tags, {\n    Name = local.name\n    Team = \"team-%d\" # who answers\n  })\n}\n", i, dir, i, i%50)
		for j := range 3 {
			fmt.Fprintf(&b, "\nmodule \"part%d\" {\n  source = \"../../../../%s\"\n\n  name    = \"${local.name}-%d\"\n  subnets = [for s in var.subnets : s.id if s.zone != null]\n  size    = var.environment == \"prod\" ? 3 : 1\n  tags    = local.tags\n}\n", j, moduleDir((i*7+j*31)%benchModules), j)
		}
		fmt.Fprintf(&b, "\nresource \"aws_security_group\" \"main\" {\n  name        = local.name\n  description = \"traffic of ${local.name}\"\n  vpc_id      = module.part0.vpc_id\n\n  dynamic \"ingress\" {\n    for_each = var.ports\n    content {\n      from_port   = ingress.value\n      to_port     = ingress.value\n      protocol    = \"tcp\"\n      cidr_blocks = [\"10.%d.0.0/16\"]\n    }\n  }\n}\n", i%256)
		files[dir+"/main.tf"] = b.String()
		files[dir+"/variables.tf"] = fmt.Sprintf("variable \"environment\" {\n  type    = string\n  default = \"env%d\"\n}\n\nvariable \"tags\" {\n  type    = map(string)\n  default = {}\n}\n\nvariable \"subnets\" {\n  type = list(object({ id = string, zone = optional(string) }))\n  default = []\n}\n\nvariable \"ports\" {\n  type    = set(number)\n  default = [%d, 443]\n}\n", i%4, 8000+i)
		files[dir+"/versions.tf"] = versions
	}
	for i := range benchModules {
		dir := moduleDir(i)
		var b strings.Builder
		if i >= 20 {
			fmt.Fprintf(&b, "module \"base\" {\n  source = \"../../../%s\"\n  name   = var.name\n}\n\n", moduleDir(i%20))
		}
		fmt.Fprintf(&b, "resource \"aws_instance\" \"this\" {\n  count         = var.size\n  instance_type = \"m5.large\"\n  user_data     = templatefile(\"${path.module}/files/init.sh.tpl\", { name = var.name, n = %d })\n  tags          = merge(var.tags, { Name = \"${var.name}-${count.index}\" })\n}\n", i)
		files[dir+"/main.tf"] = b.String()
		files[dir+"/files/init.sh.tpl"] = "#!/bin/sh\necho ${name} ${n}\n"
		files[dir+"/variables.tf"] = fmt.Sprintf("variable \"name\" {\n  type = string\n}\n\nvariable \"size\" {\n  type    = number\n  default = %d\n}\n\nvariable \"tags\" {\n  type    = map(string)\n  default = {}\n}\n\nvariable \"subnets\" {\n  type    = any\n  default = null\n}\n", i)
		files[dir+"/outputs.tf"] = fmt.Sprintf("output \"vpc_id\" {\n  value = aws_instance.this[0].id\n}\n\noutput \"number\" {\n  value = %d\n}\n", i)
	}
	return files
}

// gitAlone is the time that Git needs for "ls-tree -r" and for the same blobs
// through "cat-file --batch", one after the other.
func gitAlone(b *testing.B, dir, commit string) time.Duration {
	b.Helper()
	start := time.Now()
	list := exec.Command("git", "ls-tree", "-r", commit)
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		b.Fatal(err)
	}
	var ids bytes.Buffer
	for line := range bytes.Lines(out) {
		if bytes.HasSuffix(line, []byte(".tf\n")) {
			ids.Write(line[len("100644 blob "):][:40])
			ids.WriteByte('\n')
		}
	}
	read := exec.Command("git", "cat-file", "--batch")
	read.Dir, read.Stdin = dir, &ids
	pipe, err := read.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := read.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, pipe); err != nil {
		b.Fatal(err)
	}
	if err := read.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// discoverCommit does what the command line does: it opens the repository and
// finds the workspaces of one commit.
func discoverCommit(b *testing.B, repo *gitrepo.Repo, commit string, facts *workspaces.FactCache) *workspaces.Set {
	b.Helper()
	tree, err := repo.Tree(b.Context(), commit)
	if err != nil {
		b.Fatal(err)
	}
	defer tree.Close()
	set, err := workspaces.Discover(b.Context(), tree, workspaces.Options{Facts: facts})
	if err != nil {
		b.Fatal(err)
	}
	if len(set.Workspaces) != benchRoots || len(set.Problems) > 0 {
		b.Fatalf("found %d workspaces and the problems %v", len(set.Workspaces), set.Problems)
	}
	return set
}

func openRepo(b *testing.B, dir string) *gitrepo.Repo {
	b.Helper()
	repo, err := gitrepo.Open(b.Context(), dir, os.Environ())
	if err != nil {
		b.Fatal(err)
	}
	return repo
}

// median of what a benchmark measured itself, in milliseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2]) / float64(time.Millisecond)
}

// BenchmarkDiscoverCold reads everything for the first time. Its budget is
// twice what Git alone needs for reading the same blobs.
func BenchmarkDiscoverCold(b *testing.B) {
	dir := openMonorepo(b)
	var ours, git []time.Duration
	for b.Loop() {
		git = append(git, gitAlone(b, dir, monorepo.first))
		start := time.Now()
		discoverCommit(b, openRepo(b, dir), monorepo.first, nil)
		ours = append(ours, time.Since(start))
	}
	b.ReportMetric(median(ours), "ms/discover")
	b.ReportMetric(median(git), "ms/git")
	b.ReportMetric(median(ours)/median(git), "×git")
}

// BenchmarkDiscoverAgain finds the workspaces of a commit in which one file
// changed since the last time, with the cache on the disk. Its budget is
// 100 ms.
func BenchmarkDiscoverAgain(b *testing.B) {
	dir := openMonorepo(b)
	file := filepath.Join(b.TempDir(), "facts")
	facts := workspaces.OpenFactCache(file)
	discoverCommit(b, openRepo(b, dir), monorepo.first, facts)
	if err := facts.Save(); err != nil {
		b.Fatal(err)
	}
	saved, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for b.Loop() {
		if err := os.WriteFile(file, saved, 0o600); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		facts := workspaces.OpenFactCache(file)
		discoverCommit(b, openRepo(b, dir), monorepo.next, facts)
		if err := facts.Save(); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	b.ReportMetric(median(times), "ms/discover")
	b.ReportMetric(float64(len(saved))/(1<<20), "MB/cache")
}

// BenchmarkAffected tells which workspaces the change of one file of one
// shared module touches, with the cache on the disk. Its budget is 150 ms.
func BenchmarkAffected(b *testing.B) {
	dir := openMonorepo(b)
	file := filepath.Join(b.TempDir(), "facts")
	facts := workspaces.OpenFactCache(file)
	for _, commit := range []string{monorepo.first, monorepo.share} {
		discoverCommit(b, openRepo(b, dir), commit, facts)
	}
	if err := facts.Save(); err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	touched := 0
	for b.Loop() {
		start := time.Now()
		facts := workspaces.OpenFactCache(file)
		repo := openRepo(b, dir)
		base := discoverCommit(b, repo, monorepo.first, facts)
		head := discoverCommit(b, repo, monorepo.share, facts)
		diff, err := repo.Diff(b.Context(), monorepo.first, monorepo.share)
		if err != nil {
			b.Fatal(err)
		}
		var changes []workspaces.Change
		for _, c := range diff {
			changes = append(changes, workspaces.Change{Path: c.Path, Deleted: c.Status == 'D'})
		}
		touched = len(workspaces.Affected(base, head, changes))
		times = append(times, time.Since(start))
	}
	if touched == 0 || touched == benchRoots {
		b.Fatalf("the change of one module touches %d workspaces", touched)
	}
	b.ReportMetric(median(times), "ms/affected")
	b.ReportMetric(float64(touched), "workspaces")
}
