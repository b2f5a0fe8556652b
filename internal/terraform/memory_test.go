package terraform

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoomy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := file("meminfo", "MemTotal:       16777216 kB\nMemFree:          123 kB\n")
	for _, c := range []struct {
		name   string
		cores  int
		memory string
		limit  string
		want   bool
	}{
		{"4 GiB for each core", 4, big, "/none", true},
		{"1 GiB for each core", 16, big, "/none", false},
		{"a limit that takes it away", 4, big, file("limit", "4294967296\n"), false},
		{"no limit", 4, big, file("max", "max\n"), true},
		{"no account of memory", 1, "/none", "/none", false},
		{"an account of something else", 1, file("odd", "nothing here"), "/none", false},
	} {
		if got := roomFor(c.cores, c.memory, c.limit); got != c.want {
			t.Errorf("%s: roomy is %t, want %t", c.name, got, c.want)
		}
	}
}
