package planstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
)

const (
	// attempts is how often the SDK tries a request that may succeed later, if AWS_MAX_ATTEMPTS and the profile do not say.
	attempts = 5

	// maxBackoff bounds the pause between two attempts: a person may be waiting.
	maxBackoff = 10 * time.Second

	// answerTimeout is how long a server may take to begin its answer, and how long a body may stall.
	answerTimeout = time.Minute
)

// s3Location is what an address s3://BUCKET/PREFIX?NAME=VALUE says.
type s3Location struct {
	bucket, prefix            string
	endpoint, region, profile string
	pathStyle, tags           bool
	sse                       types.ServerSideEncryption
	sseKey                    string
}

// parseS3 reads an address of which the scheme is known.
func parseS3(u *url.URL) (s3Location, error) {
	l := s3Location{bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if l.bucket == "" {
		return l, errors.New("the location names no bucket: give s3://BUCKET/PREFIX")
	}
	failed := func(format string, args ...any) (s3Location, error) {
		return s3Location{}, fmt.Errorf("location %s: %w", l.place(), fmt.Errorf(format, args...))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return failed("what follows the question mark is not of the form NAME=VALUE&NAME=VALUE")
	}
	l.pathStyle = query.Get("endpoint") != ""
	for name := range query {
		value := query.Get(name)
		switch name {
		case "endpoint":
			if e, err := url.Parse(value); err != nil || e.Host == "" || e.User != nil {
				return failed("endpoint must be a URL without credentials, such as https://s3.example.com")
			}
			l.endpoint = value
		case "region":
			l.region = value
		case "profile":
			l.profile = value
		case "path_style", "tags":
			if value != "true" && value != "false" {
				return failed("%s must be true or false", name)
			}
			if name == "tags" {
				l.tags = value == "true"
			} else {
				l.pathStyle = value == "true"
			}
		case "sse":
			switch l.sse = types.ServerSideEncryption(value); l.sse {
			case types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
			default:
				return failed("sse must be AES256, aws:kms or aws:kms:dsse")
			}
		case "kms_key":
			if err := checkKMSKey(value); err != nil {
				return failed("kms_key: %w", err)
			}
			l.sseKey = value
		default:
			return failed("there is no parameter %q; there are endpoint, kms_key, path_style, profile, region, sse and tags", name)
		}
	}
	if l.sseKey != "" && l.sse != types.ServerSideEncryptionAwsKms && l.sse != types.ServerSideEncryptionAwsKmsDsse {
		return failed("kms_key needs sse=aws:kms: it is the key that S3 encrypts with")
	}
	return l, nil
}

// place is the address for people: it holds nothing that could be secret.
func (l s3Location) place() string { return strings.TrimSuffix("s3://"+l.bucket+"/"+l.prefix, "/") }

// openS3 opens a bucket. What the address leaves out comes from where the AWS SDK looks by default: environment, shared
// files, the machine's role. A body may stall for as long as idle.
func openS3(ctx context.Context, l s3Location, idle time.Duration) (bucket, string, error) {
	settings, err := loadAWS(ctx, l.region, l.profile, answerTimeout)
	if err != nil {
		return nil, "", fmt.Errorf("location %s: %w", l.place(), err)
	}
	if settings.Region == "" {
		if l.endpoint == "" {
			return nil, "", fmt.Errorf("location %s: no region is known: add ?region=REGION or set AWS_REGION", l.place())
		}
		settings.Region = "us-east-1" // what servers outside AWS expect by default
	}
	settings.HTTPClient = streaming(settings.HTTPClient, idle)
	client := s3.NewFromConfig(settings, func(o *s3.Options) {
		o.UsePathStyle = l.pathStyle
		if l.endpoint != "" {
			o.BaseEndpoint = aws.String(l.endpoint)
		}
		// Many servers besides AWS refuse the SDK's own way of sending checksums. We send the header that all know or
		// ignore, and check what comes back if there is something to check it against.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	prefix := l.prefix
	if prefix != "" {
		prefix += "/"
	}
	return &s3Bucket{client: client, name: l.bucket, prefix: prefix, sse: l.sse, sseKey: l.sseKey, tags: l.tags}, l.place(), nil
}

// loadAWS reads the SDK's settings, and bounds what the SDK does. A whole answer may take as long as timeout, which is right for
// small ones, such as those that credentials come from.
func loadAWS(ctx context.Context, region, profile string, timeout time.Duration) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what matters is in the errors
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(timeout).WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = answerTimeout
			t.MaxIdleConnsPerHost = 16
		})),
	}
	if region != "" {
		load = append(load, config.WithRegion(region))
	}
	if profile != "" {
		load = append(load, config.WithSharedConfigProfile(profile))
	}
	settings, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, explainSettings(err)
	}
	tries := settings.RetryMaxAttempts
	if tries <= 0 {
		tries = attempts
	}
	settings.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = tries
			o.MaxBackoff = maxBackoff
			// Two conditional writes that meet: the second attempt learns how the other one ended.
			o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{"ConditionalRequestConflict": {}}},
				// An answer that was cut off. Whatever we ask for may be asked for twice.
				retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
					if errors.Is(err, io.ErrUnexpectedEOF) {
						return aws.TrueTernary
					}
					return aws.UnknownTernary
				}))
		})
	}
	if settings.Credentials != nil {
		settings.Credentials = discreet(settings.Credentials)
	}
	return settings, nil
}
