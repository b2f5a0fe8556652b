//go:build e2e

package planstore

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// FaultyS3 stands before a real S3 server and spoils what passes.
type FaultyS3 struct {
	URL string

	server *parts.S3Server
	skew   time.Duration
	answer func(r *http.Request) *Answer

	mu    sync.Mutex
	tries map[string]int
	Seen  map[string]int // faults by their kind
}

// Answer is an error that the real server is not asked for.
type Answer struct {
	Status  int
	Code    string
	Message string // "" for one that says nothing
	Headers map[string]string
}

// faults in the order in which requests meet them. Each passes when it is tried again.
var faults = []string{"500", "slow down", "dropped before", "dropped after", "truncated"}

// FaultsPerRequest is how often each request fails before it goes through.
const FaultsPerRequest = 2

// NewFaultyS3 starts one that lets each request fail in two ways before it lets it through.
func NewFaultyS3(t testing.TB, server *parts.S3Server) *FaultyS3 {
	f := &FaultyS3{server: server, tries: map[string]int{}, Seen: map[string]int{}}
	f.start(t)
	return f
}

// NewSkewedS3 starts one whose clock is off.
func NewSkewedS3(t testing.TB, server *parts.S3Server, skew time.Duration) *FaultyS3 {
	f := &FaultyS3{server: server, skew: skew, Seen: map[string]int{}}
	f.start(t)
	return f
}

// NewAnsweringS3 starts one that answers some requests itself.
func NewAnsweringS3(t testing.TB, server *parts.S3Server, answer func(r *http.Request) *Answer) *FaultyS3 {
	f := &FaultyS3{server: server, answer: answer, Seen: map[string]int{}}
	f.start(t)
	return f
}

func (f *FaultyS3) start(t testing.TB) {
	target, err := url.Parse(f.server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // it would tell of every connection that broke
	proxy.ModifyResponse = f.spoil
	proxy.Transport = behind
	if f.skew != 0 {
		proxy.Transport = resigning{f.server}
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := f.next(r)
		if f.skew != 0 && fault == "" {
			fault = f.skewed(r)
		}
		if f.answer != nil {
			if a := f.answer(r); a != nil {
				// Whoever answers earlier, and closes the connection, is not always heard.
				_, _ = io.Copy(io.Discard, r.Body)
				for name, value := range a.Headers {
					w.Header().Set(name, value)
				}
				writeFault(w, a.Status, a.Code, a.Message)
				return
			}
		}
		switch fault {
		case "500":
			writeFault(w, http.StatusInternalServerError, "InternalError", "")
		case "slow down":
			writeFault(w, http.StatusServiceUnavailable, "SlowDown", "")
		case "dropped before":
			panic(http.ErrAbortHandler)
		case "too skewed":
			w.Header().Set("Date", time.Now().Add(f.skew).UTC().Format(http.TimeFormat))
			writeFault(w, http.StatusForbidden, "RequestTimeTooSkewed", "")
		default:
			r.Header.Set("X-Test-Fault", fault)
			proxy.ServeHTTP(w, r)
		}
	}))
	front.Config.ErrorLog = proxy.ErrorLog
	t.Cleanup(front.Close)
	f.URL = front.URL
}

// next says what happens to a request.
func (f *FaultyS3) next(r *http.Request) string {
	if f.tries == nil {
		return ""
	}
	name := r.Method + " " + r.URL.String() // a download that goes on where it broke off is the same request
	hash := fnv.New32()
	_, _ = hash.Write([]byte(name)) // never fails
	sum := int(hash.Sum32() >> 1)
	if strings.Contains(r.URL.Path, "more-than-a-page/") && sum%16 != 0 {
		return "" // a thousand would be too many for the SDK's own budget of retries
	}
	if strings.Contains(r.URL.RawQuery, "shows-no-object") {
		return "" // it is listed for as long as the test runs
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Several may ask for the same at once: not all faults should meet one of them.
	try := f.tries[name] % (FaultsPerRequest + 8)
	f.tries[name]++
	if try >= FaultsPerRequest {
		return ""
	}
	fault := faults[(sum+try)%len(faults)]
	if try == 0 {
		fault = faults[(sum/len(faults)+try)%len(faults)]
	}
	f.Seen[fault]++
	return fault
}

// skewed holds requests to a clock that is off.
func (f *FaultyS3) skewed(r *http.Request) string {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err == nil && time.Now().Add(f.skew).Sub(at).Abs() < 15*time.Minute {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Seen["too skewed"]++
	return "too skewed"
}

// spoil breaks the connection after the server has done its work, at once or in the middle of the answer.
func (f *FaultyS3) spoil(r *http.Response) error {
	if f.skew != 0 {
		r.Header.Set("Date", time.Now().Add(f.skew).UTC().Format(http.TimeFormat))
	}
	switch r.Request.Header.Get("X-Test-Fault") {
	case "dropped after":
		panic(http.ErrAbortHandler)
	case "truncated":
		if r.ContentLength <= 0 || r.Request.Method == http.MethodHead {
			panic(http.ErrAbortHandler)
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r.Body, r.ContentLength/2), r.Body}
	}
	return nil
}

func writeFault(w http.ResponseWriter, status int, code, message string) {
	text := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, cmp.Or(message, "as the test wants it"))
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the caller may have gone
}

