package planstore

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// permissions are what each request needs, on the bucket or on what it holds.
var permissions = map[string]string{
	"ListObjectsV2":    "s3:ListBucket on the bucket",
	"GetObject":        "s3:GetObject on what it holds",
	"PutObject":        "s3:PutObject on what it holds (and s3:PutObjectTagging, if the location says tags=true)",
	"PutObjectTagging": "s3:PutObjectTagging on what it holds",
	"DeleteObject":     "s3:DeleteObject on what it holds",
}

// kmsPermission is what S3 says to be missing where it is the key that may not be used.
var kmsPermission = regexp.MustCompile(`\bkms:[A-Z][A-Za-z]+`)

// errorCode is the word by which a service names an error, or "".
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// explain turns what S3 says into what it means here, and what to do about it.
func (b *s3Bucket) explain(err error) error {
	if err == nil || errors.Is(err, errExists) {
		return err
	}
	switch code := errorCode(err); code {
	case "NoSuchKey":
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case "NoSuchBucket":
		return fmt.Errorf("there is no bucket %q: make it, or correct the location: %w", b.name, err)
	case "AccessDenied", "Forbidden":
		// S3 asks for the key of its encryption in the caller's name.
		if permission := kmsPermission.FindString(err.Error()); permission != "" {
			return fmt.Errorf("bucket %q may not use the key of its encryption for us: these credentials need %s on it, from IAM and from the key's own policy; or choose another with sse and kms_key of the location: %w",
				b.name, permission, err)
		}
		needed := "s3:ListBucket on it and s3:GetObject, s3:PutObject and s3:DeleteObject on what it holds"
		var op *smithy.OperationError
		if errors.As(err, &op) && permissions[op.OperationName] != "" {
			needed = permissions[op.OperationName]
		}
		return fmt.Errorf("access to bucket %q is denied: these credentials need %s: %w", b.name, needed, err)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return fmt.Errorf("bucket %q refuses the credentials: check the access key and its secret: %w", b.name, err)
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken":
		return fmt.Errorf("the credentials for bucket %q have expired: %s: %w", b.name, renewCredentials, err)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		in := "another region"
		var response *awshttp.ResponseError
		if errors.As(err, &response) && response.HTTPResponse() != nil {
			if region := response.HTTPResponse().Header.Get("X-Amz-Bucket-Region"); region != "" {
				in = "region " + region
			}
		}
		return fmt.Errorf("bucket %q is in %s: write that in the location, as ?region=…: %w", b.name, in, err)
	case "EntityTooLarge", "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return fmt.Errorf("bucket %q takes nothing as large (remove old plans with `plumbline plans prune`, raise its limit, or split the workspace): %w", b.name, err)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("the clock of this machine and that of bucket %q are too far apart: set it: %w", b.name, err)
	default:
		if strings.HasPrefix(code, "KMS.") {
			return fmt.Errorf("bucket %q cannot use the key of its encryption: check sse and kms_key of the location, and that these credentials may use that key: %w", b.name, err)
		}
	}
	if what := unmet(err); what != "" {
		return fmt.Errorf("bucket %q: %s: %w", b.name, what, err)
	}
	var tried *retry.MaxAttemptsError
	if errors.As(err, &tried) {
		return fmt.Errorf("bucket %q did not answer as it should, %d times: try again later: %w", b.name, tried.Attempt, err)
	}
	return err
}

// renewCredentials says what to do when credentials have expired. What was being stored is made again by the next run.
const renewCredentials = "renew them (`aws sso login`, or a new session) and run again, or give Plumbline a source that renews them itself, such as the machine's role"
