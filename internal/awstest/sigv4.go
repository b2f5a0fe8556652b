package awstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// skew is how far a request's clock may be from ours, as with AWS.
const skew = 5 * time.Minute

// verify checks a request's signature, version 4, by making it again:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
func (s *Server) verify(r *http.Request, body []byte, service string) (Call, error) {
	refused := func(code, format string, args ...any) (Call, error) { return Call{}, failure(code, format, args...) }
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return refused("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	said := make(map[string]string)
	for _, field := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		said[name] = value
	}
	scope := strings.Split(said["Credential"], "/") // KEY/DATE/REGION/SERVICE/aws4_request
	if len(scope) != 5 || scope[4] != "aws4_request" {
		return refused("IncompleteSignatureException", "the credential %q is not of the form KEY/DATE/REGION/SERVICE/aws4_request", said["Credential"])
	}
	signed := strings.Split(said["SignedHeaders"], ";")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch who, known := s.credentials[scope[0]]; {
	case err != nil || scope[1] != at.Format("20060102"):
		return refused("IncompleteSignatureException", "the date of the request is not that of its credential")
	case !known:
		return refused("UnrecognizedClientException", "The security token included in the request is invalid.")
	case scope[3] != service:
		return refused("InvalidSignatureException", "Credential should be scoped to correct service: '%s'.", service)
	case s.now().Sub(at).Abs() > skew:
		return refused("InvalidSignatureException", "Signature not yet current or expired: %s is not within %s of %s", at, skew, s.now().UTC())
	case who.token != r.Header.Get("X-Amz-Security-Token"):
		return refused("UnrecognizedClientException", "The security token included in the request is invalid.")
	case who.expired, !who.ends.IsZero() && s.now().After(who.ends):
		return refused("ExpiredTokenException", "The security token included in the request is expired")
	default:
		again, err := sign(r, body, signed, who, scope[0], service, scope[2], at)
		if err != nil {
			return refused("InternalFailure", "sign the request again: %v", err)
		}
		if again != r.Header.Get("Authorization") {
			return refused("InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")
		}
	}
	return Call{AccessKey: scope[0], Region: scope[2]}, nil
}

// sign returns the Authorization that a request would have if who had signed it.
func sign(r *http.Request, body []byte, headers []string, who credentials, accessKey, service, region string, at time.Time) (string, error) {
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return "", err
	}
	for _, name := range headers {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = int64(len(body))
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{
		AccessKeyID: accessKey, SecretAccessKey: who.secret, SessionToken: who.token,
	}, again, hex.EncodeToString(sum[:]), service, region, at)
	return again.Header.Get("Authorization"), err
}
