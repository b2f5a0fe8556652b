package planstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/planstore"
)

// kmsStore starts a KMS and opens a store whose objects it wraps the keys of.
func kmsStore(t *testing.T) (*awstest.Server, planstore.Options, *planstore.Store) {
	t.Helper()
	aws := awstest.New(t)
	aws.Setenv(t)
	options := planstore.Options{Location: t.TempDir(), Repository: "repo", Key: key1, KMSKey: aws.AddKey(awstest.Region)}
	return aws, options, open(t, options)
}

// putAll puts one object of each kind.
func putAll(t *testing.T, s *planstore.Store) (p planstore.Plan, state string) {
	t.Helper()
	p = put(t, s, planstore.Plan{Workspace: "network/prod", Commit: "0123abcd", Run: "run-7"})
	if err := s.PutApplied(t.Context(), planstore.Applied{Plan: p}); err != nil {
		t.Fatal(err)
	}
	state, err := s.KeepState(t.Context(), "network/prod", strings.NewReader(`{"version":4}`))
	if err != nil {
		t.Fatal(err)
	}
	return p, state
}

// whole checks that everything that putAll put can be read.
func whole(t *testing.T, s *planstore.Store, p planstore.Plan, state string) {
	t.Helper()
	v, err := s.VerifyAll(t.Context())
	if err != nil || len(v.Plans) != 1 || v.Applies != 1 || v.States != 1 || len(v.Foreign) != 0 {
		t.Errorf("verify: %+v, %v; want one of each", v, err)
	}
	if text, err := s.JSON(t.Context(), p.ID); err != nil || string(text) != `{"plan":"json"}` {
		t.Errorf("the plan's JSON: %q, %v", text, err)
	}
	if text, err := s.State(t.Context(), state); err != nil || string(text) != `{"version":4}` {
		t.Errorf("the state: %q, %v", text, err)
	}
	if a, err := s.LastApplied(t.Context(), p.Workspace); err != nil || a.Plan.ID != p.ID {
		t.Errorf("the record of the apply: %+v, %v", a, err)
	}
}

// KMS makes the key of each object, and is told whose it is when it makes it and when it opens it.
func TestKMSWrapsTheKeysOfObjects(t *testing.T) {
	aws, options, s := kmsStore(t)
	p, state := putAll(t, s)
	whole(t, s, p, state)
	for _, c := range aws.Calls() {
		if c.Operation == "Decrypt" {
			t.Errorf("a process asks KMS for a key that it has just been given: %+v", c)
		}
	}
	// Another process, with another key of its own: that opens nothing here.
	options.Key = key2
	whole(t, open(t, options), p, state)
	contexts := map[string][]map[string]string{}
	for _, c := range aws.Calls() {
		if c.Error != "" {
			t.Errorf("KMS was asked for something that failed: %+v", c)
		}
		contexts[c.Operation] = append(contexts[c.Operation], c.Context)
	}
	want := []map[string]string{
		{"workspace": "network/prod", "commit": "0123abcd", "run": "run-7"}, // the plan
		{"workspace": "network/prod", "commit": "0123abcd", "run": "run-7"}, // its apply
		{"workspace": "network/prod", "run": state},
	}
	for operation, got := range contexts {
		if !slices.EqualFunc(got, want, maps.Equal) {
			t.Errorf("%s was told %v, want %v, once each", operation, got, want)
		}
	}
	options.KMSKey = ""
	_, err := open(t, options).Get(t.Context(), p.ID)
	if !is(err, planstore.OtherKey) || !strings.Contains(err.Error(), "with a key of AWS KMS, arn:aws:kms:") {
		t.Errorf("without KMS: %v, want its key named", err)
	}
}

