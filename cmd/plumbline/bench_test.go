package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// BenchmarkPlanAll compares `plumbline plan --all` over 40 workspaces, with a
// real provider, with the loop that it replaces:
//
//	xargs -P$(nproc) sh -c 'terraform init && terraform plan -out'
//
// Each iteration runs the two in turn, first and second time, on directories
// of their own, so that a noisy machine troubles both alike. What counts are
// the ratios of the medians: first/loop (at most 1.3 is wanted) and second/loop
// (at most 1.0).
func BenchmarkPlanAll(b *testing.B) {
	const workspaces = 40
	binary := buildPlumbline(b)
	terraform := parts.Terraform(b)
	config := parts.MirrorConfig(b, parts.Mirror(b))

	var first, second, loopFirst, loopSecond []time.Duration
	for b.Loop() {
		home := b.TempDir()
		environ := []string{
			"HOME=" + home,
			"PATH=" + filepath.Dir(terraform) + ":" + os.Getenv("PATH"),
			"TF_CLI_CONFIG_FILE=" + config,
			"CHECKPOINT_DISABLE=1",
		}
		run := func(dir, name string, args ...string) time.Duration {
			cmd := exec.Command(name, args...)
			cmd.Dir, cmd.Env = dir, environ
			start := time.Now()
			out, err := cmd.CombinedOutput()
			took := time.Since(start)
			// plumbline plan says 2 where there are changes.
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) {
				b.Fatalf("%s: %v\n%s", name, err, out)
			}
			return took
		}
		ours, theirs := monorepo(b, workspaces), monorepo(b, workspaces)
		loop := fmt.Sprintf(`ls -d */ | xargs -P%d -I{} sh -c 'cd {} && terraform init -input=false >init.log && terraform plan -input=false -out=tf.plan >plan.log'`, runtime.NumCPU())

		first = append(first, run(ours, binary, "plan", "--all"))
		loopFirst = append(loopFirst, run(theirs, "sh", "-c", loop))
		for range 3 {
			second = append(second, run(ours, binary, "plan", "--all"))
			loopSecond = append(loopSecond, run(theirs, "sh", "-c", loop))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(first).Seconds(), "first-s")
	b.ReportMetric(median(second).Seconds(), "second-s")
	b.ReportMetric(median(loopFirst).Seconds(), "loop-first-s")
	b.ReportMetric(median(loopSecond).Seconds(), "loop-second-s")
	b.ReportMetric(median(first).Seconds()/median(loopFirst).Seconds(), "first/loop")
	b.ReportMetric(median(second).Seconds()/median(loopSecond).Seconds(), "second/loop")
}

// monorepo is a repository of n workspaces with a provider each.
func monorepo(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		write(fmt.Sprintf("ws%02d/main.tf", i), fmt.Sprintf(`
resource "local_file" "file" {
  for_each = toset(["a", "b", "c"])
  filename = "${path.module}/${each.key}-%d.txt"
  content  = "content of ${each.key}"
}
`, i))
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", "first"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}

func buildPlumbline(tb testing.TB) string {
	tb.Helper()
	binary := filepath.Join(tb.TempDir(), "plumbline")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		tb.Fatalf("build plumbline: %v\n%s", err, out)
	}
	return binary
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
