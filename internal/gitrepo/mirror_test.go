package gitrepo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/gitrepo"
)

const allHeads = "+refs/heads/*:refs/heads/*"

// mirror opens a mirror.
func mirror(tb testing.TB, dir string) *gitrepo.Mirror {
	tb.Helper()
	m, err := gitrepo.OpenMirror(tb.Context(), gitrepo.MirrorOptions{Dir: dir, Environ: os.Environ()})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// origin makes a directory that holds a bare repository "live.git", and a
// checkout of it.
func origin(tb testing.TB, files map[string]string) (root, checkout string) {
	tb.Helper()
	root, checkout = tb.TempDir(), newRepo(tb)
	write(tb, checkout, files)
	commit(tb, checkout)
	git(tb, checkout, "clone", "-q", "--bare", checkout, filepath.Join(root, "live.git"))
	git(tb, checkout, "remote", "add", "up", filepath.Join(root, "live.git"))
	return root, checkout
}

func fetch(tb testing.TB, m *gitrepo.Mirror, url string, refspecs ...string) {
	tb.Helper()
	if len(refspecs) == 0 {
		refspecs = []string{allHeads}
	}
	if err := m.Fetch(tb.Context(), url, gitrepo.Credential{}, refspecs...); err != nil {
		tb.Fatal(err)
	}
}

// refs lists what a mirror holds.
func refs(tb testing.TB, m *gitrepo.Mirror) map[string]string {
	tb.Helper()
	all := map[string]string{}
	for line := range strings.Lines(git(tb, m.Dir(), "for-each-ref", "--format=%(refname) %(objectname)")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = id
	}
	return all
}

func TestMirrorFetches(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1"})
	server := serveGit(t, root)
	for name, url := range map[string]string{
		"file": "file://" + filepath.Join(root, "live.git"),
		"path": filepath.Join(root, "live.git"),
		"http": server.URL + "/live.git",
	} {
		t.Run(name, func(t *testing.T) {
			m := mirror(t, filepath.Join(t.TempDir(), "deep", "er [1]*", "live.git"))
			fetch(t, m, url)
			before := tree(t, m.Repo(), "main")
			write(t, checkout, map[string]string{"a.tf": name})
			id := commit(t, checkout)
			git(t, checkout, "push", "-q", "up", "main", "main:refs/pull/7/head")
			fetch(t, m, url, "+refs/heads/main:refs/heads/main", "+refs/pull/7/head:refs/pull/7/head")
			data, err := tree(t, m.Repo(), id).ReadFile("a.tf")
			if err != nil || string(data) != name {
				t.Errorf("ReadFile = %q, %v; want %q", data, err, name)
			}
			if data, err := before.ReadFile("a.tf"); err != nil || string(data) == name {
				t.Errorf("the tree opened before reads %q, %v", data, err)
			}
			if got := refs(t, m); got["refs/pull/7/head"] != id || got["refs/heads/main"] != id {
				t.Errorf("refs are %v, want both at %s", got, id)
			}
			again := mirror(t, m.Dir())
			if got, err := again.Repo().Resolve(t.Context(), "main"); err != nil || got != id {
				t.Errorf("opened again: main is %q, %v", got, err)
			}
		})
	}
}

func TestMirrorRefusesAddresses(t *testing.T) {
	t.Parallel()
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	marker := filepath.Join(t.TempDir(), "ran")
	for _, url := range []string{
		"ext::sh -c touch% " + marker, "--upload-pack=touch " + marker, "https://bot:CANARY@host/x", "https://CANARY@host/x",
		"relative/path", "git://host/x", "", "fd::7", "https://CAN ARY@host\n/x", "ssh://bot:CANARY@host/x",
	} {
		err := m.Fetch(t.Context(), url, gitrepo.Credential{}, allHeads)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("Fetch(%q): %v", url, err)
		}
	}
	for _, spec := range []string{"", "main", "+refs/heads/x", "+refs/heads/a:refs/heads/a\n+b:c", "a:HEAD", ":refs/heads/x", "x:refs/heads/../x"} {
		if err := m.Fetch(t.Context(), "file:///nowhere", gitrepo.Credential{}, spec); err == nil || !strings.Contains(err.Error(), "refspec") {
			t.Errorf("refspec %q: %v", spec, err)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("an address ran a program")
	}
}

func TestMirrorFetchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1"})
	server := serveGit(t, root)
	url := server.URL + "/live.git"
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	fetch(t, m, url)
	before := refs(t, m)
	write(t, checkout, map[string]string{"a.tf": "2"})
	commit(t, checkout)
	git(t, checkout, "push", "-q", "up", "main", "main:other")
	for name, test := range map[string]struct {
		url   string
		specs []string
		want  error
	}{
		"ref":         {url, []string{allHeads, "+refs/heads/gone:refs/heads/gone"}, gitrepo.ErrRefNotFound},
		"repository":  {server.URL + "/none.git", nil, gitrepo.ErrRemoteNotFound},
		"no file":     {"file:///nowhere/at/all", nil, gitrepo.ErrRemoteNotFound},
		"no listener": {"http://127.0.0.1:1/x.git", nil, gitrepo.ErrUnreachable},
		"no host":     {"http://host.invalid/x.git", nil, gitrepo.ErrUnreachable},
	} {
		specs := test.specs
		if specs == nil {
			specs = []string{allHeads}
		}
		if err := m.Fetch(t.Context(), test.url, gitrepo.Credential{}, specs...); !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
	}
	for status, want := range map[int]error{
		403: gitrepo.ErrAuth, 401: gitrepo.ErrAuth, 404: gitrepo.ErrRemoteNotFound, 429: gitrepo.ErrUnreachable,
		500: gitrepo.ErrUnreachable, 502: gitrepo.ErrUnreachable,
	} {
		server.status.Store(int64(status))
		if err := m.Fetch(t.Context(), url, gitrepo.Credential{}, allHeads); !errors.Is(err, want) {
			t.Errorf("status %d: %v; want %v", status, err, want)
		}
	}
	server.status.Store(0)
	for _, cut := range []int64{1, 20, 200} {
		server.cut.Store(cut)
		if err := m.Fetch(t.Context(), url, gitrepo.Credential{}, allHeads); !errors.Is(err, gitrepo.ErrUnreachable) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	if got := refs(t, m); !maps.Equal(got, before) {
		t.Errorf("failed fetches moved refs from %v to %v", before, got)
	}
	server.cut.Store(0)
	fetch(t, m, url)
	if got := refs(t, m); len(got) != 2 || got["refs/heads/main"] == before["refs/heads/main"] {
		t.Errorf("then a good fetch gave %v", got)
	}
}

func TestMirrorCredential(t *testing.T) {
	t.Parallel()
	const secret = "CANARY/s3cr3t+%'\"$(x)"
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	server := serveGit(t, root)
	server.password = secret
	url := server.URL + "/live.git"
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	good := gitrepo.Credential{Username: "bot", Password: secret}
	if err := m.Fetch(t.Context(), url, good, allHeads); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", good, good, good, good); strings.Contains(s, "CANARY") {
		t.Errorf("printed as %s", s)
	}
	for _, cred := range []gitrepo.Credential{{}, {Username: "bot", Password: "CANARY-wrong"}, {Username: "bot", Password: "CANARY\nhost=evil"}} {
		err := m.Fetch(t.Context(), url, cred, allHeads)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("credential %v: %v", cred, err)
		}
		if !strings.Contains(cred.Password, "\n") && !errors.Is(err, gitrepo.ErrAuth) {
			t.Errorf("credential %v: %v, want ErrAuth", cred, err)
		}
	}
	// Nothing of it stays in the mirror.
	err := filepath.WalkDir(filepath.Dir(m.Dir()), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), "CANARY") || strings.Contains(string(data), "s3cr3t") {
			t.Errorf("%s holds the credential", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A host that redirects to another one does not give our credential away, and
// one that redirects to itself is followed.
func TestMirrorCredentialStaysWithItsHost(t *testing.T) {
	t.Parallel()
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	thief := serveGit(t, root)
	thief.password = "never sent"
	server := serveGit(t, root)
	server.password = "CANARY"
	good := gitrepo.Credential{Username: "bot", Password: "CANARY"}
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	leaked := false
	thief.before = func(r *http.Request) string {
		leaked = leaked || r.Header.Get("Authorization") != ""
		return ""
	}
	server.before = func(r *http.Request) string {
		if rest, ok := strings.CutPrefix(r.URL.RequestURI(), "/old.git"); ok {
			return "/live.git" + rest
		}
		if rest, ok := strings.CutPrefix(r.URL.RequestURI(), "/away.git"); ok && r.Header.Get("Authorization") != "" {
			return thief.URL + "/live.git" + rest
		}
		return ""
	}
	if err := m.Fetch(t.Context(), server.URL+"/old.git", good, allHeads); err != nil {
		t.Errorf("redirect to itself: %v", err)
	}
	// The test's servers differ in the port only, which counts as another host.
	err := m.Fetch(t.Context(), server.URL+"/away.git", good, allHeads)
	if !errors.Is(err, gitrepo.ErrAuth) || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("redirect to another host: %v", err)
	}
	if leaked {
		t.Error("the other host got our credential")
	}
}

// Branch a becomes a/b: Git cannot hold both, and no longer has to.
func TestMirrorBranchBecomesDirectory(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1"})
	url := filepath.Join(root, "live.git")
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	for _, step := range [][]string{{"main:x"}, {":x", "main:x/y"}, {":x/y", "main:x"}} {
		git(t, checkout, append([]string{"push", "-q", "up"}, step...)...)
		branch := step[len(step)-1][5:]
		fetch(t, m, url, "+refs/heads/"+branch+":refs/heads/"+branch, "+refs/heads/main:refs/heads/main")
		if got := refs(t, m); got["refs/heads/"+branch] == "" {
			t.Errorf("after %v: %v", step, got)
		}
	}
}

// One ref cannot be written: none is.
func TestMirrorFetchIsAtomic(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1"})
	url := filepath.Join(root, "live.git")
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	fetch(t, m, url)
	before := refs(t, m)
	write(t, checkout, map[string]string{"a.tf": "2"})
	commit(t, checkout)
	git(t, checkout, "push", "-q", "up", "main", "main:zz")
	write(t, m.Dir(), map[string]string{"refs/heads/zz/in.lock": ""})
	err := m.Fetch(t.Context(), url, gitrepo.Credential{}, allHeads)
	if err == nil || errors.Is(err, gitrepo.ErrUnreachable) || errors.Is(err, gitrepo.ErrAuth) {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(filepath.Join(m.Dir(), "refs", "heads", "zz")); err != nil {
		t.Fatal(err)
	}
	if got := refs(t, m); !maps.Equal(got, before) {
		t.Errorf("a fetch that failed moved refs to %v", got)
	}
	fetch(t, m, url)
}

func TestMirrorIsMadeOnce(t *testing.T) {
	t.Parallel()
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	dir := filepath.Join(t.TempDir(), "m.git")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			m, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: dir, Environ: os.Environ()})
			if err == nil {
				err = m.Fetch(t.Context(), filepath.Join(root, "live.git"), gitrepo.Credential{}, allHeads)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	left, err := filepath.Glob(dir + ".new-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMirrorIsRepaired(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"making was cut off": func(dir string) error { return os.MkdirAll(dir+".new-1/objects", 0o700) },
		"empty":              func(dir string) error { return os.MkdirAll(dir, 0o700) },
		"lost its content": func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/objects", 0o700), os.WriteFile(dir+"/HEAD", nil, 0o600))
		},
	} {
		dir := filepath.Join(t.TempDir(), "m.git")
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		m, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: dir, Environ: os.Environ()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if left, _ := filepath.Glob(dir + ".new-*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
		if _, err := m.Kept(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is not ours is left alone, also inside of another repository.
	inside := newRepo(t)
	write(t, inside, map[string]string{"data/precious": "x"})
	for _, dir := range []string{filepath.Join(inside, "data"), inside} {
		if _, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: dir, Environ: os.Environ()}); err == nil {
			t.Errorf("%s was taken for a mirror", dir)
		}
	}
	if _, err := os.Stat(filepath.Join(inside, "data", "precious")); err != nil {
		t.Error(err)
	}
	within, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: filepath.Join(inside, "data", "new.git"), Environ: os.Environ()})
	if err != nil || within.Repo().Root() != "" {
		t.Errorf("a mirror inside of a checkout: %v", err)
	}
}