// An unwrapped key is not kept for long.
func TestUnwrappedKeysAreForgotten(t *testing.T) {
	aws, options, s := kmsStore(t)
	p := put(t, s, planstore.Plan{Workspace: "a"})
	now := time.Now()
	options.Now = func() time.Time { return now }
	s = open(t, options)
	for _, want := range []int{1, 1, 2} {
		if _, err := s.Get(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		if got := len(aws.Calls()) - 1; got != want {
			t.Errorf("KMS was asked to unwrap %d times, want %d", got, want)
		}
		now = now.Add(3 * time.Minute)
	}
	aws.Deny("Decrypt", true)
	now = now.Add(6 * time.Minute)
	if _, err := s.Get(t.Context(), p.ID); err == nil {
		t.Error("a plan is read after KMS was told to refuse")
	}
}

// Whatever is changed of what KMS wrapped, exchanged between two plans or flipped, is refused.
func TestWrappedKeysAreBoundToTheirPlans(t *testing.T) {
	_, options, s := kmsStore(t)
	one := put(t, s, planstore.Plan{Workspace: "a"})
	two := put(t, s, planstore.Plan{Workspace: "a"})
	find := func(id string) string {
		i := slices.IndexFunc(objects(t, options.Location), func(path string) bool { return strings.Contains(path, id) })
		return objects(t, options.Location)[i]
	}
	first, second := read(t, find(one.ID)), read(t, find(two.ID))
	for len(first) != len(second) { // random bytes do not always compress alike, and this is not about lengths
		two = put(t, s, planstore.Plan{Workspace: "a"})
		second = read(t, find(two.ID))
	}
	head := func(data []byte) []byte { return data[:bytes.IndexByte(data, '\n')+1] }
	// Two sealed plans, each with the header of the other: the very swap that the header is there to show.
	write(t, find(one.ID), slices.Concat(head(first), second[len(head(second)):]))
	write(t, find(two.ID), slices.Concat(head(second), first[len(head(first)):]))
	for _, id := range []string{one.ID, two.ID} {
		if err := refused(t, s, id, planstore.Tampered); err != nil {
			t.Errorf("swapped contents: %v", err)
		}
	}
	// The one's wrapped key in the header of the other, which is otherwise as it was.
	wrapped := func(data []byte) []byte {
		_, rest, _ := bytes.Cut(head(data), []byte(`"wrapped":"`))
		return rest[:bytes.IndexByte(rest, '"')]
	}
	write(t, find(one.ID), bytes.Replace(first, wrapped(first), wrapped(second), 1))
	write(t, find(two.ID), bytes.ReplaceAll(second, []byte(two.ID), []byte(one.ID)))
	fresh := open(t, options)
	for _, id := range []string{one.ID, two.ID} {
		if err := refused(t, fresh, id); err != nil {
			t.Errorf("changed headers: %v", err)
		}
	}
	for i := 0; i < len(first); i += 3 {
		broken := slices.Clone(first)
		broken[i] ^= 1 << (i % 8)
		write(t, find(one.ID), broken)
		if err := refused(t, fresh, one.ID); err != nil {
			t.Errorf("bit %d of byte %d (%q) flipped: %v", i%8, i, first[i], err)
		}
	}
	write(t, find(one.ID), first)
	if err := fresh.Verify(t.Context(), one.ID); err != nil {
		t.Errorf("the untouched plan: %v", err)
	}
}

// An attacker's key wraps nothing that is accepted, whoever it says that it is.
func TestOnlyConfiguredKMSKeysAreTrusted(t *testing.T) {
	aws, options, _ := kmsStore(t)
	theirs := options
	theirs.KMSKey = aws.AddKey(awstest.Region)
	forged := put(t, open(t, theirs), planstore.Plan{Workspace: "a"})
	if err := refused(t, open(t, options), forged.ID, planstore.OtherKey); err != nil {
		t.Error(err)
	}
	// An alias says nothing about the key, so KMS must be told which one it is.
	aws.SetAlias(awstest.Region, "alias/plans", options.KMSKey)
	byAlias := options
	byAlias.KMSKey = "alias/plans"
	if err := refused(t, open(t, byAlias), forged.ID, planstore.OtherKey); err != nil {
		t.Error(err)
	}
	damage(t, objects(t, options.Location)[0], func(data []byte) []byte {
		return bytes.ReplaceAll(data, []byte(theirs.KMSKey), []byte(options.KMSKey))
	})
	if err := refused(t, open(t, options), forged.ID); err != nil {
		t.Error(err)
	}
}

// Keys are exchanged in steps: a new one first, everything rewritten, the old one gone.
func TestRekey(t *testing.T) {
	aws, options, _ := kmsStore(t)
	first, second := options.KMSKey, aws.AddKey("us-east-1")
	aws.SetAlias(awstest.Region, "alias/plans", first)
	id := first[strings.LastIndexByte(first, '/')+1:]
	options.KMSKey = ""
	p, state := putAll(t, open(t, options))
	print := fingerprint(t, open(t, options), plan(t, replace))
	for _, step := range []struct {
		name, key, kms   string
		rewritten        int
		afterKey, afterK string // what reads everything afterwards
	}{
		{"another local key", key2 + " " + key1, "", 3, key2, ""},
		{"a key of KMS", key2, first, 3, key1, first},
		{"the same by its id", key2, id, 0, key1, id},
		{"the same by its alias", key2, "alias/plans", 0, key1, "alias/plans"},
		{"a key in another region", key2, second + "," + first, 3, key1, second},
		{"by alias again", key2, "alias/plans " + second, 3, key1, id},
		{"back to a local key", key1, first, 0, key1, first},
	} {
		t.Run(step.name, func(t *testing.T) {
			o := options
			o.Key, o.KMSKey = step.key, step.kms
			s := open(t, o)
			whole(t, s, p, state)
			dry, err := s.Rekey(t.Context(), true)
			if err != nil || dry.Rewritten != step.rewritten || dry.Current != 3-step.rewritten {
				t.Errorf("a dry run says %+v, %v; want %d to rewrite", dry, err, step.rewritten)
			}
			did, err := s.Rekey(t.Context(), false)
			if err != nil || did != dry {
				t.Errorf("rekey says %+v, %v; the dry run said %+v", did, err, dry)
			}
			again, err := s.Rekey(t.Context(), false)
			if err != nil || again.Rewritten != 0 || again.Current != 3 {
				t.Errorf("once more says %+v, %v; want nothing left", again, err)
			}
			whole(t, s, p, state)
			o.Key, o.KMSKey = step.afterKey, step.afterK
			whole(t, open(t, o), p, state)
		})
	}
	options.KMSKey = first
	if got := fingerprint(t, open(t, options), plan(t, replace)); got != print {
		t.Errorf("KMS changes fingerprints from %s to %s", print, got)
	}
}

// Rekey leaves alone what it cannot read, and says so.
func TestRekeyLeavesWhatIsBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := open(t, planstore.Options{Location: dir, Key: key1})
	bad := put(t, old, planstore.Plan{Workspace: "a"})
	path := objects(t, dir)[0]
	damage(t, path, func(data []byte) []byte { data[len(data)-1] ^= 1; return data })
	before := read(t, path)
	good := put(t, old, planstore.Plan{Workspace: "b"})
	s := open(t, planstore.Options{Location: dir, Key: key2 + " " + key1})
	did, err := s.Rekey(t.Context(), false)
	var broken *planstore.BrokenError
	if did.Rewritten != 1 || !errors.As(err, &broken) || broken.ID != bad.ID {
		t.Errorf("rekey says %+v, %v; want one rewritten and %s named", did, err, bad.ID)
	}
	if !bytes.Equal(read(t, path), before) {
		t.Error("the damaged plan was rewritten")
	}
	if err := open(t, planstore.Options{Location: dir, Key: key2}).Verify(t.Context(), good.ID); err != nil {
		t.Errorf("the good plan with the new key alone: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".tmp-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What KMS refuses is told with what to do; it makes no plan broken, and nothing is lost by it.
func TestKMSSaysWhatIsWrong(t *testing.T) {
	aws, options, s := kmsStore(t)
	p := put(t, s, planstore.Plan{Workspace: "a"})
	key := options.KMSKey
	const plansOnly = "stored plans cannot be read, and must be made again; Terraform's state is not touched"
	for _, c := range []struct {
		name        string
		break_      func(t *testing.T)
		mend        func()
		write, read string
	}{
		{"disabled", func(*testing.T) { aws.SetKeyState(key, "Disabled") }, func() { aws.SetKeyState(key, "Enabled") },
			"it is disabled: enable it in AWS", plansOnly},
		{"waits for deletion", func(*testing.T) { aws.SetKeyState(key, "PendingDeletion") }, func() { aws.SetKeyState(key, "Enabled") },
			"waiting for its deletion", plansOnly},
		{"not allowed to make keys", func(*testing.T) { aws.Deny("GenerateDataKey", true) }, func() { aws.Deny("GenerateDataKey", false) },
			"need kms:GenerateDataKey on it", ""},
		{"not allowed to unwrap", func(*testing.T) { aws.Deny("Decrypt", true) }, func() { aws.Deny("Decrypt", false) },
			"", "need kms:Decrypt on it"},
		{"a wrong secret", func(t *testing.T) { t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong") }, func() {},
			"check the access key, its secret, and this machine's clock", "check the access key"},
		{"credentials that ended in mid-run", func(*testing.T) { aws.Expire(awstest.AccessKey) }, func() { aws.AddSession(awstest.AccessKey, awstest.SecretKey, "") },
			"not valid, or not any more: renew them", "renew them"},
		{"an external process that prints something else", func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(config, []byte("[default]\ncredential_process = echo canary-of-a-process\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			t.Setenv("AWS_CONFIG_FILE", config)
		}, func() {}, "credential_process of the AWS profile failed", "credential_process"},
		{"no answer", func(t *testing.T) {
			t.Setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
			t.Setenv("AWS_MAX_ATTEMPTS", "2")
		}, func() {}, "the service cannot be reached: check the endpoint", "the service cannot be reached"},
		{"no credentials", func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		}, func() {}, "no AWS credentials could be had: set AWS_ACCESS_KEY_ID", "no AWS credentials could be had"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.break_(t)
			fresh := open(t, options)
			_, writeErr := fresh.Put(t.Context(), planstore.Plan{Workspace: "a"}, strings.NewReader("canary-in-the-plan"), strings.NewReader("{}"))
			readErr := fresh.Verify(t.Context(), p.ID)
			for _, got := range []struct {
				err  error
				want string
			}{{writeErr, c.write}, {readErr, c.read}} {
				if got.want == "" && got.err == nil {
					continue
				}
				var broken *planstore.BrokenError
				text := fmt.Sprint(got.err)
				if got.want == "" || !strings.Contains(text, got.want) || !strings.Contains(text, key) || strings.Contains(text, "canary") || errors.As(got.err, &broken) {
					t.Errorf("got %v; want %q and the key, no secret, and no broken plan", got.err, got.want)
				}
			}
			c.mend()
		})
	}
	// Nothing was written, or taken for broken.
	list, err := open(t, options).List(t.Context())
	if err != nil || len(list) < 1 {
		t.Errorf("afterwards %d plans, %v", len(list), err)
	}
	for _, p := range list {
		if err := s.Verify(t.Context(), p.ID); err != nil {
			t.Error(err)
		}
	}
}

// A key that was deleted takes the plans with it, and nothing else: they are made again under another one.
func TestALostKMSKeyLosesPlansOnly(t *testing.T) {
	aws, options, s := kmsStore(t)
	lost := put(t, s, planstore.Plan{Workspace: "a"})
	aws.SetKeyState(options.KMSKey, "")
	if _, err := open(t, options).Get(t.Context(), lost.ID); err == nil || !strings.Contains(err.Error(), "if it was deleted configure another; without it stored plans cannot be read, and must be made again; Terraform's state is not touched") {
		t.Errorf("with a deleted key: %v", err)
	}
	options.KMSKey = aws.AddKey(awstest.Region)
	s = open(t, options)
	err := s.Verify(t.Context(), lost.ID)
	if !is(err, planstore.OtherKey) || !strings.Contains(err.Error(), "if the key is lost, take it away with `plumbline plans prune --broken` and plan again (nothing but the plan is lost: Terraform's state is not in it)") {
		t.Errorf("with another key: %v", err)
	}
	again := put(t, s, planstore.Plan{Workspace: "a"})
	if gone, err := s.Prune(t.Context(), planstore.PruneOptions{Broken: true}); err != nil || len(gone) != 1 || gone[0].ID != lost.ID {
		t.Errorf("prune takes %v, %v; want the lost one", gone, err)
	}
	if p, err := s.Latest(t.Context(), "a"); err != nil || p.ID != again.ID {
		t.Errorf("the newest is %s, %v; want the one that was made again", p.ID, err)
	}
}

func TestKMSKeysThatAreRefused(t *testing.T) {
	aws := awstest.New(t)
	aws.Setenv(t)
	good := aws.AddKey(awstest.Region)
	for id, want := range map[string]string{
		good: "",
		good[strings.LastIndexByte(good, '/')+1:]:                "",
		"alias/team/plans":                                       "",
		"mrk-0123456789abcdef0123456789abcdef":                   "",
		good + ", alias/old":                                     "",
		"arn:canary":                                             "that is not a whole ARN",
		strings.Replace(good, ":kms:", ":s3:", 1):                "the ARN of something else than a key of KMS",
		strings.Replace(good, awstest.Region, "", 1):             "its ARN names no region",
		strings.Replace(good, awstest.Region, "eu-centrall", 1):  "its ARN names no region",
		strings.Replace(good, awstest.Account, "11112222333", 1): "its ARN names no account (12 digits)",
		strings.Replace(good, "key/", "keys/", 1):                "ends in neither key/ID nor alias/NAME",
		good[:len(good)-1]:                                       "that is not the id of a key",
		"alias/":                                                 "that is not the name of an alias",
		"canary":                                                 "that is not the id of a key",
		good + " canary":                                         "KMS key 2: that is not the id of a key",
	} {
		_, err := planstore.Open(t.Context(), planstore.Options{Location: t.TempDir(), Repository: "repo", Key: key1, KMSKey: id})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%q: %v; want %q", id, err, want)
		}
	}
	t.Setenv("AWS_REGION", "")
	_, err := planstore.Open(t.Context(), planstore.Options{Location: t.TempDir(), Repository: "repo", Key: key1, KMSKey: "alias/plans"})
	if err == nil || !strings.Contains(err.Error(), "no region is known: give its ARN, or set AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
}
