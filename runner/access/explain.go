package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// What is asked of STS, as the SDK names it.
const (
	byCredentials = "AssumeRole"
	byToken       = "AssumeRoleWithWebIdentity"
)

// asking is the request that went wrong. Roles may be assumed one by the other, and it is not always the last.
type asking struct {
	service, operation string // "" when nobody was asked
	// role is what was to be assumed, in words; before says that it is not a workspace's, but one on the way there.
	role   string
	before bool
	tags   bool
}

// asked tells which request of several went wrong: the innermost.
func (b *Broker) asked(r request, err error) asking {
	a := asking{role: r.role, tags: len(r.tags) > 0}
	depth := 0
	for op := (*smithy.OperationError)(nil); errors.As(err, &op); depth++ {
		a.service, a.operation, err = op.ServiceID, op.OperationName, op.Err
	}
	if depth > 1 {
		a.before, a.tags, a.role = true, false, "the role of the AWS profile"
		if arn := b.lookup("AWS_ROLE_ARN"); arn != "" && b.tokenFile() != "" {
			a.role = arn + " (AWS_ROLE_ARN)"
		}
	}
	return a
}

// explain turns what went wrong into what to do about it. It repeats no more than AWS's own words: a program that makes
// credentials may have printed half of them.
func (b *Broker) explain(r request, err error) error {
	a := b.asked(r, err)
	failed := func(format string, args ...any) error {
		text := fmt.Sprintf(format, args...)
		if a.before && a.service == sts.ServiceID {
			text = fmt.Sprintf("first %s must be assumed, and that failed: %s", a.role, text)
		}
		return fmt.Errorf("assume %s: %s", r.role, text)
	}
	var api smithy.APIError
	var process *processcreds.ProviderError
	var unreachable net.Error
	var profile config.SharedConfigProfileNotExistError
	nothing := "there are no AWS credentials to ask with: set them where plumbline runs, or give the machine a role"
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &profile):
		return failed("there is no AWS profile %q: correct AWS_PROFILE where plumbline runs", profile.Profile)
	case errors.As(err, &process):
		return failed("the credential_process of the AWS profile failed, or printed something else than credentials (what it printed is not shown: run it by hand)")
	case strings.Contains(err.Error(), "failed to retrieve jwt"): // the SDK has no error of its own for it
		return failed("%v", b.tokenMissing())
	case a.service == "ec2imds":
		return failed("%s", nothing)
	case errors.As(err, &api) && a.before && a.service != sts.ServiceID:
		return failed("the credentials to ask with cannot be had from %s: %s (%s)", a.service, api.ErrorMessage(), api.ErrorCode())
	case errors.As(err, &api):
		return failed("%s", refusedBySTS(a, api))
	case errors.As(err, &unreachable) && a.service != "":
		return failed("%s cannot be reached: %v", a.service, unreachable)
	case strings.Contains(err.Error(), "failed to refresh cached credentials"), strings.Contains(err.Error(), "get identity: get credentials"):
		return failed("%s", nothing)
	}
	return failed("%v", err)
}

// tokenMissing says why the token of a web identity cannot be read.
func (b *Broker) tokenMissing() error {
	file := b.tokenFile()
	if file == "" {
		return errors.New("the web_identity_token_file of the AWS profile cannot be read")
	}
	_, err := readFile(file)
	if err == nil {
		err = errors.New("it could not be read a moment ago")
	}
	return fmt.Errorf("the token of AWS_WEB_IDENTITY_TOKEN_FILE: %w", err)
}

// refusedBySTS explains an answer of STS.
func refusedBySTS(a asking, api smithy.APIError) string {
	code, message := api.ErrorCode(), api.ErrorMessage()
	said := fmt.Sprintf("%s (%s)", message, code)
	switch code {
	case "AccessDenied", "AccessDeniedException":
		return said + ": " + neededFor(a) + "; a role that does not exist is answered in the same way"
	case "ExpiredToken", "ExpiredTokenException":
		if a.operation == byToken {
			return said + ": the token of the web identity has ended: whoever issues it must write a new one to its file"
		}
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
		if !a.before && (strings.Contains(message, "DurationSeconds") || strings.Contains(message, "durationSeconds")) {
			return said + ": set aws.duration to less, or the role's longest session to more; a session made with another role lasts 1h at most"
		}
	}
	return said
}

// neededFor says who must allow what for a role to be assumed.
func neededFor(a asking) string {
	if a.operation == byToken {
		return fmt.Sprintf("the trust policy of %s must name the token's issuer, allow sts:%s, and have no condition that the token fails", a.role, byToken)
	}
	need := "sts:" + byCredentials
	if a.tags {
		need += " and, because of session_tags, sts:TagSession"
	}
	return fmt.Sprintf("the trust policy of %s must name who asks, and allow %s; a policy of who asks must allow the same on that role", a.role, need)
}