// fetchVariable makes the test binary fetch, and do nothing else: a process
// that can be killed.
const fetchVariable = "GITREPO_TEST_FETCH"

func fetchInChild() {
	dir, url, _ := strings.Cut(os.Getenv(fetchVariable), "\n")
	m, err := gitrepo.OpenMirror(context.Background(), gitrepo.MirrorOptions{Dir: dir, Environ: os.Environ()})
	if err == nil {
		err = m.Fetch(context.Background(), url, gitrepo.Credential{}, allHeads)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A process is killed while its Git fetches. Git itself lives on, and holds the
// lock until it has ended.
func TestMirrorFetchIsKilled(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		files[fmt.Sprintf("f%d", i)] = fmt.Sprint(random.Uint64(), random.Uint64())
	}
	root, checkout := origin(t, files)
	server := serveGit(t, root)
	server.hold = make(chan struct{})
	url := server.URL + "/live.git"
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), fetchVariable+"="+m.Dir()+"\n"+url)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-server.held:
	case <-time.After(time.Minute):
		t.Fatal("the child never asked for the pack")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	// What a Git leaves that is killed at a bad moment.
	leftovers := []string{"refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "config.lock", "objects/pack/tmp_pack_x", "objects/pack/pack-x.keep"}
	for _, name := range leftovers {
		write(t, m.Dir(), map[string]string{name: ""})
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := m.Fetch(short, url, gitrepo.Credential{}, allHeads); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("fetch while the other Git lives: %v", err)
	}
	if _, err := os.Stat(filepath.Join(m.Dir(), leftovers[0])); err != nil {
		t.Errorf("locks of a Git that lives were taken: %v", err)
	}
	close(server.hold)
	fetch(t, m, url)
	if got, want := refs(t, m)["refs/heads/main"], git(t, checkout, "rev-parse", "main"); got != want {
		t.Errorf("main is %q, want %q", got, want)
	}
	for _, name := range leftovers {
		if _, err := os.Stat(filepath.Join(m.Dir(), name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	git(t, m.Dir(), "fsck", "--strict")
}

// A fetch that hangs is given up in time, and leaves nothing in the way.
func TestMirrorFetchTimesOut(t *testing.T) {
	t.Parallel()
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	server := serveGit(t, root)
	server.hold = make(chan struct{})
	m, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: filepath.Join(t.TempDir(), "m.git"), Environ: os.Environ(), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Fetch(t.Context(), server.URL+"/live.git", gitrepo.Credential{}, allHeads); !errors.Is(err, gitrepo.ErrUnreachable) || !strings.Contains(err.Error(), "1s") {
		t.Errorf("hanging server: %v", err)
	}
	close(server.hold)
	m = mirror(t, m.Dir())
	fetch(t, m, server.URL+"/live.git")
}

func TestMirrorReportsTheDisk(t *testing.T) {
	t.Parallel()
	root, _ := origin(t, map[string]string{"a.tf": "1"})
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	// A file where a directory must be made stands for a disk that is full, for
	// whoever runs this as root too.
	if err := os.RemoveAll(filepath.Join(m.Dir(), "refs", "heads")); err != nil {
		t.Fatal(err)
	}
	write(t, m.Dir(), map[string]string{"refs/heads": "in the way"})
	err := m.Fetch(t.Context(), filepath.Join(root, "live.git"), gitrepo.Credential{}, allHeads)
	for _, class := range []error{gitrepo.ErrAuth, gitrepo.ErrUnreachable, gitrepo.ErrRefNotFound, gitrepo.ErrRemoteNotFound} {
		if err == nil || errors.Is(err, class) {
			t.Errorf("got %v", err)
		}
	}
	blocked := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(blocked), map[string]string{"file": ""})
	if _, err := gitrepo.OpenMirror(t.Context(), gitrepo.MirrorOptions{Dir: filepath.Join(blocked, "m.git"), Environ: os.Environ()}); err == nil {
		t.Error("a mirror below a file")
	}
}

func TestMirrorKeeps(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "1"})
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	git(t, checkout, "push", "-q", "up", "main:pr")
	fetch(t, m, filepath.Join(root, "live.git"))
	id := refs(t, m)["refs/heads/main"]
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			if err := m.Keep(t.Context(), fmt.Sprintf("op/%d", i), id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	kept, err := m.Kept(t.Context())
	if err != nil || len(kept) != 10 || kept["op/3"] != id {
		t.Errorf("kept %v, %v", kept, err)
	}
	fetch(t, m, filepath.Join(root, "live.git")) // leaves them alone
	if err := m.Drop(t.Context(), "refs/plumbline/op/3", "refs/plumbline/none", "refs/heads/pr"); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(refs(t, m)))
	if len(got) != 10 || slices.Contains(got, "refs/heads/pr") || slices.Contains(got, "refs/plumbline/op/3") {
		t.Errorf("left are %v", got)
	}
	for _, bad := range []string{"HEAD", "refs/heads/a b", "refs/x\ndelete refs/heads/main", "refs/../x", ""} {
		if err := m.Drop(t.Context(), bad); err == nil {
			t.Errorf("Drop(%q) worked", bad)
		}
	}
	if err := m.Keep(t.Context(), "x", "main"); err == nil {
		t.Error("kept a branch by its name")
	}
}

