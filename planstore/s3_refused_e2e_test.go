//go:build e2e

package planstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// refusals is a real S3 server, and what holds whatever is refused.
type refusals struct {
	*testing.T
	server *parts.S3Server
}

func newRefusals(t *testing.T) refusals {
	t.Helper()
	r := refusals{t, parts.S3(t)}
	t.Setenv("AWS_ACCESS_KEY_ID", r.server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", r.server.SecretKey)
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	return r
}

func (r refusals) open(location string) *Store {
	r.Helper()
	s, err := Open(r.Context(), Options{Location: location, Key: benchKey, Repository: "repo"})
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// put stores a plan of a secret and n bytes.
func (r refusals) put(s *Store, n int) error {
	data := io.MultiReader(strings.NewReader("canary-in-the-plan"), bytes.NewReader(make([]byte, n)))
	_, err := s.Put(r.Context(), Plan{Workspace: "a"}, data, strings.NewReader("{}"))
	return err
}

// told holds an error to what it is to say: the bucket, what was tried, what to do, no secret, and that no plan is broken.
func (r refusals) told(t *testing.T, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Error("it went well")
		return
	}
	if broken := new(BrokenError); errors.As(err, &broken) {
		t.Errorf("a plan is taken for broken: %v", err)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for _, secret := range []string{"canary", r.server.SecretKey, benchKey} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("a secret is in %v", err)
		}
	}
}

// What a store does with its bucket.
func (r refusals) small(s *Store) error  { return r.put(s, 100) }
func (r refusals) large(s *Store) error  { return r.put(s, 24<<20) }
func (r refusals) latest(s *Store) error { _, err := s.Latest(r.Context(), "a"); return err }
func (r refusals) list(s *Store) error   { _, err := s.List(r.Context()); return err }
func (r refusals) verify(s *Store) error { _, err := s.VerifyAll(r.Context()); return err }
func (r refusals) rekey(s *Store) error  { _, err := s.Rekey(r.Context(), false); return err }
func (r refusals) prune(s *Store) error {
	_, err := s.Prune(r.Context(), PruneOptions{OlderThan: time.Nanosecond, Newest: true})
	return err
}

// TestWhatAStoreInS3IsRefused: a bucket that denies one of the calls, wants a key that may not be used, or takes nothing as
// large, is told as that by whatever needs it, and nothing that is stored is lost.
func TestWhatAStoreInS3IsRefused(t *testing.T) {
	r := newRefusals(t)
	location := "s3://" + r.server.Bucket + "/team?tags=true&endpoint="
	healthy := r.open(location + r.server.Endpoint)
	for range 2 {
		if err := r.small(healthy); err != nil {
			t.Fatal(err)
		}
	}
	before, err := healthy.VerifyAll(t.Context())
	if err != nil || len(before.Plans) != 2 {
		t.Fatalf("there are %+v, %v", before, err)
	}
	denied := Answer{Status: http.StatusForbidden, Code: "AccessDenied"}
	because := func(message string) Answer {
		return Answer{Status: http.StatusForbidden, Code: "AccessDenied", Message: "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: " + message}
	}
	for _, c := range []struct {
		name, method string
		answer       Answer
		do           func(*Store) error
		wants        []string
	}{
		{"put", "PUT", denied, r.small, []string{`store the plan of workspace "a" in s3://plans/team`, `access to bucket "plans" is denied`, "need s3:PutObject"}},
		{"read", "GET", denied, r.latest, []string{`read the newest plan of workspace "a"`, "s3://plans/team", "need s3:GetObject on what it holds"}},
		{"look for what is read", "LIST", denied, r.latest, []string{`find the newest plan of workspace "a"`, "s3://plans/team", "need s3:ListBucket on the bucket"}},
		{"list", "LIST", denied, r.list, []string{"list s3://plans/team", "need s3:ListBucket"}},
		{"verify", "GET", denied, r.verify, []string{"verify", "need s3:GetObject"}},
		{"rekey", "GET", denied, r.rekey, []string{"need s3:GetObject"}},
		{"delete", "DELETE", denied, r.prune, []string{"delete plan " + before.Plans[0], "need s3:DeleteObject", "it is tagged plumbline=closed"}},
		{"a key of its encryption", "PUT", because("kms:GenerateDataKey on this resource"), r.small,
			[]string{`bucket "plans" may not use the key of its encryption`, "need kms:GenerateDataKey on it", "sse and kms_key"}},
		{"a key to read with", "GET", because("kms:Decrypt on this resource"), r.latest, []string{"need kms:Decrypt on it"}},
		{"a key that is gone", "PUT", Answer{Status: http.StatusBadRequest, Code: "KMS.NotFoundException"}, r.small, []string{"check sse and kms_key of the location"}},
		{"a large plan", "PUT", Answer{Status: http.StatusBadRequest, Code: "EntityTooLarge"}, r.large,
			[]string{`bucket "plans" takes nothing as large`, "plumbline plans prune"}},
		{"a full bucket", "PUT", Answer{Status: http.StatusInsufficientStorage, Code: "QuotaExceeded"}, r.small, []string{"takes nothing as large", "raise its limit"}},
		{"another region", "LIST", Answer{Status: http.StatusMovedPermanently, Code: "PermanentRedirect", Headers: map[string]string{"X-Amz-Bucket-Region": "eu-north-1"}}, r.latest,
			[]string{`bucket "plans" is in region eu-north-1: write that in the location`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			front := NewAnsweringS3(t, r.server, func(req *http.Request) *Answer {
				method := req.Method
				if req.URL.Query().Has("list-type") {
					method = "LIST"
				}
				if method != c.method || req.URL.Query().Has("tagging") {
					return nil
				}
				return &c.answer
			})
			r.told(t, c.do(r.open(location+front.URL)), c.wants...)
			after, err := healthy.VerifyAll(t.Context())
			if err != nil || !slices.Equal(after.Plans, before.Plans) {
				t.Errorf("afterwards there are %+v, %v; want what was there before", after, err)
			}
		})
	}
}

