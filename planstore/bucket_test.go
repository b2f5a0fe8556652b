package planstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestBuckets holds the directory to what every bucket promises. S3, which
// needs a server, is held to the same in TestS3Buckets.
func TestBuckets(t *testing.T) {
	holdBuckets(t, map[string]string{"dir": t.TempDir()})
}

// holdBuckets holds the bucket at each location to the same promises.
func holdBuckets(t *testing.T, buckets map[string]string) {
	t.Helper()
	for name, location := range buckets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _, err := openBucket(t.Context(), location)
			if err != nil {
				t.Fatalf("open %s: %v", location, err)
			}
			for promise, check := range bucketPromises {
				t.Run(promise, func(t *testing.T) {
					t.Parallel()
					check(t, b, strings.ReplaceAll(promise, " ", "-")+"/")
				})
			}
		})
	}
}

// bucketPromises are the suite. Each works under a prefix of its own.
var bucketPromises = map[string]func(t *testing.T, b bucket, prefix string){
	"gives back what was put": func(t *testing.T, b bucket, prefix string) {
		for _, size := range []int{0, 1, headBytes, 9 << 20} {
			key := fmt.Sprintf("%ssize-%d", prefix, size)
			want := bytes.Repeat([]byte("plumbline!"), size/10+1)[:size]
			mustPut(t, b, key, want)
			if got := mustGet(t, b, key, 0); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes back that are not the %d put", len(got), size)
			}
			if got, want := mustGet(t, b, key, 100), want[:min(size, 100)]; !bytes.Equal(got, want) {
				t.Errorf("the first 100 of %d bytes are %q, want %q", size, got, want)
			}
		}
	},
	"says what is not there": func(t *testing.T, b bucket, prefix string) {
		mustPut(t, b, prefix+"a/b", []byte("x"))
		for _, key := range []string{prefix + "missing", prefix + "deep/er/missing"} {
			if _, err := b.Get(t.Context(), key, 0); !errors.Is(err, ErrNotFound) {
				t.Errorf("get %q says %v, want ErrNotFound", key, err)
			}
		}
	},
	"says how large it is": func(t *testing.T, b bucket, prefix string) {
		for _, size := range []int{0, 50, 500} {
			key := fmt.Sprintf("%ssize-%d", prefix, size)
			mustPut(t, b, key, make([]byte, size))
			for _, limit := range []int64{0, 100} {
				r, err := b.Get(t.Context(), key, limit)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Close(); err != nil || r.bytes != int64(size) {
					t.Errorf("the first %d bytes are said to be of %d, %v; want %d", limit, r.bytes, err, size)
				}
			}
		}
	},
	"writes once": func(t *testing.T, b bucket, prefix string) {
		mustPut(t, b, prefix+"a", []byte("first"))
		mustPut(t, b, prefix+"a", []byte("first")) // as after an answer that was lost
		if err := b.Put(t.Context(), prefix+"a", contentOf([]byte("other"))); !errors.Is(err, errExists) {
			t.Errorf("another content for the same key: %v, want errExists", err)
		}
		if got := mustGet(t, b, prefix+"a", 0); string(got) != "first" {
			t.Errorf("the object is now %q, want what was put first", got)
		}
		var wg sync.WaitGroup
		wrote := make([]bool, 8)
		for i := range wrote {
			wg.Go(func() {
				err := b.Put(t.Context(), prefix+"raced", contentOf(fmt.Append(nil, i)))
				if wrote[i] = err == nil; err != nil && !errors.Is(err, errExists) {
					t.Errorf("put %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		winner := slices.Index(wrote, true)
		if slices.Contains(wrote[winner+1:], true) || string(mustGet(t, b, prefix+"raced", 0)) != fmt.Sprint(winner) {
			t.Errorf("of several puts of one key these went through: %v", wrote)
		}
		objects, err := b.List(t.Context(), prefix)
		if err != nil || len(objects) != 2 {
			t.Errorf("listed %v, %v; want the two", objects, err)
		}
	},
	"replaces only what is there": func(t *testing.T, b bucket, prefix string) {
		version := func() string {
			t.Helper()
			r, err := b.Get(t.Context(), prefix+"a", 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			return r.version
		}
		mustPut(t, b, prefix+"a", []byte("first"))
		if err := b.Replace(t.Context(), prefix+"a", version(), contentOf([]byte("second"))); err != nil {
			t.Fatal(err)
		}
		if got := mustGet(t, b, prefix+"a", 0); string(got) != "second" {
			t.Errorf("after a replacement: %q", got)
		}
		last := version()
		if err := b.Delete(t.Context(), prefix+"a"); err != nil {
			t.Fatal(err)
		}
		if err := b.Replace(t.Context(), prefix+"a", last, contentOf([]byte("third"))); !errors.Is(err, ErrNotFound) {
			t.Errorf("a replacement of what was deleted: %v, want ErrNotFound", err)
		}
		if objects, err := b.List(t.Context(), prefix); err != nil || len(objects) != 0 {
			t.Errorf("what was deleted is back: %v, %v", objects, err)
		}
	},
	"keeps nothing of a write that fails": func(t *testing.T, b bucket, prefix string) {
		fails := errors.New("no more")
		for size, write := range map[int64]func(io.Writer) error{
			4: func(w io.Writer) error { _, err := w.Write([]byte("ab")); return errors.Join(err, fails) },
			3: func(w io.Writer) error { _, err := w.Write([]byte("ab")); return err },
		} {
			if err := b.Put(t.Context(), prefix+"a", content{bytes: size, write: write}); err == nil || size == 4 && !errors.Is(err, fails) {
				t.Errorf("put says %v", err)
			}
		}
		if objects, err := b.List(t.Context(), prefix); err != nil || len(objects) != 0 {
			t.Errorf("listed %v, %v; want nothing", objects, err)
		}
	},
	"lists by prefix": func(t *testing.T, b bucket, prefix string) {
		for _, key := range []string{"one/b", "one/a", "one/c/d", "one-more/e", "two/f"} {
			mustPut(t, b, prefix+key, []byte(key))
		}
		for _, c := range []struct{ below, want string }{
			{"", "one-more/e=10 one/a=5 one/b=5 one/c/d=7 two/f=5"},
			{"one/", "one/a=5 one/b=5 one/c/d=7"},
			{"three/", ""},
		} {
			objects, err := b.List(t.Context(), prefix+c.below)
			if err != nil {
				t.Fatalf("list %q: %v", c.below, err)
			}
			var got []string
			for _, o := range objects {
				got = append(got, fmt.Sprintf("%s=%d", strings.TrimPrefix(o.key, prefix), o.size))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("list %q: got %q, want %q", c.below, got, c.want)
			}
		}
	},
	"lists more than a page": func(t *testing.T, b bucket, prefix string) {
		const count = 1003 // S3 lists a thousand at a time
		var wg sync.WaitGroup
		limit := make(chan struct{}, 16)
		for i := range count {
			wg.Go(func() {
				limit <- struct{}{}
				defer func() { <-limit }()
				if err := b.Put(t.Context(), fmt.Sprintf("%s%04d", prefix, i), contentOf([]byte("x"))); err != nil {
					t.Errorf("put %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		objects, err := b.List(t.Context(), prefix)
		sorted := slices.IsSortedFunc(objects, func(a, b object) int { return strings.Compare(a.key, b.key) })
		if err != nil || len(objects) != count || !sorted {
			t.Errorf("listed %d objects, sorted %t, %v; want %d, sorted", len(objects), sorted, err, count)
		}
	},
	"deletes twice without complaint": func(t *testing.T, b bucket, prefix string) {
		mustPut(t, b, prefix+"a", []byte("x"))
		mustPut(t, b, prefix+"b", []byte("y"))
		for range 2 {
			if err := b.Delete(t.Context(), prefix+"a"); err != nil {
				t.Fatalf("delete: %v", err)
			}
		}
		if err := b.Delete(t.Context(), prefix+"never/was"); err != nil {
			t.Errorf("delete what never was: %v", err)
		}
		objects, err := b.List(t.Context(), prefix)
		if err != nil || len(objects) != 1 || objects[0].key != prefix+"b" {
			t.Errorf("after deleting a, listed %v, %v; want b alone", objects, err)
		}
		if _, err := b.Get(t.Context(), prefix+"a", 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("get of a deleted object says %v, want ErrNotFound", err)
		}
	},
	"shows no object before it is whole": func(t *testing.T, b bucket, prefix string) {
		const size = 4 << 20
		data := bytes.Repeat([]byte{7}, size)
		var wg sync.WaitGroup
		defer wg.Wait()
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			for i := range 8 {
				if err := b.Put(t.Context(), fmt.Sprintf("%s%d", prefix, i), contentOf(data)); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			objects, err := b.List(t.Context(), prefix)
			if err != nil {
				t.Fatalf("list while objects are written: %v", err)
			}
			for _, o := range objects {
				if o.size != size {
					t.Errorf("%s shows with %d bytes while it is written", o.key, o.size)
				}
			}
		}
		wg.Wait()
	},
	"obeys its context": func(t *testing.T, b bucket, prefix string) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, getErr := b.Get(ctx, prefix+"a", 0)
		mustPut(t, b, prefix+"b", []byte("x"))
		_, listErr := b.List(ctx, prefix)
		for what, err := range map[string]error{
			"put": b.Put(ctx, prefix+"a", contentOf(nil)), "get": getErr, "list": listErr, "delete": b.Delete(ctx, prefix+"b"),
		} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s under a cancelled context says %v, want context.Canceled", what, err)
			}
		}
		if objects, err := b.List(t.Context(), prefix); err != nil || len(objects) != 1 {
			t.Errorf("after cancelled calls there are %v, %v; want b alone", objects, err)
		}
	},
}

func TestLocationsThatAreRefused(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	for location, want := range map[string]string{
		"":                                       "the location is empty",
		"ftp://host/dir":                         `unknown kind "ftp"`,
		"s3:/canary":                             "the location begins with s3: and not with s3://: give s3://BUCKET/PREFIX, or a directory (one whose name begins so as ./s3:…)",
		"s3:canary/p":                            "the location begins with s3: and not with s3://",
		"file:/canary":                           "the location begins with file: and not with file://",
		"file://host/dir":                        "not of the form file:///ABSOLUTE/PATH",
		"file:///dir?canary=1":                   "not of the form file:///ABSOLUTE/PATH",
		"s3:///prefix":                           "names no bucket",
		"s3://user:canary@bucket":                "holds credentials: take them out",
		"s3://bucket?endpoint=http://u:canary@h": "endpoint must be a URL without credentials",
		"s3://bucket?endpoint=localhost":         "endpoint must be a URL",
		"s3://bucket?secret=canary":              `there is no parameter "secret"`,
		"s3://bucket?endpoint=http://h&path_style=canary": "path_style must be true or false",
		"s3://bucket?tags=canary":                         "tags must be true or false",
		"s3://bucket?sse=canary":                          "sse must be AES256, aws:kms or aws:kms:dsse",
		"s3://bucket?sse=AES256&kms_key=alias/a":          "kms_key needs sse=aws:kms",
		"s3://bucket?sse=aws:kms&kms_key=arn:canary":      "kms_key: ",
		"s3://bucket/p":                                   "location s3://bucket/p: no region is known",
		"s3://bucket/\x7f?canary":                         "not a valid address",
	} {
		_, _, err := openBucket(t.Context(), location)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("open %q says %v; want %q, without quoting what may be secret", location, err, want)
		}
		// All but the region, which the environment may have, is told without it.
		if checked := CheckLocation(location); (checked == nil) != strings.Contains(want, "region") || checked != nil && checked.Error() != err.Error() {
			t.Errorf("check %q says %v; to open it says %v", location, checked, err)
		}
	}
}

func TestLocationsThatAreDirectories(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"plans", "./s3:b", "/srv/s3:b", "../s3:/b", "a b:c", "file:///srv/plans", "s3://bucket/p?region=eu-central-1"} {
		if err := CheckLocation(location); err != nil {
			t.Errorf("%q: %v", location, err)
		}
	}
}

// What keeps a request from meeting S3 at all is told with what to do about it.
func TestS3ThatIsNotMet(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	get := func(location string) error {
		b, _, err := openBucket(t.Context(), location)
		if err == nil {
			_, err = b.Get(t.Context(), "a", 0)
		}
		return err
	}
	told := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	told(get("s3://plans?endpoint=http://127.0.0.1:1"), `bucket "plans": no AWS credentials could be had: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE where plumbline runs`)
	told(get("s3://plans?region=eu-central-1&profile=nope"), "location s3://plans: there is no AWS profile \"nope\": correct profile in the location, or AWS_PROFILE")
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary")
	told(get("s3://plans?endpoint=http://127.0.0.1:1"), `bucket "plans": the service cannot be reached: check the endpoint, and the network`)
	told(get("s3://plans?endpoint=http://nowhere.invalid"), `bucket "plans": the service cannot be reached: `)
	// Not every resolver says so.
	unknown := &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}
	told((&s3Bucket{name: "plans"}).explain(&net.OpError{Op: "dial", Err: unknown}), `there is no host "nowhere.invalid": check the endpoint, the region and this machine's DNS`)
}

// contentOf is a content that is known already.
func contentOf(data []byte) content {
	return content{bytes: int64(len(data)), write: func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

func mustPut(t *testing.T, b bucket, key string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, contentOf(data)); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func mustGet(t *testing.T, b bucket, key string, limit int64) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key, limit)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return data
}

// TestPlansThatNoBucketTakes: what S3 does not take at once is not begun.
func TestPlansThatNoBucketTakes(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary")
	b, _, err := openBucket(t.Context(), "s3://plans?endpoint=http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Put(t.Context(), "a", content{bytes: putLimit + 1, write: func(io.Writer) error {
		t.Error("it is written all the same")
		return nil
	}})
	if err == nil || !strings.Contains(err.Error(), "the plan has 5120 MB when it is sealed, and S3 takes at most 5120 MB at once: split the workspace") {
		t.Errorf("put says %v", err)
	}
}