// Readers go on while the mirror is packed.
func TestMirrorIsMaintained(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "0"})
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	for i := range 5 {
		write(t, checkout, map[string]string{"a.tf": fmt.Sprint(i)})
		commit(t, checkout)
		git(t, checkout, "push", "-q", "up", "main")
		fetch(t, m, filepath.Join(root, "live.git"))
	}
	if m.Untidy() {
		t.Error("five fetches make it untidy")
	}
	for i := range 40 {
		write(t, m.Dir(), map[string]string{fmt.Sprintf("objects/pack/pack-%040d.pack", i): "", fmt.Sprintf("objects/pack/pack-%040d.keep", i): ""})
	}
	if !m.Untidy() {
		t.Error("forty packs do not make it untidy")
	}
	for i := range 40 {
		if err := errors.Join(os.Remove(filepath.Join(m.Dir(), fmt.Sprintf("objects/pack/pack-%040d.pack", i))), os.Remove(filepath.Join(m.Dir(), fmt.Sprintf("objects/pack/pack-%040d.keep", i)))); err != nil {
			t.Fatal(err)
		}
	}
	open := tree(t, m.Repo(), "main")
	if err := m.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if data, err := open.ReadFile("a.tf"); err != nil || string(data) != "4" {
		t.Errorf("read %q, %v", data, err)
	}
	if packs, err := filepath.Glob(filepath.Join(m.Dir(), "objects", "pack", "*.pack")); err != nil || len(packs) != 1 {
		t.Errorf("packs: %v, %v", packs, err)
	}
	fetch(t, m, filepath.Join(root, "live.git"))
}

