package awstest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/plumbline-dev/plumbline/internal/awstest"
)

// client is the SDK's own, as a program gets it. Change sees a request after it was signed.
func client(t *testing.T, change func(*http.Request)) *kms.Client {
	t.Helper()
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return kms.NewFromConfig(settings, func(o *kms.Options) { o.HTTPClient = transport{change} })
}

// transport changes a request after it was signed.
type transport struct{ change func(*http.Request) }

func (tr transport) Do(r *http.Request) (*http.Response, error) {
	if tr.change != nil {
		tr.change(r)
	}
	return http.DefaultClient.Do(r)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// The SDK understands each answer and each error as the type that it has for it.
func TestKMSSpeaksAsTheSDKDoes(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	c := client(t, nil)
	arn, other := s.AddKey(awstest.Region), s.AddKey(awstest.Region)
	s.SetAlias(awstest.Region, "alias/plans", arn)
	about := map[string]string{"workspace": "a", "run": "1"}
	made, err := c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: aws.String("alias/plans"), KeySpec: types.DataKeySpecAes256, EncryptionContext: about})
	if err != nil || len(made.Plaintext) != 32 || aws.ToString(made.KeyId) != arn || bytes.Contains(made.CiphertextBlob, made.Plaintext) {
		t.Fatalf("generate: %+v, %v", made, err)
	}
	open := func(ctx map[string]string, id *string, blob []byte) ([]byte, error) {
		out, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: ctx, KeyId: id})
		if err != nil {
			return nil, err
		}
		return out.Plaintext, nil
	}
	if got, err := open(about, &arn, made.CiphertextBlob); err != nil || !bytes.Equal(got, made.Plaintext) {
		t.Errorf("decrypt: %v, want the key that was made", err)
	}
	_, err = open(map[string]string{"workspace": "b", "run": "1"}, &arn, made.CiphertextBlob)
	if !errors.As(err, new(*types.InvalidCiphertextException)) {
		t.Errorf("another context: %v", err)
	}
	if _, err = open(about, &other, made.CiphertextBlob); !errors.As(err, new(*types.IncorrectKeyException)) {
		t.Errorf("another key: %v", err)
	}
	s.SetKeyState(arn, "Disabled")
	if _, err = open(about, &arn, made.CiphertextBlob); !errors.As(err, new(*types.DisabledException)) {
		t.Errorf("a disabled key: %v", err)
	}
	s.SetKeyState(arn, "PendingDeletion")
	if _, err = open(about, nil, made.CiphertextBlob); !errors.As(err, new(*types.KMSInvalidStateException)) {
		t.Errorf("a key that waits for its deletion: %v", err)
	}
	s.SetKeyState(arn, "")
	if _, err = open(about, &arn, made.CiphertextBlob); !errors.As(err, new(*types.NotFoundException)) {
		t.Errorf("a deleted key: %v", err)
	}
	if _, err = open(about, nil, made.CiphertextBlob); !errors.As(err, new(*types.InvalidCiphertextException)) {
		t.Errorf("what a deleted key wrapped: %v", err)
	}
	if calls := s.Calls(); len(calls) != 8 || calls[0].Operation != "GenerateDataKey" || calls[0].Context["workspace"] != "a" || calls[3].Error != "IncorrectKeyException" {
		t.Errorf("the calls were %+v", calls)
	}
}

// Whatever of a request is not as it was signed, or not of the model, is refused.
func TestRequestsThatAreRefused(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	arn := s.AddKey(awstest.Region)
	s.AddSession("ASIASESSION", "session-secret", "session-token")
	s.AddSession("ASIAOLD", "session-secret", "session-token")
	s.Expire("ASIAOLD")
	body := func(change func(string) string) func(*http.Request) {
		return func(r *http.Request) {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			changed := change(string(text))
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
		}
	}
	for _, c := range []struct {
		name   string
		env    []string
		change func(*http.Request)
		deny   bool
		want   string
	}{
		{name: "as it is", want: ""},
		{name: "a session", env: []string{"AWS_ACCESS_KEY_ID=ASIASESSION", "AWS_SECRET_ACCESS_KEY=session-secret", "AWS_SESSION_TOKEN=session-token"}},
		{name: "a session with another token", env: []string{"AWS_ACCESS_KEY_ID=ASIASESSION", "AWS_SECRET_ACCESS_KEY=session-secret", "AWS_SESSION_TOKEN=x"}, want: "UnrecognizedClientException"},
		{name: "a session that ended", env: []string{"AWS_ACCESS_KEY_ID=ASIAOLD", "AWS_SECRET_ACCESS_KEY=session-secret", "AWS_SESSION_TOKEN=session-token"}, want: "ExpiredTokenException"},
		{name: "a wrong secret", env: []string{"AWS_SECRET_ACCESS_KEY=x"}, want: "InvalidSignatureException"},
		{name: "a wrong key", env: []string{"AWS_ACCESS_KEY_ID=x"}, want: "UnrecognizedClientException"},
		{name: "another body", change: body(func(s string) string { return strings.Replace(s, "AES_256", "AES_128", 1) }), want: "InvalidSignatureException"},
		{name: "another header", change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") }, want: "InvalidSignatureException"},
		{name: "another region", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), awstest.Region, "us-east-1", 1))
		}, want: "InvalidSignatureException"},
		{name: "another service", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/kms/", "/sts/", 1))
		}, want: "InvalidSignatureException"},
		{name: "another time", change: func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(-time.Minute).UTC().Format("20060102T150405Z"))
		}, want: "InvalidSignatureException"},
		{name: "no signature", change: func(r *http.Request) { r.Header.Del("Authorization") }, want: "MissingAuthenticationTokenException"},
		{name: "an unknown operation", change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Nothing") }, want: "UnknownOperationException"},
		{name: "not allowed", deny: true, want: "AccessDeniedException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, kv := range c.env {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			s.Deny("GenerateDataKey", c.deny)
			_, err := client(t, c.change).GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256})
			if code(err) != c.want || err != nil && c.want == "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A request that is signed well is still held to the model of its operation.
func TestRequestsOutsideTheModelAreRefused(t *testing.T) {
	s := awstest.New(t)
	s.Setenv(t)
	for _, text := range []string{`{"KeyId":"a","KeySpec":"AES_256","Nonsense":1}`, `{"keyId":"a"}`, `{"KeyId":5}`, `not json`} {
		err := signed(t, text)
		if code(err) != "SerializationException" {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := signed(t, `{"KeyId":"a","KeySpec":"AES_256"}`); code(err) != "NotFoundException" {
		t.Errorf("a request of the model: %v", err)
	}
}

// signed sends a text of ours as the body of a GenerateDataKey, with the SDK's signature for it.
func signed(t *testing.T, text string) error {
	t.Helper()
	settings, err := config.LoadDefaultConfig(t.Context(), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	replace := middleware.SerializeMiddlewareFunc("replace the body", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
		r, err := in.Request.(*smithyhttp.Request).SetStream(strings.NewReader(text))
		if err != nil {
			return middleware.SerializeOutput{}, middleware.Metadata{}, err
		}
		in.Request = r
		return next.HandleSerialize(ctx, in)
	})
	c := kms.NewFromConfig(settings, func(o *kms.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Serialize.Add(replace, middleware.After) })
	})
	_, err = c.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: aws.String("x"), KeySpec: types.DataKeySpecAes256})
	return err
}
