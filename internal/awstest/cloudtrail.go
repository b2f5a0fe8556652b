package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// TrailEvent is an event that CloudTrail knows of.
type TrailEvent struct {
	Region    string // "" is Region
	At        time.Time
	Name      string // such as DeleteBucket
	Service   string // such as s3.amazonaws.com
	Principal string // an ARN of a user or of an assumed role
	Role      string // the ARN of the role that was assumed
	AccessKey string
	Address   string
	Agent     string
	Error     string // its code; "" where it was done
	ReadOnly  bool
	Resources []string       // names that it is listed under
	Request   map[string]any // its parameters
	Account   string         // "" is Account
}

// trail is what CloudTrail knows.
type trail struct {
	events   []trailEvent
	requests map[string][]time.Time // of the last second, by region
	pages    map[string]string      // token to the request that it goes on with
	most     int32
	limit    int // requests in a second
}

type trailEvent struct {
	TrailEvent
	event types.Event
}

// AddEvent lets CloudTrail know of an event.
func (s *Server) AddEvent(e TrailEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Region == "" {
		e.Region = Region
	}
	if e.Account == "" {
		e.Account = Account
	}
	id := fmt.Sprintf("%x", random(16))
	kind := "IAMUser"
	issuer := map[string]any{}
	if e.Role != "" {
		kind, issuer = "AssumedRole", map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": e.Role, "accountId": e.Account}}
	}
	body := map[string]any{
		"eventVersion": "1.11", "eventID": id, "eventTime": e.At.UTC().Format(time.RFC3339), "eventName": e.Name, "eventSource": e.Service,
		"awsRegion": e.Region, "sourceIPAddress": e.Address, "userAgent": e.Agent, "readOnly": e.ReadOnly, "eventType": "AwsApiCall",
		"managementEvent": true, "eventCategory": "Management", "recipientAccountId": e.Account, "requestParameters": e.Request, "responseElements": nil,
		"userIdentity": map[string]any{"type": kind, "arn": e.Principal, "principalId": "AIDAEXAMPLE", "accountId": e.Account, "accessKeyId": e.AccessKey, "sessionContext": issuer},
	}
	if e.Error != "" {
		body["errorCode"], body["errorMessage"] = e.Error, "it was refused"
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // a test gave what is no JSON
	}
	one := types.Event{
		EventId: aws.String(id), EventName: aws.String(e.Name), EventSource: aws.String(e.Service), EventTime: aws.Time(e.At.UTC().Truncate(time.Second)),
		ReadOnly: aws.String(strconv.FormatBool(e.ReadOnly)), AccessKeyId: aws.String(e.AccessKey),
		Username: aws.String(e.Principal[strings.LastIndexByte(e.Principal, '/')+1:]), CloudTrailEvent: aws.String(string(text)),
		Resources: []types.Resource{},
	}
	for _, name := range e.Resources {
		one.Resources = append(one.Resources, types.Resource{ResourceName: aws.String(name), ResourceType: aws.String("AWS::Some::Thing")})
	}
	s.trail.events = append(s.trail.events, trailEvent{e, one})
}

// SetTrailPage has CloudTrail answer with at most so many events at once, as it may: fewer than were asked for.
func (s *Server) SetTrailPage(n int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trail.most = n
}

// SetTrailLimit has CloudTrail take so many requests in a second, for tests that have no time: as with AWS it takes two.
func (s *Server) SetTrailLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trail.limit = n
}

func (s *Server) addCloudTrail() {
	s.trail = trail{requests: map[string][]time.Time{}, pages: map[string]string{}, most: 50, limit: 2}
	s.operations["CloudTrail_20131101.LookupEvents"] = operation{name: "LookupEvents", service: "cloudtrail", handle: s.lookupEvents}
}

// lookupRequest is a request of LookupEvents. Times are seconds with a fraction.
type lookupRequest struct {
	StartTime, EndTime *float64
	EventCategory      types.EventCategory
	LookupAttributes   []types.LookupAttribute
	MaxResults         *int32
	NextToken          *string
}

// lookupEvents answers as https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html says.
func (s *Server) lookupEvents(c *Call, text []byte) ([]byte, error) {
	in, err := readLookup(text)
	if err != nil {
		return nil, failure("SerializationException", "LookupEvents: %v", err)
	}
	// So many in any second, of an account in a region.
	now := s.now()
	recent := slices.DeleteFunc(s.trail.requests[c.Region], func(at time.Time) bool { return now.Sub(at) >= time.Second })
	if s.trail.requests[c.Region] = append(recent, now); len(recent) >= s.trail.limit {
		return nil, failure("ThrottlingException", "Rate exceeded")
	}
	most := s.trail.most
	if in.MaxResults != nil {
		if *in.MaxResults < 1 || *in.MaxResults > 50 {
			return nil, &types.InvalidMaxResultsException{Message: aws.String("MaxResults is from 1 to 50.")}
		}
		most = min(most, *in.MaxResults)
	}
	if len(in.LookupAttributes) > 1 {
		return nil, &types.InvalidLookupAttributesException{Message: aws.String("Only one attribute can be looked up.")}
	}
	if in.StartTime != nil && in.EndTime != nil && in.EndTime.Before(*in.StartTime) {
		return nil, &types.InvalidTimeRangeException{Message: aws.String("The end is before the start.")}
	}
	for _, a := range in.LookupAttributes {
		c.Looked = string(a.AttributeKey) + "=" + aws.ToString(a.AttributeValue)
	}
	matching := s.trail.matching(c.Region, in)
	// A token goes on with the very request that it was given for.
	from := 0
	same := *in
	same.NextToken = nil
	asked := fmt.Sprintf("%s %v", c.Region, jsonOf(same))
	if token := aws.ToString(in.NextToken); token != "" {
		place, of, _ := strings.Cut(s.trail.pages[token], " ")
		if from, err = strconv.Atoi(place); err != nil || of != asked {
			return nil, &types.InvalidNextTokenException{Message: aws.String("The token is not of this request.")}
		}
	}
	out := &cloudtrail.LookupEventsOutput{Events: matching[min(from, len(matching)):min(from+int(most), len(matching))]}
	if next := from + int(most); next < len(matching) {
		token := fmt.Sprintf("%x", random(12))
		s.trail.pages[token] = fmt.Sprintf("%d %s", next, asked)
		out.NextToken = aws.String(token)
	}
	return writeLookup(out)
}

