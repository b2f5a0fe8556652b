package cloudtrail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/time/rate"
)

// question is what was asked, and answer what came of it.
type question struct {
	scope, region string
	since         int64
	lookup        attribute
}

type answer struct {
	records []record
	until   time.Time
}

// client is CloudTrail of one region, with the credentials that a query brings.
type client struct {
	api       *cloudtrail.Client
	region    string
	account   string // of the resource; "" if nothing tells
	accessKey string // of the credentials
}

// client opens CloudTrail where events of a resource are.
func (t *Trail) client(ctx context.Context, q Query) (*client, error) {
	machine, environ := variables(q.Environ), variables(q.Environ, q.Given)
	profile := ""
	if q.Ambient {
		profile = environ["AWS_PROFILE"]
	}
	settings, err := t.load(ctx, profile)
	if err != nil {
		return nil, err
	}
	switch key := environ["AWS_ACCESS_KEY_ID"]; {
	case key != "":
		settings.Credentials = aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(key, environ["AWS_SECRET_ACCESS_KEY"], environ["AWS_SESSION_TOKEN"]))
	case !q.Ambient:
		return nil, errors.New("Terraform gets no access key here, and those of Plumbline itself are not for it: name a role in aws of plumbline.yaml")
	}
	c := &client{region: cmp.Or(environ["AWS_REGION"], environ["AWS_DEFAULT_REGION"], settings.Region)}
	service := ""
	for _, row := range t.rows.of(q.Type) {
		service = row.Service
	}
	c.region, c.account = home(service, q.Values, c.region)
	if c.region == "" {
		return nil, errors.New("no region is known: set AWS_REGION")
	}
	if settings.Credentials == nil {
		return nil, errors.New("there are no credentials")
	}
	who, err := settings.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("get credentials: %w", err)
	}
	c.accessKey = who.AccessKeyID
	c.api = cloudtrail.NewFromConfig(settings, func(o *cloudtrail.Options) {
		o.Region = c.region
		o.HTTPClient = &limited{o.HTTPClient, t.limit(c.region)}
		if endpoint := cmp.Or(machine["AWS_ENDPOINT_URL_CLOUDTRAIL"], machine["AWS_ENDPOINT_URL"]); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return c, nil
}

// variables reads environments, of which a later one counts before those that precede it.
func variables(environs ...[]string) map[string]string {
	values := map[string]string{}
	for _, kv := range slices.Concat(environs...) {
		if name, value, ok := strings.Cut(kv, "="); ok {
			values[name] = value
		}
	}
	return values
}

// load reads the SDK's settings once for each profile: credentials are kept with them.
func (t *Trail) load(ctx context.Context, profile string) (aws.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if settings, ok := t.settings[profile]; ok {
		return settings.Copy(), nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what matters is in the errors
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(20 * time.Second)),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 4, 5*time.Second })
		}),
	}
	if profile != "" {
		load = append(load, config.WithSharedConfigProfile(profile))
	}
	settings, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, err
	}
	if settings.Credentials != nil {
		settings.Credentials = discreet(settings.Credentials)
	}
	t.settings[profile] = settings
	return settings.Copy(), nil
}

// discreet keeps what a program has printed out of errors: half of it may be credentials.
func discreet(p aws.CredentialsProvider) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		c, err := p.Retrieve(ctx)
		var process *processcreds.ProviderError
		if errors.As(err, &process) {
			err = errors.New("the credential_process of the AWS profile failed, or printed something else than credentials: run it by hand")
		}
		return c, err
	})
}

// limit is how often a region is asked, whoever asks: two workspaces may be of one account.
func (t *Trail) limit(region string) *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limits[region] == nil {
		t.limits[region] = rate.NewLimiter(rate.Every(t.pause), 1)
	}
	return t.limits[region]
}

// limited waits for its turn before each request: pages and what is tried again are requests, too.
type limited struct {
	inner interface {
		Do(*http.Request) (*http.Response, error)
	}
	limit *rate.Limiter
}