// TestNoSuchBucket: whatever is wanted of a bucket that is not there, or that a real server has in another region, says so.
func TestNoSuchBucket(t *testing.T) {
	r := newRefusals(t)
	for location, want := range map[string]string{
		"s3://other/team?endpoint=" + r.server.Endpoint:                                     `there is no bucket "other": make it, or correct the location`,
		"s3://" + r.server.Bucket + "/team?region=eu-north-1&endpoint=" + r.server.Endpoint: `bucket "plans" is in`,
	} {
		s := r.open(location)
		for name, do := range map[string]func(*Store) error{
			"put": r.small, "latest": r.latest, "list": r.list, "verify": r.verify, "rekey": r.rekey, "prune": r.prune,
			"repositories": func(*Store) error { _, err := Repositories(context.Background(), location); return err },
		} {
			t.Run(want+" "+name, func(t *testing.T) { r.told(t, do(s), want) })
		}
	}
}

// TestNeighboursInABucket: stores at prefixes of which one is within another, or begins as it does, and what somebody else puts
// among the objects, keep out of each other's way.
func TestNeighboursInABucket(t *testing.T) {
	r := newRefusals(t)
	var stores []*Store
	for _, prefix := range []string{"", "team", "team-two", "team/two"} {
		s := r.open("s3://" + r.server.Bucket + "/" + prefix + "?endpoint=" + r.server.Endpoint)
		if err := r.small(s); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	for _, s := range stores {
		v, err := s.VerifyAll(t.Context())
		if err != nil || len(v.Plans) != 1 || len(v.Foreign) != 0 {
			t.Errorf("%s holds %+v, %v; want its own plan alone", s.Location(), v, err)
		}
	}
	if err := r.prune(stores[0]); err != nil {
		t.Error(err)
	}
	for i, want := range []int{0, 1, 1, 1} {
		if plans, err := stores[i].List(t.Context()); err != nil || len(plans) != want {
			t.Errorf("after the outermost was pruned, %s holds %d plans, %v; want %d", stores[i].Location(), len(plans), err, want)
		}
	}

	s := stores[1]
	beside := s.prefix(kindPlan) + slug("a") + "/"
	mustPut(t, s.bucket, beside+"README.txt", []byte("not ours"))
	mustPut(t, s.bucket, beside+"20990101-000000000-aaaaaaaaaaaaaaaa"+suffix, []byte("not sealed"))
	v, err := s.VerifyAll(t.Context())
	if broken := new(BrokenError); len(v.Plans) != 1 || len(v.Foreign) != 1 || !strings.HasSuffix(v.Foreign[0], "README.txt") || !errors.As(err, &broken) || broken.Reason != Tampered {
		t.Errorf("with what somebody else has put there verify finds %+v, %v", v, err)
	}
	if err := r.latest(s); err == nil || !strings.Contains(err.Error(), "it does not begin like anything that plumbline stores") || !strings.Contains(err.Error(), "s3://plans/team/") {
		t.Errorf("the newest, which is not ours, gives %v", err)
	}
	if gone, err := s.Prune(t.Context(), PruneOptions{Broken: true}); err != nil || len(gone) != 1 {
		t.Errorf("prune of the broken takes %v, %v; want what is not sealed", gone, err)
	}
	if got := mustGet(t, s.bucket, beside+"README.txt", 0); string(got) != "not ours" {
		t.Errorf("what is not ours is now %q", got)
	}
	if err := r.latest(s); err != nil {
		t.Errorf("the plan that was there: %v", err)
	}
}
