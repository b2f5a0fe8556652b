package gitrepo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

func TestCommitWithoutAWorkTree(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1", "deep/b.tf": "1", "run.sh": "x", "gone.tf": "1"})
	if err := os.Chmod(filepath.Join(checkout, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.tf", filepath.Join(checkout, "link.tf")); err != nil {
		t.Fatal(err)
	}
	commit(t, checkout)
	git(t, checkout, "push", "-q", "up", "HEAD:main")
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	fetch(t, m, filepath.Join(root, "live.git"))
	const base = "refs/heads/main"
	edit := gitrepo.Edit{
		Base: base, At: time.Unix(1700000000, 0), Message: "Ignore `$(x)`\n\n-- a drift\x00", Name: "Eve <evil>\ncommitter x", Email: "e@example.com>\n",
		Files: map[string][]byte{"a.tf": []byte("2"), "deep/b.tf": []byte("2\n"), "run.sh": []byte("y"), "gone.tf": nil, "new/odd \"name\".tf": []byte("n"), "empty": {}},
	}
	first, err := m.Commit(t.Context(), edit)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.Commit(t.Context(), edit); err != nil || again != first {
		t.Errorf("the same again = %s, %v, want %s", again, err, first)
	}
	got := git(t, m.Dir(), "-c", "core.quotePath=false", "diff-tree", "-r", "--no-renames", "--format=%an|%ae|%cn|%ct|%B", "--abbrev=1", "--raw", first)
	var lines []string
	for line := range strings.Lines(got) {
		if meta, path, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			f := strings.Fields(meta)
			lines = append(lines, f[1]+" "+f[4]+" "+path)
		} else if strings.TrimSpace(line) != "" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{
		"Eve evilcommitter x|e@example.com|Plumbline|1700000000|Ignore `$(x)`", "-- a drift",
		"100644 M a.tf", "100644 M deep/b.tf", "100644 A empty", "000000 D gone.tf", `100644 A "new/odd \"name\".tf"`, "100755 M run.sh",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("commit (-want +got):\n%s", diff)
	}
	if made, err := m.MadeHere(t.Context(), first); err != nil || !made {
		t.Errorf("MadeHere of ours = %v, %v", made, err)
	}
	if made, err := m.MadeHere(t.Context(), base); err != nil || made {
		t.Errorf("MadeHere of another's = %v, %v", made, err)
	}
	if _, err := m.Commit(t.Context(), gitrepo.Edit{Base: base, Files: map[string][]byte{"a.tf": []byte("1")}}); !errors.Is(err, gitrepo.ErrUnchanged) {
		t.Errorf("what is there already: %v, want ErrUnchanged", err)
	}
	for _, path := range []string{"", ".", "/etc/passwd", "../x", "deep", "a.tf/x", ".git/config", "deep/.GIT/hooks/x", "link.tf", "x\x00y"} {
		if id, err := m.Commit(t.Context(), gitrepo.Edit{Base: base, Files: map[string][]byte{path: []byte("x")}}); err == nil {
			t.Errorf("path %q: commit %s, want an error", path, id)
		}
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	const secret = "CANARY/s3cr3t+%'\"$(x)"
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	live := filepath.Join(root, "live.git")
	git(t, live, "config", "http.receivepack", "true")
	server := serveGit(t, root)
	server.password = secret
	url, cred := server.URL+"/live.git", gitrepo.Credential{Username: "bot", Password: secret}
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	if err := m.Fetch(t.Context(), url, cred, allHeads); err != nil {
		t.Fatal(err)
	}
	made := func(text string) string {
		id, err := m.Commit(t.Context(), gitrepo.Edit{Base: "refs/heads/main", Files: map[string][]byte{"b.tf": []byte(text)}, Message: text})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	one, two, three := made("1"), made("2"), made("3")
	const branch = "plumbline/ignore-x"
	push := func(cred gitrepo.Credential, branch, before, commit string) error {
		err := m.Push(t.Context(), url, cred, branch, before, commit)
		if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "s3cr3t")) {
			t.Errorf("the error holds the credential: %v", err)
		}
		return err
	}
	at := func() string { return strings.TrimSpace(git(t, live, "rev-parse", "refs/heads/"+branch)) }
	for range 2 { // the second time as if the first answer was lost
		if err := push(cred, branch, "", one); err != nil || at() != one {
			t.Fatalf("first push: %v, branch at %s", err, at())
		}
	}
	if err := push(cred, branch, "", two); !errors.Is(err, gitrepo.ErrMoved) || at() != one {
		t.Errorf("over a branch that should not be there: %v, branch at %s", err, at())
	}
	if err := push(cred, branch, one, two); err != nil || at() != two {
		t.Errorf("from one to two: %v, branch at %s", err, at())
	}
	if err := push(cred, branch, one, three); !errors.Is(err, gitrepo.ErrMoved) || at() != two {
		t.Errorf("over somebody else's push: %v, branch at %s", err, at())
	}
	if err := push(gitrepo.Credential{Username: "bot", Password: "CANARY-wrong"}, branch, two, three); !errors.Is(err, gitrepo.ErrAuth) {
		t.Errorf("with a wrong password: %v, want ErrAuth", err)
	}
	if err := os.WriteFile(filepath.Join(live, "hooks", "pre-receive"), []byte("#!/bin/sh\necho no branches today >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := push(cred, branch, two, three); !errors.Is(err, gitrepo.ErrRejected) || !strings.Contains(err.Error(), "no branches today") {
		t.Errorf("refused by a hook: %v, want ErrRejected and its words", err)
	}
	for _, name := range []string{"main", "", "plumbline/../main", "plumbline/a b", "plumbline/x:refs/heads/main", "plumbline/", "plumbline/x.lock", "--force"} {
		if err := push(cred, name, "", one); err == nil {
			t.Errorf("branch %q was pushed", name)
		}
	}
	if err := m.Push(t.Context(), "ext::sh -c id", cred, branch, "", one); err == nil {
		t.Error("an address that names a program was taken")
	}
}
