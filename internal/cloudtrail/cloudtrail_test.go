package cloudtrail_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/internal/awstest"
	"github.com/plumbline-dev/plumbline/internal/cloudtrail"
)

// The time of the tests: the newest look that saw nothing, and now.
var (
	since = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	later = since.Add(10 * time.Minute)
)

const ann = "arn:aws:iam::111122223333:user/ann"

// hurried is a trail without pauses.
func hurried(o cloudtrail.Options) *cloudtrail.Trail {
	o.Pause = time.Nanosecond
	return cloudtrail.New(o)
}

// newServer is a stand-in that takes any number of requests.
func newServer(t *testing.T) *awstest.Server {
	s := awstest.New(t)
	s.SetTrailLimit(1000)
	return s
}

// environ is Terraform's environment, in which the SDK finds a stand-in.
func environ(s *awstest.Server) []string {
	var all []string
	for name, value := range s.Environ() {
		all = append(all, name+"="+value)
	}
	return all
}

// instance asks about an instance.
func instance(s *awstest.Server) cloudtrail.Query {
	return cloudtrail.Query{
		Scope: "acme/live prod", Type: "aws_instance", Since: since, Environ: environ(s),
		Values: map[string]string{"id": "i-0abc", "arn": "arn:aws:ec2:eu-central-1:111122223333:instance/i-0abc"},
	}
}

// stopped is somebody who stops that instance.
func stopped() awstest.TrailEvent {
	return awstest.TrailEvent{
		At: later, Name: "StopInstances", Service: "ec2.amazonaws.com", Principal: ann, AccessKey: "AKIAANN", Address: "203.0.113.7", Agent: "console.amazonaws.com",
		Resources: []string{"i-0abc"}, Request: map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{"instanceId": "i-0abc"}}}},
	}
}

// told writes events in a line.
func told(events []cloudtrail.Event) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s of %s from %s at +%s", e.Principal, e.Name, e.Service, e.Address, e.At.Sub(since)))
	}
	return strings.Join(lines, "; ")
}