// matching are the events that a request is for, the newest first.
func (tr *trail) matching(region string, in *cloudtrail.LookupEventsInput) []types.Event {
	var events []types.Event
	for _, e := range tr.events {
		at := *e.event.EventTime
		if e.Region != region || in.StartTime != nil && at.Before(*in.StartTime) || in.EndTime != nil && at.After(*in.EndTime) {
			continue
		}
		if slices.ContainsFunc(in.LookupAttributes, func(a types.LookupAttribute) bool { return !e.has(a) }) {
			continue
		}
		events = append(events, e.event)
	}
	slices.SortStableFunc(events, func(a, b types.Event) int { return b.EventTime.Compare(*a.EventTime) })
	return events
}

func (e *trailEvent) has(a types.LookupAttribute) bool {
	value := aws.ToString(a.AttributeValue)
	switch a.AttributeKey {
	case types.LookupAttributeKeyResourceName:
		return slices.Contains(e.Resources, value)
	case types.LookupAttributeKeyEventName:
		return e.Name == value
	case types.LookupAttributeKeyEventSource:
		return e.Service == value
	case types.LookupAttributeKeyEventId:
		return aws.ToString(e.event.EventId) == value
	case types.LookupAttributeKeyUsername:
		return aws.ToString(e.event.Username) == value
	case types.LookupAttributeKeyAccessKeyId:
		return e.AccessKey == value
	case types.LookupAttributeKeyReadOnly:
		return strconv.FormatBool(e.ReadOnly) == value
	}
	return false
}

// readLookup reads a request, and holds it to the SDK: what the SDK itself would send for it must be the same.
func readLookup(text []byte) (*cloudtrail.LookupEventsInput, error) {
	var r lookupRequest
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	in := &cloudtrail.LookupEventsInput{EventCategory: r.EventCategory, LookupAttributes: r.LookupAttributes, MaxResults: r.MaxResults, NextToken: r.NextToken}
	for to, seconds := range map[**time.Time]*float64{&in.StartTime: r.StartTime, &in.EndTime: r.EndTime} {
		if seconds != nil {
			*to = aws.Time(time.UnixMilli(int64(*seconds*1000 + 0.5)))
		}
	}
	var again []byte
	_, err := itself(func(r *http.Request) (*http.Response, error) {
		sent, err := io.ReadAll(r.Body)
		again = sent
		return nil, errors.Join(errSent, err)
	}).LookupEvents(context.Background(), in)
	if !errors.Is(err, errSent) || !sameJSON(again, text) {
		return nil, fmt.Errorf("the request is not what the SDK would write (%w)", err)
	}
	return in, nil
}

// writeLookup writes an answer, and holds it to the SDK: what the SDK reads from it must be the same.
func writeLookup(out *cloudtrail.LookupEventsOutput) ([]byte, error) {
	events := make([]map[string]any, 0, len(out.Events))
	for _, e := range out.Events {
		resources := make([]map[string]any, 0, len(e.Resources))
		for _, r := range e.Resources {
			resources = append(resources, map[string]any{"ResourceName": r.ResourceName, "ResourceType": r.ResourceType})
		}
		events = append(events, map[string]any{
			"EventId": e.EventId, "EventName": e.EventName, "EventSource": e.EventSource, "EventTime": e.EventTime.Unix(), "ReadOnly": e.ReadOnly,
			"AccessKeyId": e.AccessKeyId, "Username": e.Username, "CloudTrailEvent": e.CloudTrailEvent, "Resources": resources,
		})
	}
	answer := map[string]any{"Events": events}
	if out.NextToken != nil {
		answer["NextToken"] = *out.NextToken
	}
	text := jsonOf(answer)
	read, err := itself(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(bytes.NewReader(text)), Request: r,
		}, nil
	}).LookupEvents(context.Background(), &cloudtrail.LookupEventsInput{})
	if err != nil {
		return nil, failure("InternalFailure", "the SDK does not read the answer: %v", err)
	}
	if out.Events == nil {
		out.Events = []types.Event{}
	}
	if !reflect.DeepEqual(read.Events, out.Events) || !reflect.DeepEqual(read.NextToken, out.NextToken) {
		return nil, failure("InternalFailure", "the SDK reads another answer than was written")
	}
	return text, nil
}

var errSent = errors.New("it is sent to nobody")

// itself is the SDK's own client of CloudTrail, of which do answers the requests.
func itself(do func(*http.Request) (*http.Response, error)) *cloudtrail.Client {
	return cloudtrail.New(cloudtrail.Options{
		Region: Region, HTTPClient: doer(do), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "nobody", SecretAccessKey: "nobody"}, nil
		}),
	})
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func jsonOf(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing comes here that cannot be written
	}
	return text
}
