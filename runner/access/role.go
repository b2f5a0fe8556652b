package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// answerTimeout is how long STS may take to begin an answer.
const answerTimeout = 30 * time.Second

// assume asks STS for a session of a role.
func (b *Broker) assume(ctx context.Context, r request) (aws.Credentials, error) {
	settings, err := b.sourceOf(ctx)
	if err != nil {
		return aws.Credentials{}, explain(r, err)
	}
	client := sts.NewFromConfig(settings, func(o *sts.Options) { o.Region = cmp.Or(r.region, settings.Region, homeRegion(r.role)) })
	seconds := aws.Int32(int32(r.lasts / time.Second))
	var made *types.Credentials
	if token := b.identityToken(); token != "" {
		if len(r.tags) > 0 {
			return aws.Credentials{}, fmt.Errorf("assume %s with the token of AWS_WEB_IDENTITY_TOKEN_FILE: session_tags cannot be given with it, only its issuer can put tags in: "+
				"set AWS_ROLE_ARN to a role that then assumes this one, or session_tags: false; the session's name says the same in short", r.role)
		}
		text, err := readFile(token) // it is renewed while we run
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("assume %s: the token of AWS_WEB_IDENTITY_TOKEN_FILE: %w", r.role, err)
		}
		out, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: &r.role, RoleSessionName: &r.name, DurationSeconds: seconds, WebIdentityToken: aws.String(strings.TrimSpace(text)),
		})
		if err != nil {
			return aws.Credentials{}, explain(r, err)
		}
		made = out.Credentials
	} else {
		out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &r.role, RoleSessionName: &r.name, DurationSeconds: seconds, Tags: r.tags})
		if err != nil {
			return aws.Credentials{}, explain(r, err)
		}
		made = out.Credentials
	}
	if made == nil || aws.ToString(made.AccessKeyId) == "" || aws.ToString(made.SecretAccessKey) == "" || aws.ToString(made.SessionToken) == "" {
		return aws.Credentials{}, fmt.Errorf("assume %s: STS answered without credentials", r.role)
	}
	return aws.Credentials{
		AccessKeyID: *made.AccessKeyId, SecretAccessKey: *made.SecretAccessKey, SessionToken: *made.SessionToken,
		Expires: aws.ToTime(made.Expiration), CanExpire: true,
	}, nil
}

// sourceOf is what STS is asked with: the SDK's default chain, which is walked once and renews by itself.
func (b *Broker) sourceOf(ctx context.Context) (aws.Config, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.source != nil {
		return *b.source, nil
	}
	load := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what matters is in the errors
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answerTimeout })),
	}
	if b.identityToken() != "" {
		load = append(load, config.WithCredentialsProvider(aws.AnonymousCredentials{})) // the token is all there is
	}
	settings, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, err
	}
	b.source = &settings
	return settings, nil
}

// identityToken is the file of a web identity that assumes the roles itself: when no role of its own is named for it, and
// there are no keys, which the SDK would take first.
func (b *Broker) identityToken() string {
	get := func(name string) string {
		value, err := b.variable(name)
		if err != nil {
			return ""
		}
		return value
	}
	if get("AWS_ROLE_ARN") != "" || get("AWS_ACCESS_KEY_ID") != "" || get("AWS_PROFILE") != "" {
		return ""
	}
	return get("AWS_WEB_IDENTITY_TOKEN_FILE")
}

// homeRegion is where STS of a role's partition always is.
func homeRegion(arn string) string {
	switch {
	case strings.HasPrefix(arn, "arn:aws-cn:"):
		return "cn-north-1"
	case strings.HasPrefix(arn, "arn:aws-us-gov:"):
		return "us-gov-west-1"
	}
	return "us-east-1"
}

// explain turns what went wrong into what to do about it. It repeats no more than AWS's own words: a program that makes
// credentials may have printed half of them.
func explain(r request, err error) error {
	failed := func(format string, args ...any) error {
		return fmt.Errorf("assume %s: %s", r.role, fmt.Sprintf(format, args...))
	}
	var api smithy.APIError
	var process *processcreds.ProviderError
	var unreachable net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &process):
		return failed("the credential_process of the AWS profile failed, or printed something else than credentials (what it printed is not shown: run it by hand)")
	case errors.As(err, &api):
		return failed("%s", sts403(r, api))
	case errors.As(err, &unreachable):
		return failed("STS cannot be reached: %v", unreachable)
	case strings.Contains(err.Error(), "failed to refresh cached credentials"), strings.Contains(err.Error(), "get identity: get credentials"):
		return failed("there are no AWS credentials to ask with: set them where plumbline runs, or give the machine a role")
	}
	return failed("%v", err)
}

// sts403 explains an answer of STS.
func sts403(r request, api smithy.APIError) string {
	code, message := api.ErrorCode(), api.ErrorMessage()
	said := fmt.Sprintf("%s (%s)", message, code)
	switch code {
	case "AccessDenied", "AccessDeniedException":
		need := "the trust policy of the role must name who asks, and allow sts:AssumeRole"
		if len(r.tags) > 0 {
			need += " and, because of session_tags, sts:TagSession"
		}
		return said + ": " + need + "; a role that does not exist is answered in the same way"
	case "ExpiredToken", "ExpiredTokenException":
		return said + ": the credentials that roles are assumed with have ended: renew them where plumbline runs"
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "UnrecognizedClientException":
		return said + ": AWS refuses the credentials that roles are assumed with: check the access key, its secret, and this machine's clock"
	case "InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError":
		return said + ": AWS refuses the token of the web identity: check its issuer and audience, and the identity provider in IAM"
	case "PackedPolicyTooLarge", "PackedPolicyTooLargeException":
		return said + ": the tags are too much for a session: set session_tags: false"
	case "RegionDisabledException":
		return said + ": STS is switched off for that region in the account: set aws.region to another one"
	case "ValidationError":
		if strings.Contains(message, "DurationSeconds") || strings.Contains(message, "durationSeconds") {
			return said + ": set aws.duration to less, or the role's longest session to more; a session made with another role lasts 1h at most"
		}
	}
	return said
}