// TestWho: of all that CloudTrail knows, what wrote to the resource since then is told, and nothing else.
func TestWho(t *testing.T) {
	t.Parallel()
	const stop = ann + " StopInstances of ec2.amazonaws.com from 203.0.113.7 at +10m0s"
	tagged := awstest.TrailEvent{
		At: later, Name: "CreateTags", Service: "ec2.amazonaws.com", Principal: ann, Address: "203.0.113.7",
		Request: map[string]any{"resourcesSet": map[string]any{"items": []any{map[string]any{"resourceId": "i-0abc"}}}},
	}
	for _, c := range []struct {
		name  string
		event func(*awstest.TrailEvent)
		query func(*cloudtrail.Query)
		want  string
	}{
		{name: "as it is", want: stop},
		{name: "before it was last as it should be", event: func(e *awstest.TrailEvent) { e.At = since.Add(-time.Minute) }},
		{name: "another instance", event: func(e *awstest.TrailEvent) { e.Resources = []string{"i-0abd"} }},
		{name: "it only reads", event: func(e *awstest.TrailEvent) { e.ReadOnly = true }},
		{name: "it was refused", event: func(e *awstest.TrailEvent) { e.Error = "Client.UnauthorizedOperation" }},
		{name: "it only mentions the instance", event: func(e *awstest.TrailEvent) { e.Name = "CreateImage" }},
		{name: "of another service", event: func(e *awstest.TrailEvent) { e.Service = "ssm.amazonaws.com" }},
		{name: "in another region", event: func(e *awstest.TrailEvent) { e.Region = "eu-west-1" }},
		{name: "in another account", event: func(e *awstest.TrailEvent) { e.Account = "999900001111" }},
		{name: "nobody knows since when", query: func(q *cloudtrail.Query) { q.Since = time.Time{} }},
		{name: "a type of no cloud", query: func(q *cloudtrail.Query) { q.Type = "local_file" }},
		{name: "the region comes from the zone", query: func(q *cloudtrail.Query) {
			q.Values = map[string]string{"id": "i-0abc", "availability_zone": "eu-central-1b"}
			q.Environ = append(q.Environ, "AWS_REGION=us-west-2")
		}, want: stop},
		{name: "tags, which are listed under nothing", event: func(e *awstest.TrailEvent) { *e = tagged },
			want: ann + " CreateTags of ec2.amazonaws.com from 203.0.113.7 at +10m0s"},
		{name: "tags of another", event: func(e *awstest.TrailEvent) {
			*e = tagged
			e.Request = map[string]any{"resourcesSet": map[string]any{"items": []any{map[string]any{"resourceId": "i-0abd"}}}, "tagSet": map[string]any{"items": []any{map[string]any{"key": "of", "value": "i-0abc"}}}}
		}},
		{name: "a type without a row, by its ARN", event: func(e *awstest.TrailEvent) {
			e.Name, e.Service, e.Resources = "UpdateWorkspace", "aps.amazonaws.com", []string{"arn:aws:aps:eu-central-1:111122223333:workspace/ws-1"}
		}, query: func(q *cloudtrail.Query) {
			q.Type, q.Values = "aws_prometheus_workspace", map[string]string{"id": "ws-1", "arn": "arn:aws:aps:eu-central-1:111122223333:workspace/ws-1"}
		}, want: ann + " UpdateWorkspace of aps.amazonaws.com from 203.0.113.7 at +10m0s"},
		{name: "what has one region for all", event: func(e *awstest.TrailEvent) {
			e.Region, e.Name, e.Service, e.Resources = "us-east-1", "DetachUserPolicy", "iam.amazonaws.com", []string{"bob"}
		}, query: func(q *cloudtrail.Query) {
			q.Type, q.Values = "aws_iam_user_policy_attachment", map[string]string{"user": "bob"}
		}, want: ann + " DetachUserPolicy of iam.amazonaws.com from 203.0.113.7 at +10m0s"},
		{name: "Plumbline itself, by its key", event: func(e *awstest.TrailEvent) {
			e.AccessKey, e.Agent = awstest.AccessKey, "APN/1.0 HashiCorp/1.0 Terraform/1.13.0 plumbline/1"
		}},
		{name: "a person with Plumbline's key", event: func(e *awstest.TrailEvent) { e.AccessKey, e.Agent = awstest.AccessKey, "aws-cli/2.30" }, want: stop},
		{name: "somebody who says to be Plumbline", event: func(e *awstest.TrailEvent) { e.Agent = "plumbline/1" }, want: stop},
		{name: "Plumbline itself, in a role of its own", event: func(e *awstest.TrailEvent) {
			e.Role, e.Agent = "arn:aws:iam::111122223333:role/apply", "Terraform/1.13.0 plumbline/1"
		}, query: func(q *cloudtrail.Query) { q.Own = []string{"arn:aws:iam::111122223333:role/apply"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			e, q := stopped(), instance(s)
			if c.event != nil {
				c.event(&e)
			}
			if c.query != nil {
				c.query(&q)
			}
			s.AddEvent(e)
			var log bytes.Buffer
			trail := hurried(cloudtrail.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if got := told(trail.Who(t.Context(), q)); got != c.want || log.Len() > 0 {
				t.Errorf("got %q, want %q; the log has %q", got, c.want, log.String())
			}
		})
	}
}

// TestNewestOfMany: the three newest are told, each once, however many pages there are; and what is remembered is not asked for
// again.
func TestNewestOfMany(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.SetTrailPage(20)
	for i := range 50 { // the busy role that reads it comes first
		e := stopped()
		e.Name, e.ReadOnly, e.At = "DescribeInstanceAttribute", true, later.Add(time.Minute+time.Duration(i)*time.Second)
		s.AddEvent(e)
	}
	for i, name := range []string{"StartInstances", "ModifyInstanceAttribute", "StopInstances", "StartInstances"} {
		e := stopped()
		e.Name, e.At = name, later.Add(time.Duration(i)*time.Second)
		s.AddEvent(e)
	}
	trail := hurried(cloudtrail.Options{})
	want := "StartInstances StopInstances ModifyInstanceAttribute"
	for range 2 {
		var names []string
		for _, e := range trail.Who(t.Context(), instance(s)) {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	byName := 0
	for _, c := range s.Calls() {
		if c.Error != "" {
			t.Errorf("%s failed with %s", c.Looked, c.Error)
		}
		if c.Looked == "ResourceName=i-0abc" {
			byName++
		}
	}
	if n := len(s.Calls()); n != 5 || byName != 3 {
		t.Errorf("there were %d requests, of which %d for the instance; want 3 pages of it and two for tags", n, byName)
	}
}

// TestBelowTheLimit: whoever asks, and however many at once, CloudTrail gets fewer than two requests in a second, and everybody
// an answer.
func TestBelowTheLimit(t *testing.T) {
	t.Parallel()
	const asked = 5
	s := awstest.New(t)
	trail := cloudtrail.New(cloudtrail.Options{})
	start := time.Now()
	var wg sync.WaitGroup
	for i := range asked {
		wg.Go(func() {
			e, q := stopped(), instance(s)
			bucket := fmt.Sprint("bucket-", i)
			e.Name, e.Service, e.Resources = "PutBucketPolicy", "s3.amazonaws.com", []string{bucket}
			s.AddEvent(e)
			q.Type, q.Values = "aws_s3_bucket", map[string]string{"bucket": bucket}
			if got := trail.Who(t.Context(), q); len(got) != 1 {
				t.Errorf("of %s it got %s", bucket, told(got))
			}
		})
	}
	wg.Wait()
	// How they arrive is the machine's affair, and a few may have to be sent again; how they leave is ours.
	if took := time.Since(start); took < (asked-1)*time.Second/2 {
		t.Errorf("%d requests left within %s", asked, took)
	}
}

// TestWhoIsRefused: nobody is named, the log has one line, and nothing is asked for a while.
func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.AddEvent(stopped())
	s.Deny("LookupEvents", true)
	var log bytes.Buffer
	now := time.Now()
	trail := hurried(cloudtrail.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now }})
	for range 3 {
		if got := trail.Who(t.Context(), instance(s)); got != nil {
			t.Errorf("got %s, want nobody", told(got))
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "need cloudtrail:LookupEvents") || strings.Contains(text, awstest.SecretKey) {
		t.Errorf("the log has %q; want one line that says what is needed", text)
	}
	if n := len(s.Calls()); n != 1 {
		t.Errorf("it was asked %d times, want once", n)
	}
	// Another workspace may be allowed to.
	s.Deny("LookupEvents", false)
	other := instance(s)
	other.Scope = "acme/live staging"
	if got := trail.Who(t.Context(), other); len(got) != 1 {
		t.Errorf("another workspace got %s", told(got))
	}
	now = now.Add(16 * time.Minute)
	if got := trail.Who(t.Context(), instance(s)); len(got) != 1 {
		t.Errorf("after a while it got %s", told(got))
	}
}

// TestNobodyWaits: who cannot wait gets nothing, and that is no fault of CloudTrail's.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.AddEvent(stopped())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	trail := hurried(cloudtrail.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := trail.Who(ctx, instance(s)); got != nil || log.Len() > 0 {
		t.Errorf("got %s and in the log %q", told(got), log.String())
	}
	if got := trail.Who(t.Context(), instance(s)); len(got) != 1 {
		t.Errorf("who waits got %s", told(got))
	}
	var nobody *cloudtrail.Trail
	if got := nobody.Who(t.Context(), instance(s)); got != nil {
		t.Errorf("a trail that is none got %s", told(got))
	}
}