// behind keeps no connection: one that the server closes meanwhile would be a fault that no test asked for.
// A refusal comes before a large body is sent, as without a proxy.
var behind = &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}

// resigning signs requests again, at the time of the server behind.
type resigning struct{ server *parts.S3Server }

func (s resigning) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Del("Authorization")
	r.Header.Del("X-Amz-Date")
	r.Host = r.URL.Host
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	err := signer.SignHTTP(r.Context(), aws.Credentials{AccessKeyID: s.server.AccessKey, SecretAccessKey: s.server.SecretKey},
		r, r.Header.Get("X-Amz-Content-Sha256"), "s3", s.server.Region, time.Now())
	if err != nil {
		return nil, err
	}
	return behind.RoundTrip(r)
}

// TestS3BucketsUnderFaults holds S3 to what every bucket promises while requests fail in every way that passes.
func TestS3BucketsUnderFaults(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	faulty := NewFaultyS3(t, server)
	skewed := NewSkewedS3(t, server, 3*time.Hour)
	t.Cleanup(func() {
		for _, fault := range faults {
			if faulty.Seen[fault] == 0 {
				t.Errorf("no request met the fault %q", fault)
			}
		}
		if skewed.Seen["too skewed"] == 0 {
			t.Error("no request met a clock that is off")
		}
		t.Logf("faults: %v %v", faulty.Seen, skewed.Seen)
	})
	holdBuckets(t, map[string]string{
		"failing":            "s3://" + server.Bucket + "/failing?endpoint=" + faulty.URL,
		"with another clock": "s3://" + server.Bucket + "/skewed?endpoint=" + skewed.URL,
	})
}

// TestS3TellsWhatIsRefused goes through what a bucket may refuse for good.
func TestS3TellsWhatIsRefused(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	for _, c := range []struct {
		name, method string
		answer       Answer
		want         string
	}{
		{"another region", "PUT", Answer{Status: 301, Code: "PermanentRedirect", Headers: map[string]string{"X-Amz-Bucket-Region": "eu-north-1"}}, `bucket "plans" is in region eu-north-1: write that in the location, as ?region=`},
		{"another region, as the signature shows", "GET", Answer{Status: 400, Code: "AuthorizationHeaderMalformed"}, `bucket "plans" is in another region`},
		{"no right to put", "PUT", Answer{Status: 403, Code: "AccessDenied"}, "need s3:PutObject on what it holds"},
		{"no right to get", "GET", Answer{Status: 403, Code: "AccessDenied"}, "need s3:GetObject on what it holds"},
		{"no right to list", "LIST", Answer{Status: 403, Code: "AccessDenied"}, "need s3:ListBucket on the bucket"},
		{"no right to delete", "DELETE", Answer{Status: 403, Code: "AccessDenied"}, "need s3:DeleteObject on what it holds"},
		{"a session that ended", "PUT", Answer{Status: 400, Code: "ExpiredToken"}, `the credentials for bucket "plans" have expired: renew them`},
		{"too large", "PUT", Answer{Status: 400, Code: "EntityTooLarge"}, `bucket "plans" takes nothing as large`},
		{"a wrong key of its encryption", "PUT", Answer{Status: 400, Code: "KMS.NotFoundException"}, "check sse and kms_key of the location"},
		{"errors without end", "PUT", Answer{Status: 500, Code: "InternalError"}, `bucket "plans" did not answer as it should, 2 times: try again later`},
		{"slow down without end", "LIST", Answer{Status: 503, Code: "SlowDown"}, "did not answer as it should, 2 times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			front := NewAnsweringS3(t, server, func(r *http.Request) *Answer {
				method := r.Method
				if method == http.MethodGet && r.URL.Query().Has("list-type") {
					method = "LIST"
				}
				if method != c.method {
					return nil
				}
				return &c.answer
			})
			prefix := "s3://" + server.Bucket + "/" + url.PathEscape(c.name)
			direct, _, err := openBucket(t.Context(), prefix+"?endpoint="+server.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, direct, "before", []byte("canary"))
			b, _, err := openBucket(t.Context(), prefix+"?endpoint="+front.URL)
			if err != nil {
				t.Fatal(err)
			}
			switch c.method {
			case "PUT":
				err = b.Put(t.Context(), "a", contentOf([]byte("canary")))
			case "GET":
				_, err = b.Get(t.Context(), "before", 0)
			case "LIST":
				_, err = b.List(t.Context(), "")
			case "DELETE":
				err = b.Delete(t.Context(), "before")
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), server.SecretKey) {
				t.Errorf("got %v; want %q and no secret", err, c.want)
			}
			objects, err := direct.List(t.Context(), "")
			if err != nil || len(objects) != 1 || objects[0].key != "before" {
				t.Errorf("in the bucket are %v, %v; want what was there before", objects, err)
			}
		})
	}
}