// noTimeError says that a turn would come later than its caller can wait for. CloudTrail has refused nothing.
type noTimeError struct{ error }

// CanceledError keeps the SDK from trying again.
func (*noTimeError) CanceledError() bool { return true }

func (l *limited) Do(r *http.Request) (*http.Response, error) {
	if err := l.limit.Wait(r.Context()); err != nil {
		return nil, &noTimeError{err}
	}
	return l.inner.Do(r)
}

// global are services whose events are all in one region of their partition.
var global = map[string]bool{"iam": true, "route53": true, "cloudfront": true}

// A region becomes a part of the host that is asked, so nothing else may stand there.
var (
	regionForm   = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)+-[0-9]+$`)
	regionInZone = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)+-[0-9]+`) // also of us-west-2-lax-1a
)

// home is the region in which CloudTrail has the events of a resource, and the account that it is of: what its attributes
// say, else the region that is given, and "" for an account that they do not tell.
func home(service string, values map[string]string, otherwise string) (region, account string) {
	partition := ""
	said := []string{values["region"], "", regionInZone.FindString(values["availability_zone"]), otherwise}
	if a, err := arn.Parse(values["arn"]); err == nil {
		partition, account, said[1] = a.Partition, a.AccountID, a.Region
	}
	for _, one := range said {
		if region == "" && regionForm.MatchString(one) {
			region = one
		}
	}
	if !global[service] {
		return region, account
	}
	switch {
	case partition == "aws-cn" || partition == "" && strings.HasPrefix(region, "cn-"):
		return "cn-north-1", account
	case partition == "aws-us-gov" || partition == "" && strings.HasPrefix(region, "us-gov-"):
		return "us-gov-west-1", account
	}
	return "us-east-1", account
}

// lookup asks for the events of one name, or remembers what it was told. What came before an error is returned with it.
func (t *Trail) lookup(ctx context.Context, c *client, q question, now time.Time) ([]record, error) {
	t.mu.Lock()
	known, ok := t.answers[q]
	t.mu.Unlock()
	if ok && t.now().Before(known.until) {
		return known.records, nil
	}
	byName := q.lookup.key == types.LookupAttributeKeyEventName
	pages := cloudtrail.NewLookupEventsPaginator(c.api, &cloudtrail.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: q.lookup.key, AttributeValue: aws.String(q.lookup.value)}},
		StartTime:        aws.Time(time.Unix(q.since, 0)), EndTime: aws.Time(now),
	}, func(o *cloudtrail.LookupEventsPaginatorOptions) { o.Limit, o.StopOnDuplicateToken = 50, true })
	var records []record
	for range mostPages {
		if !pages.HasMorePages() {
			break
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return records, err
		}
		for _, e := range page.Events {
			if r, ok := read(e, byName); ok {
				records = append(records, r)
			}
		}
	}
	t.remember(q, records)
	return records, nil
}

// remember keeps an answer for a while. What is too old goes, and of the rest so much that it all stays bounded: an answer
// may have many records.
func (t *Trail) remember(q question, records []record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, size := t.now(), 1+len(records)
	for other, a := range t.answers {
		if other == q || !now.Before(a.until) {
			delete(t.answers, other)
			continue
		}
		size += 1 + len(a.records)
	}
	for other, a := range t.answers {
		if size <= remembered {
			break
		}
		size -= 1 + len(a.records)
		delete(t.answers, other)
	}
	t.answers[q] = answer{records, now.Add(rememberedFor)}
}

// explain turns what AWS says into what to do about it.
func explain(err error) error {
	code := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	switch code {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation":
		return fmt.Errorf("access is denied: these credentials need cloudtrail:LookupEvents: %w", err)
	case "ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException":
		return fmt.Errorf("the credentials are not valid, or not any more: renew them: %w", err)
	case "ThrottlingException", "Throttling", "TooManyRequestsException":
		return fmt.Errorf("somebody else asks CloudTrail of this account as well, and it takes two requests in a second: %w", err)
	}
	return err
}