// Git is killed at any moment of a fetch. Refs are where they were or where
// they are to be, and the next fetch works.
func TestMirrorFetchIsKilledAnywhere(t *testing.T) {
	t.Parallel()
	root, checkout := origin(t, map[string]string{"a.tf": "0"})
	url := filepath.Join(root, "live.git")
	m := mirror(t, filepath.Join(t.TempDir(), "m.git"))
	start := time.Now()
	fetch(t, m, url)
	whole := time.Since(start)
	killed := 0
	for i := range 30 {
		before := refs(t, m)["refs/heads/main"]
		write(t, checkout, map[string]string{"a.tf": fmt.Sprint(i), fmt.Sprintf("f%d", i): "x"})
		id := commit(t, checkout)
		git(t, checkout, "push", "-q", "up", "main", fmt.Sprintf("main:b%d", i))
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(whole+whole/2))
		start = time.Now()
		err := m.Fetch(ctx, url, gitrepo.Credential{}, allHeads)
		cancel()
		if err != nil {
			killed++
		} else {
			whole = time.Since(start) // a busy machine is not always as busy as at first
		}
		if got := refs(t, m)["refs/heads/main"]; got != id && (err == nil || got != before) {
			t.Errorf("main is at %s after %v, want %s or %s", got, err, before, id)
		}
		if i%3 == 0 {
			fetch(t, m, url)
			if got := refs(t, m)["refs/heads/main"]; got != id {
				t.Errorf("the next fetch left main at %s, want %s", got, id)
			}
		}
	}
	if killed == 0 {
		t.Error("no fetch was killed: the test shows nothing")
	}
	t.Logf("%d of 30 fetches were killed", killed)
	git(t, m.Dir(), "fsck", "--strict")
}
