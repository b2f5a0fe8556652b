package awstest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// stsClient is the SDK's own, as a program gets it. Change sees a request after it was signed.
func stsClient(t *testing.T, change func(*http.Request), more ...func(*sts.Options)) *sts.Client {
	t.Helper()
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return sts.NewFromConfig(settings, append(more, func(o *sts.Options) { o.HTTPClient = transport{change} })...)
}

func as(c *types.Credentials) func(*sts.Options) {
	return func(o *sts.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}, nil
		})
	}
}

// The SDK understands each answer, and what it was given is taken from then on.
func TestSTSSpeaksAsTheSDKDoes(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	plan := s.AddRole("team/plan", awstest.Role{Trusts: []string{awstest.AccessKey}})
	c := stsClient(t, nil)
	if _, err := c.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: &plan, RoleSessionName: aws.String("plan,42"), Tags: []types.Tag{{Key: aws.String("workspace"), Value: aws.String("prod & more")}},
	}); code(err) != "ValidationError" {
		t.Fatalf("a tag with &: %v", err)
	}
	out, err := c.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: &plan, RoleSessionName: aws.String("plan,42"), DurationSeconds: aws.Int32(900),
		Tags: []types.Tag{{Key: aws.String("workspace"), Value: aws.String("clusters/prod ü")}, {Key: aws.String("empty"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("the session lasts %s", left)
	}
	who, err := stsClient(t, nil, as(out.Credentials)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws:sts::" + awstest.Account + ":assumed-role/plan/plan,42"; *who.Arn != want || *out.AssumedRoleUser.Arn != want {
		t.Errorf("the session is %s and %s, want %s", *who.Arn, *out.AssumedRoleUser.Arn, want)
	}
	sessions := s.Sessions()
	if len(sessions) != 1 || sessions[0].Role != plan || sessions[0].Tags["workspace"] != "clusters/prod ü" || sessions[0].AccessKey != *out.Credentials.AccessKeyId {
		t.Errorf("the sessions are %+v", sessions)
	}
	s.Expire(*out.Credentials.AccessKeyId)
	if _, err = stsClient(t, nil, as(out.Credentials)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); code(err) != "ExpiredToken" {
		t.Errorf("a session that ended: %v", err)
	}
	if calls := s.Calls(); len(calls) != 3 || calls[1].Operation != "AssumeRole" || calls[0].Error != "ValidationError" {
		t.Errorf("the calls were %+v", calls)
	}
}

func TestSTSWithAWebIdentity(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	arn := s.AddRole("plan", awstest.Role{Trusts: []string{"token-of-a-job", "token-expired"}})
	c := stsClient(t, nil)
	ask := func(token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return c.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: &arn, RoleSessionName: aws.String("job"), WebIdentityToken: &token})
	}
	out, err := ask("token-of-a-job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stsClient(t, nil, as(out.Credentials)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	if _, err := ask("another"); code(err) != "AccessDenied" {
		t.Errorf("another token: %v", err)
	}
	if _, err := ask("token-expired"); !errors.As(err, new(*types.ExpiredTokenException)) {
		t.Errorf("a token that ended: %v", err)
	}
}

// What STS refuses is refused with its code.
func TestSTSRefuses(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	open := s.AddRole("open", awstest.Role{Trusts: []string{awstest.AccessKey}})
	s.AddRole("tagless", awstest.Role{Trusts: []string{awstest.AccessKey}, NoTags: true})
	s.AddRole("closed", awstest.Role{})
	s.AddRole("next", awstest.Role{Trusts: []string{open}, Longest: 3 * time.Hour})
	first, err := stsClient(t, nil).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &open, RoleSessionName: aws.String("first")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		role    string
		session string
		tags    []string
		hours   int32
		change  func(*http.Request)
		more    []func(*sts.Options)
		want    string
	}{
		{name: "a role that is not there", role: "none", want: "AccessDenied"},
		{name: "a role that trusts somebody else", role: "closed", want: "AccessDenied"},
		{name: "tags without leave", role: "tagless", tags: []string{"a"}, want: "AccessDenied"},
		{name: "two tags of one name", role: "open", tags: []string{"a", "A"}, want: "InvalidParameterValue"},
		{name: "a bad name", role: "open", session: "a b", want: "ValidationError"},
		{name: "a long name", role: "open", session: strings.Repeat("a", 65), want: "ValidationError"},
		{name: "too long", role: "open", hours: 2, want: "ValidationError"},
		{name: "a chain", role: "next", more: []func(*sts.Options){as(first.Credentials)}},
		{name: "a chain for too long", role: "next", hours: 2, more: []func(*sts.Options){as(first.Credentials)}, want: "ValidationError"},
		{name: "no signature", role: "open", change: func(r *http.Request) { r.Header.Del("Authorization") }, want: "MissingAuthenticationToken"},
		{name: "another header", role: "open", change: func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded; a=b") }, want: "SignatureDoesNotMatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + awstest.Account + ":role/" + c.role), RoleSessionName: aws.String("name")}
			if c.session != "" {
				in.RoleSessionName = &c.session
			}
			if c.hours > 0 {
				in.DurationSeconds = aws.Int32(c.hours * 3600)
			}
			for _, key := range c.tags {
				in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String("v")})
			}
			_, err := stsClient(t, c.change, c.more...).AssumeRole(t.Context(), in)
			if code(err) != c.want || err != nil && c.want == "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	s.Deny("AssumeRole", true)
	if _, err := stsClient(t, nil).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &open, RoleSessionName: aws.String("name")}); code(err) != "AccessDenied" {
		t.Errorf("what is denied: %v", err)
	}
}

// A request that is signed well is still held to the model of its operation.
func TestSTSRequestsOutsideTheModelAreRefused(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	arn := s.AddRole("open", awstest.Role{Trusts: []string{awstest.AccessKey}})
	base := "Action=AssumeRole&Version=2011-06-15&RoleSessionName=name&RoleArn=" + arn
	for text, want := range map[string]string{
		base:                                 "",
		base + "&Nonsense=1":                 "ValidationError",
		base + "&roleArn=x":                  "ValidationError",
		base + "&DurationSeconds=long":       "ValidationError",
		base + "&Tags.member.2.Key=a":        "ValidationError",
		base + "&Tags.1.Key=a":               "ValidationError",
		strings.Replace(base, "06", "07", 1): "ValidationError",
		"Action=Nothing&Version=2011-06-15":  "InvalidAction",
	} {
		replace := middleware.SerializeMiddlewareFunc("replace the body", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
			r, err := in.Request.(*smithyhttp.Request).SetStream(strings.NewReader(text))
			if err != nil {
				return middleware.SerializeOutput{}, middleware.Metadata{}, err
			}
			in.Request = r
			return next.HandleSerialize(ctx, in)
		})
		c := stsClient(t, nil, func(o *sts.Options) {
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Serialize.Add(replace, middleware.After) })
		})
		_, err := c.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("name")})
		if code(err) != want || err != nil && want == "" {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