// TestNoTimeLeft: more is asked than there is time for. What was found in time is told, and CloudTrail has refused nothing.
func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.AddEvent(stopped())
	var log bytes.Buffer
	trail := cloudtrail.New(cloudtrail.Options{Pause: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	got := trail.Who(ctx, instance(s)) // three requests, and one turn
	if len(got) != 1 || log.Len() > 0 || time.Since(start) > 30*time.Second {
		t.Errorf("got %s after %s, and in the log %q", told(got), time.Since(start), log.String())
	}
	// Nothing rests: another region has turns of its own.
	other := instance(s)
	other.Values = map[string]string{"id": "i-0abc", "region": "eu-west-1"}
	trail.Who(ctx, other)
	if n := len(s.Calls()); n != 2 {
		t.Errorf("there were %d requests, want one in each region", n)
	}
}

// TestRequestsStayInside: nothing that a request held is told, nor what could pass for something else.
func TestRequestsStayInside(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := stopped()
	e.Request["userData"] = "canary-5512"
	e.Request["passwordId"] = "canary-5513"
	e.Principal = "arn:aws:sts::111122223333:assumed-role/admin/\u202eann\n" + strings.Repeat("x", 500)
	s.AddEvent(e)
	var log bytes.Buffer
	trail := hurried(cloudtrail.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	got := trail.Who(t.Context(), instance(s))
	if len(got) != 1 || len(got[0].Principal) > 310 || strings.ContainsAny(got[0].Principal, "\n\u202e") {
		t.Errorf("got %q", told(got))
	}
	if text := fmt.Sprintf("%+v %s", got, log.String()); strings.Contains(text, "canary") {
		t.Errorf("what the request held is in %q", text)
	}
}

// TestOddRegions: a region becomes a part of a host, so what is none is not used.
func TestOddRegions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.AddEvent(stopped())
	q := instance(s)
	q.Values = map[string]string{"id": "i-0abc", "region": "evil.example/#"}
	if got := hurried(cloudtrail.Options{}).Who(t.Context(), q); len(got) != 1 {
		t.Errorf("got %s, want what is in the region of the environment", told(got))
	}
}

// TestWhoseCredentials: the process's own credentials are used only where Terraform could use them, too, and nobody's go where
// plumbline.yaml says.
func TestWhoseCredentials(t *testing.T) {
	s, elsewhere := newServer(t), newServer(t)
	s.AddEvent(stopped())
	s.Setenv(t)
	ask := func(ambient bool, given ...string) (int, string) {
		var log bytes.Buffer
		q := instance(s)
		q.Environ, q.Given, q.Ambient = nil, given, ambient
		got := hurried(cloudtrail.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}).Who(t.Context(), q)
		return len(got), log.String()
	}
	for _, given := range [][]string{nil, {"AWS_PROFILE=default"}, {"AWS_REGION=eu-central-1"}} {
		if n, log := ask(false, given...); n != 0 || len(s.Calls()) != 0 || !strings.Contains(log, "name a role") {
			t.Errorf("with %q it was told of %d events after %d requests, and the log has %q", given, n, len(s.Calls()), log)
		}
	}
	if n, log := ask(true); n != 1 {
		t.Errorf("where Terraform has them, too, it was told of %d events: %s", n, log)
	}
	key := []string{"AWS_ACCESS_KEY_ID=" + awstest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + awstest.SecretKey}
	for _, endpoint := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDTRAIL"} {
		if n, log := ask(false, append(key, endpoint+"="+elsewhere.URL)...); n != 1 || len(elsewhere.Calls()) != 0 {
			t.Errorf("with %s in plumbline.yaml it was told of %d events, and %d requests went there: %s", endpoint, n, len(elsewhere.Calls()), log)
		}
	}
}