// A server that knows no conditional writes gets the others.
func TestS3WithoutConditions(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	front := NewAnsweringS3(t, server, func(r *http.Request) *Answer {
		if r.Header.Get("If-None-Match") == "" {
			return nil
		}
		return &Answer{Status: http.StatusNotImplemented, Code: "NotImplemented"}
	})
	b, _, err := openBucket(t.Context(), "s3://"+server.Bucket+"?endpoint="+front.URL)
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, "a", []byte("x"))
	if got := mustGet(t, b, "a", 0); string(got) != "x" {
		t.Errorf("got %q back, want what was put", got)
	}
}

// What the location says of encryption and tags is asked of the server; the checksum goes with every object.
func TestS3AsksForWhatTheLocationSays(t *testing.T) {
	server := parts.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	var mu sync.Mutex
	var headers http.Header
	denied := false
	front := NewAnsweringS3(t, server, func(r *http.Request) *Answer {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodDelete && denied {
			return &Answer{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		if r.Method == http.MethodPut && !r.URL.Query().Has("tagging") {
			headers = r.Header.Clone()
			if headers.Get("X-Amz-Server-Side-Encryption") != "" {
				return &Answer{Status: http.StatusBadRequest, Code: "KMS.DisabledException"} // there is no KMS behind
			}
		}
		return nil
	})
	openAt := func(query string) *s3Bucket {
		t.Helper()
		b, _, err := openBucket(t.Context(), "s3://"+server.Bucket+"?endpoint="+front.URL+query)
		if err != nil {
			t.Fatal(err)
		}
		return b.(*s3Bucket)
	}
	const key = "arn:aws:kms:eu-central-1:111122223333:key/12345678-1234-1234-1234-123456789012"
	if err := openAt("&sse=aws:kms&kms_key="+key).Put(t.Context(), "sse", contentOf(nil)); err == nil || !strings.Contains(err.Error(), "check sse and kms_key") {
		t.Errorf("put says %v", err)
	}
	if headers.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || headers.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != key {
		t.Errorf("asked for encryption with %v", headers)
	}
	b := openAt("&tags=true")
	mustPut(t, b, "tagged", []byte("hello"))
	if headers.Get("X-Amz-Checksum-Sha256") != "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" || headers.Get("If-None-Match") != "*" {
		t.Errorf("put with the headers %v; want the SHA-256 and the condition", headers)
	}
	if got := tagOf(t, b, "tagged"); got != tagKept {
		t.Errorf("a new object is tagged %q, want %q", got, tagKept)
	}
	mu.Lock()
	denied = true
	mu.Unlock()
	if err := b.Delete(t.Context(), "tagged"); err == nil || !strings.Contains(err.Error(), "it is tagged plumbline=closed: a lifecycle rule") {
		t.Errorf("a deletion that is denied says %v", err)
	}
	if got := tagOf(t, b, "tagged"); got != tagClosed {
		t.Errorf("what could not be deleted is tagged %q, want %q", got, tagClosed)
	}
	mu.Lock()
	denied = false
	mu.Unlock()
	for range 2 {
		if err := b.Delete(t.Context(), "tagged"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

func tagOf(t *testing.T, b *s3Bucket, key string) string {
	t.Helper()
	out, err := b.client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &b.name, Key: &key})
	if err != nil || len(out.TagSet) != 1 {
		t.Fatalf("tags of %s: %v, %v", key, out, err)
	}
	return aws.ToString(out.TagSet[0].Value)
}
