package planstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/planstore"
)

// Whatever byte of a stored plan is changed, it is refused by everything that would use it.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	p := put(t, s, planstore.Plan{Workspace: "a"})
	path := objects(t, dir)[0]
	whole := read(t, path)
	for i := range whole {
		broken := slices.Clone(whole)
		broken[i] ^= 1 << (i % 8)
		write(t, path, broken)
		if err := refused(t, s, p.ID); err != nil {
			t.Errorf("bit %d of byte %d of %d (%q) flipped: %v", i%8, i, len(whole), whole[i], err)
		}
	}
	write(t, path, whole)
	if err := s.Verify(t.Context(), p.ID); err != nil {
		t.Errorf("the untouched plan: %v", err)
	}
}

// Wherever the end of a stored plan is lost, that is what the error says.
func TestTruncatedIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	p := put(t, s, planstore.Plan{Workspace: "a"})
	path := objects(t, dir)[0]
	whole := read(t, path)
	for n := range whole {
		write(t, path, whole[:n])
		if err := refused(t, s, p.ID, planstore.Truncated); err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	write(t, path, append(slices.Clone(whole), 'x'))
	if err := refused(t, s, p.ID, planstore.Tampered); err != nil {
		t.Errorf("one byte more: %v", err)
	}
}

// Large objects are sealed in segments; losing, doubling or exchanging whole segments must show as well. A change behind
// the head may leave the receipt readable, but never the contents.
func TestSegmentsCannotBeMoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	file := randomBytes(100_000)
	p, err := s.Put(t.Context(), planstore.Plan{Workspace: "a"}, bytes.NewReader(file), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	path := objects(t, dir)[0]
	whole := read(t, path)
	const segment = 16 << 10
	body := bytes.IndexByte(whole, '\n') + 1
	at := func(n int) []byte { return whole[body+n*segment : body+(n+1)*segment] }
	for name, broken := range map[string][]byte{
		"two exchanged": slices.Concat(whole[:body], at(0), at(2), at(1), whole[body+3*segment:]),
		"one doubled":   slices.Concat(whole[:body], at(0), at(1), at(1), whole[body+3*segment:]),
		"a zeroed end":  slices.Concat(whole[:len(whole)-segment], make([]byte, segment)),
	} {
		write(t, path, broken)
		if err := s.Verify(t.Context(), p.ID); !is(err, planstore.Tampered) {
			t.Errorf("%s: verify says %v, want tampered", name, err)
		}
		if _, err := s.JSON(t.Context(), p.ID); !is(err, planstore.Tampered) {
			t.Errorf("%s: JSON says %v, want tampered", name, err)
		}
	}
}

// A sealed plan is only good in the place it was stored for.
func TestMovedPlansAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	other := open(t, planstore.Options{Location: dir, Repository: "other"})
	prod := put(t, s, planstore.Plan{Workspace: "prod"})
	staging := put(t, s, planstore.Plan{Workspace: "staging"})
	foreign := put(t, other, planstore.Plan{Workspace: "prod"})
	find := func(id string) string {
		t.Helper()
		i := slices.IndexFunc(objects(t, dir), func(path string) bool { return strings.Contains(path, id) })
		return objects(t, dir)[i]
	}
	target := find(prod.ID)
	good := read(t, target)
	for _, c := range []struct {
		name, from, want string
	}{
		{"another workspace's", find(staging.ID), `it belongs to workspace "staging" as plan ` + staging.ID},
		{"another repository's", find(foreign.ID), `it belongs to repository "other", not to "repo"`},
	} {
		write(t, target, read(t, c.from))
		err := refused(t, s, prod.ID, planstore.Misplaced)
		if err != nil {
			t.Errorf("%s plan: %v", c.name, err)
		}
		if err := s.Verify(t.Context(), prod.ID); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), target) {
			t.Errorf("%s plan: %v; want %q and the place %s", c.name, err, c.want, target)
		}
	}
	// The same plan under a newer id, to bring an old one back as the latest.
	write(t, target, good)
	replay := strings.ReplaceAll(prod.ID, "2", "9")
	write(t, strings.Replace(target, prod.ID, replay, 1), good)
	if err := refused(t, s, replay, planstore.Misplaced); err != nil {
		t.Errorf("a plan under another id: %v", err)
	}
	if _, err := s.Latest(t.Context(), "prod"); !is(err, planstore.Misplaced) {
		t.Errorf("latest says %v, want misplaced", err)
	}
	// A header that was edited to fit its new place does not fit its content.
	forged := bytes.Replace(read(t, find(staging.ID)), []byte(`"staging"`), []byte(`"prod"`), 1)
	forged = bytes.Replace(forged, []byte(staging.ID), []byte(prod.ID), 1)
	write(t, target, forged)
	if err := refused(t, s, prod.ID, planstore.Tampered); err != nil {
		t.Errorf("a plan with a forged header: %v", err)
	}
}

func TestOtherVersionsAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, planstore.Options{Location: dir})
	p := put(t, s, planstore.Plan{Workspace: "a"})
	path := objects(t, dir)[0]
	for from, to := range map[string]string{"sealed 1 ": "sealed 2 ", "sealed 2 ": "sealed 10 "} {
		damage(t, path, func(data []byte) []byte { return bytes.Replace(data, []byte(from), []byte(to), 1) })
	}
	err := s.Verify(t.Context(), p.ID)
	if !is(err, planstore.OtherVersion) || !strings.Contains(err.Error(), "this plumbline reads format 1: use the plumbline that wrote it; or else take it away") {
		t.Errorf("verify says %v, want the versions and what to do", err)
	}
}

func TestOtherKeysAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := put(t, open(t, planstore.Options{Location: dir, Key: key1}), planstore.Plan{Workspace: "a"})
	s := open(t, planstore.Options{Location: dir, Key: key2})
	if err := refused(t, s, p.ID, planstore.OtherKey); err != nil {
		t.Error(err)
	}
	err := s.Verify(t.Context(), p.ID)
	if err == nil || !strings.Contains(err.Error(), "the key given has only ") || !strings.Contains(err.Error(), "if another Plumbline keeps plans here, give one of the two a place of its own; or, if the key is lost, take it away with `plumbline plans prune --broken` and plan again (nothing but the plan is lost: Terraform's state is not in it)") {
		t.Errorf("verify says %v, want both keys' ids and what to do", err)
	}
	for _, key := range []string{key1, key2} {
		if strings.Contains(err.Error(), key[:8]) {
			t.Errorf("the error shows a part of a key: %v", err)
		}
	}
}

// Receipts larger than the head that is read first.
func TestLargeReceipts(t *testing.T) {
	t.Parallel()
	s := open(t, planstore.Options{Location: t.TempDir()})
	want := planstore.Plan{Workspace: strings.Repeat("w", 5_000), Targets: []string{string(randomText(200_000))}}
	p := put(t, s, want)
	got, err := s.Latest(t.Context(), want.Workspace)
	if err != nil || got.ID != p.ID || got.Targets[0] != want.Targets[0] {
		t.Errorf("latest: %s, %v; want %s with all its targets", got.ID, err, p.ID)
	}
	if _, err := s.Put(t.Context(), planstore.Plan{Workspace: strings.Repeat("w", 100_000)}, strings.NewReader(""), strings.NewReader("")); err == nil {
		t.Error("a header too long to be read back was stored")
	}
}

// Plans of today must open for ever: this one was sealed by the first release.
func TestFormat1StillOpens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/format-1")); err != nil {
		t.Fatal(err)
	}
	s := open(t, planstore.Options{Location: dir})
	plans, err := s.List(t.Context())
	if err != nil || len(plans) != 1 {
		t.Fatalf("list: %v, %v; want one plan", plans, err)
	}
	p := plans[0]
	if err := s.Verify(t.Context(), p.ID); err != nil {
		t.Errorf("verify: %v", err)
	}
	text, err := s.JSON(t.Context(), p.ID)
	if err != nil || string(text) != `{"plan":"json"}` || p.Workspace != "network/prod" || p.Serial != 7 || p.Counts.Create != 1 {
		t.Errorf("read %+v with JSON %q, %v", p, text, err)
	}
}

