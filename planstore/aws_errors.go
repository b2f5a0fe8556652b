package planstore

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
)

// What keeps S3 and KMS alike from being asked at all.

// noCredentials is the error of a request for which the SDK has nothing to sign with.
type noCredentials struct {
	err error
	fix string
}

func (e *noCredentials) Error() string { return e.err.Error() }
func (e *noCredentials) Unwrap() error { return e.err }

// discreet says which errors are about credentials, and keeps what a program has printed out of them: half of it may be
// credentials.
func discreet(p aws.CredentialsProvider) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		c, err := p.Retrieve(ctx)
		var process *processcreds.ProviderError
		switch {
		case err == nil || ctx.Err() != nil: // who gave up lacks no credentials
			return c, err
		case errors.As(err, &process):
			return c, &noCredentials{errors.New("what it printed is not shown"),
				"the credential_process of the AWS profile failed, or printed something else than credentials: run it by hand"}
		}
		return c, &noCredentials{err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE where plumbline runs, renew what has ended (`aws sso login`), or give the machine a role"}
	})
}

// unmet says why a request met no service, and what to do about it; "" if it did, or nobody knows.
func unmet(err error) string {
	// Credentials first: to get some, services are asked, too, and they may be what cannot be reached.
	var none *noCredentials
	if errors.As(err, &none) {
		return "no AWS credentials could be had: " + none.fix
	}
	var name *net.DNSError
	if errors.As(err, &name) && name.IsNotFound {
		return fmt.Sprintf("the service cannot be reached: there is no host %q: check the endpoint, the region and this machine's DNS", name.Name)
	}
	var dial *net.OpError
	if errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect") {
		return "the service cannot be reached: check the endpoint, and the network and proxy between here and there"
	}
	return ""
}

// explainSettings turns what the SDK says about its settings into what to do about it.
func explainSettings(err error) error {
	var profile config.SharedConfigProfileNotExistError
	if errors.As(err, &profile) {
		return fmt.Errorf("there is no AWS profile %q: correct profile in the location, or AWS_PROFILE; `aws configure list-profiles` lists those of this user", profile.Profile)
	}
	return fmt.Errorf("read the settings of AWS: %w", err)
}
