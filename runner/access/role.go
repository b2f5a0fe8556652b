package access

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go/logging"
)

// assume gets a session of a role. Whatever is asked on the way, it does not take for ever.
func (b *Broker) assume(ctx context.Context, r request) (aws.Credentials, error) {
	within := 6 * b.opts.Patience // STS may be asked again, and a program be waited for
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := b.ask(limited, r)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = fmt.Errorf("assume %s: it took longer than %s: STS does not answer, or what its credentials come from, such as a credential_process, does not end", r.role, within)
	}
	return c, err
}

// ask asks STS for a session of a role.
func (b *Broker) ask(ctx context.Context, r request) (aws.Credentials, error) {
	settings, err := b.sourceOf(ctx)
	if err != nil {
		return aws.Credentials{}, b.explain(r, err)
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
			return aws.Credentials{}, b.explain(r, err)
		}
		made = out.Credentials
	} else {
		out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &r.role, RoleSessionName: &r.name, DurationSeconds: seconds, Tags: r.tags})
		if err != nil {
			return aws.Credentials{}, b.explain(r, err)
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
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(b.opts.Patience)),
		config.WithProcessCredentialOptions(func(o *processcreds.Options) { o.Timeout = 2 * b.opts.Patience }),
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
// there are no keys, which the SDK would take first. A profile is looked at after it.
func (b *Broker) identityToken() string {
	if b.lookup("AWS_ROLE_ARN") != "" {
		return ""
	}
	return b.tokenFile()
}

// tokenFile is the file of a web identity that the SDK asks with, on the way or for the roles themselves; "" for none.
func (b *Broker) tokenFile() string {
	if b.lookup("AWS_ACCESS_KEY_ID") != "" && b.lookup("AWS_SECRET_ACCESS_KEY") != "" {
		return ""
	}
	return b.lookup("AWS_WEB_IDENTITY_TOKEN_FILE")
}

// lookup is a variable of Plumbline's own environment; "" for none.
func (b *Broker) lookup(name string) string {
	value, _ := b.variable(name) // that it is not set is no mistake
	return value
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