// A plan is read and packed as a stream: what a store allocates for one does not grow with copies of it.
func TestLargePlansAreStreamed(t *testing.T) {
	s := open(t, planstore.Options{Location: t.TempDir()})
	text := jsonText(10 << 20)
	var p planstore.Plan
	var err error
	used := allocated(func() {
		p, err = s.Put(t.Context(), planstore.Plan{Workspace: "a"}, bytes.NewReader(text[:1<<20]), &pieces{text})
	})
	if err != nil || p.JSONBytes != int64(len(text)) {
		t.Fatalf("put: %d bytes, %v", p.JSONBytes, err)
	}
	if limit := uint64(len(text)) + 6<<20; used > limit {
		t.Errorf("put of %d MB allocates %d MB, want at most %d MB", len(text)>>20, used>>20, limit>>20)
	}
	var got []byte
	used = allocated(func() { got, err = s.JSON(t.Context(), p.ID) })
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("JSON: %d bytes, %v", len(got), err)
	}
	if limit := uint64(len(text)) + 2<<20; used > limit {
		t.Errorf("JSON of %d MB allocates %d MB, want at most %d MB", len(text)>>20, used>>20, limit>>20)
	}
	used = allocated(func() { _, err = s.Get(t.Context(), p.ID) })
	if limit := uint64(1 << 20); err != nil || used > limit {
		t.Errorf("get allocates %d KB, %v; want no more than the head takes", used>>10, err)
	}
}

func BenchmarkPut10MB(b *testing.B) {
	s := open(b, planstore.Options{Location: b.TempDir()})
	text := jsonText(10 << 20)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Put(b.Context(), planstore.Plan{Workspace: "a"}, strings.NewReader("x"), bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON10MB(b *testing.B) {
	s := open(b, planstore.Options{Location: b.TempDir()})
	text := jsonText(10 << 20)
	p, err := s.Put(b.Context(), planstore.Plan{Workspace: "a"}, strings.NewReader("x"), bytes.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.JSON(b.Context(), p.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList1000(b *testing.B) {
	s := open(b, planstore.Options{Location: b.TempDir()})
	for i := range 1000 {
		put(b, s, planstore.Plan{Workspace: fmt.Sprint("workspace", i%40)})
	}
	b.ReportAllocs()
	for b.Loop() {
		if plans, err := s.List(b.Context()); err != nil || len(plans) != 1000 {
			b.Fatal(len(plans), err)
		}
	}
}

// refused checks that nothing gives out a broken plan; reasons, if any are given, are the ones that are right.
func refused(t *testing.T, s *planstore.Store, id string, reasons ...planstore.Reason) error {
	t.Helper()
	check := func(what string, err error) error {
		var broken *planstore.BrokenError
		switch {
		case err == nil:
			return fmt.Errorf("%s accepts it", what)
		case !errors.As(err, &broken):
			return fmt.Errorf("%s says %w, not that it is broken", what, err)
		case len(reasons) > 0 && !slices.Contains(reasons, broken.Reason):
			return fmt.Errorf("%s gives the reason %q (%w), want %q", what, broken.Reason, err, reasons)
		case broken.ID == "" || broken.Detail == "" || !filepath.IsAbs(broken.Place):
			return fmt.Errorf("%s says too little: %w", what, broken)
		}
		return nil
	}
	_, jsonErr := s.JSON(t.Context(), id)
	path := filepath.Join(s.Location(), "written")
	writeErr := s.WritePlanFile(t.Context(), id, path)
	if _, err := os.Lstat(path); err == nil {
		return errors.New("its plan file was written")
	}
	// The receipt and the plan file lie before the JSON, and may be whole when only that is broken.
	if writeErr == nil {
		return errors.New("WritePlanFile says nothing")
	}
	return errors.Join(
		check("Verify", s.Verify(t.Context(), id)),
		check("JSON", jsonErr),
		check("WritePlanFile", writeErr),
	)
}

func is(err error, reason planstore.Reason) bool {
	var broken *planstore.BrokenError
	return errors.As(err, &broken) && broken.Reason == reason
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// pieces reads a text in pieces, as a pipe would, with no shortcut for the reader.
type pieces struct{ rest []byte }

func (p *pieces) Read(b []byte) (int, error) {
	n, err := bytes.NewReader(p.rest).Read(b)
	p.rest = p.rest[n:]
	return n, err
}

// jsonText makes plan-like text: repetitive, but not the same throughout.
func jsonText(n int) []byte {
	var text bytes.Buffer
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, `{"address":"aws_instance.node[%d]","change":{"actions":["create"],"after":{"id":"i-%x","name":"node-%d"}}},`, i, i*7919, i)
	}
	return text.Bytes()[:n]
}

func randomBytes(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = source.Read(data) // never fails
	return data
}

func randomText(n int) []byte {
	data := randomBytes(n)
	for i := range data {
		data[i] = 'a' + data[i]%26
	}
	return data
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
