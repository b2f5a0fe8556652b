package awstest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// trailOf is the SDK's own client. With a text, that is what it sends, signed.
func trailOf(t *testing.T, text string) *cloudtrail.Client {
	t.Helper()
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return cloudtrail.NewFromConfig(settings, func(o *cloudtrail.Options) {
		if text == "" {
			return
		}
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Serialize.Add(middleware.SerializeMiddlewareFunc("replace the body", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
				r, err := in.Request.(*smithyhttp.Request).SetStream(strings.NewReader(text))
				if err != nil {
					return middleware.SerializeOutput{}, middleware.Metadata{}, err
				}
				in.Request = r
				return next.HandleSerialize(ctx, in)
			}), middleware.After)
		})
	})
}

// The SDK understands each answer and each error as the type that it has for it.
func TestCloudTrailSpeaksAsTheSDKDoes(t *testing.T) {
	s := awstest.New(t)
	s.SetTrailLimit(1000)
	s.Setenv(t)
	now := time.Now().UTC().Truncate(time.Second)
	for i := range 7 {
		s.AddEvent(awstest.TrailEvent{
			At: now.Add(-time.Duration(i) * time.Minute), Name: fmt.Sprint("Delete", i), Service: "s3.amazonaws.com",
			Principal: "arn:aws:iam::111122223333:user/ann", Address: "203.0.113.7", Resources: []string{"bucket"}, ReadOnly: i%2 == 1,
		})
	}
	s.AddEvent(awstest.TrailEvent{At: now, Name: "Other", Principal: "arn:aws:iam::111122223333:user/bob", Resources: []string{"other"}})
	c := trailOf(t, "")
	of := func(key types.LookupAttributeKey, value string) []types.LookupAttribute {
		return []types.LookupAttribute{{AttributeKey: key, AttributeValue: aws.String(value)}}
	}
	in := &cloudtrail.LookupEventsInput{
		LookupAttributes: of(types.LookupAttributeKeyResourceName, "bucket"), MaxResults: aws.Int32(3),
		StartTime: aws.Time(now.Add(-5 * time.Minute)), EndTime: aws.Time(now),
	}
	var names []string
	pages := cloudtrail.NewLookupEventsPaginator(c, in)
	n := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, e := range page.Events {
			names = append(names, aws.ToString(e.EventName))
			if aws.ToString(e.Username) != "ann" || !strings.Contains(aws.ToString(e.CloudTrailEvent), `"sourceIPAddress":"203.0.113.7"`) || aws.ToString(e.Resources[0].ResourceName) != "bucket" {
				t.Errorf("got %+v", e)
			}
		}
	}
	if got := strings.Join(names, " "); got != "Delete0 Delete1 Delete2 Delete3 Delete4 Delete5" || n != 2 {
		t.Errorf("got %s in %d pages, want the newest six in two", got, n)
	}
	first, err := c.LookupEvents(t.Context(), in)
	if err != nil || first.NextToken == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	for name, one := range map[string]struct {
		in   *cloudtrail.LookupEventsInput
		want any
	}{
		"another request's token": {&cloudtrail.LookupEventsInput{NextToken: first.NextToken}, new(*types.InvalidNextTokenException)},
		"too many at once":        {&cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}, new(*types.InvalidMaxResultsException)},
		"the end before the start": {&cloudtrail.LookupEventsInput{StartTime: aws.Time(now), EndTime: aws.Time(now.Add(-time.Second))},
			new(*types.InvalidTimeRangeException)},
		"two attributes": {&cloudtrail.LookupEventsInput{LookupAttributes: append(of(types.LookupAttributeKeyUsername, "ann"), of(types.LookupAttributeKeyUsername, "bob")...)},
			new(*types.InvalidLookupAttributesException)},
	} {
		if _, err := c.LookupEvents(t.Context(), one.in); err == nil || !errors.As(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{`{"MaxResults":5,"Nonsense":1}`, `{"maxresults":5}`, `{"MaxResults":"5"}`, `{"StartTime":"2026-11-21"}`, `not json`} {
		if _, err := trailOf(t, text).LookupEvents(t.Context(), in); code(err) != "SerializationException" {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := trailOf(t, `{"MaxResults":5}`).LookupEvents(t.Context(), in); err != nil {
		t.Errorf("a request of the model: %v", err)
	}
}

// Two requests in a second are taken, as by AWS.
func TestCloudTrailThrottles(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	c := trailOf(t, "")
	var codes []string
	start := time.Now()
	for range 4 {
		_, err := c.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{})
		codes = append(codes, code(err))
	}
	if got := strings.Join(codes, ","); got != ",,ThrottlingException,ThrottlingException" && time.Since(start) < time.Second {
		t.Errorf("got %s", got)
	}
}
