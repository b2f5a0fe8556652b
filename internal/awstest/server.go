// Package awstest stands in for services of AWS that have no server to run in a test: KMS, STS and CloudTrail.
//
// A Server is one listener, as one AWS account is to its SDK: programs find it through the environment (see
// Server.Environ), sign their requests, and are answered in the service's own wire format. It holds both sides to what
// the SDK knows of a service. A signature is verified by signing the same request again. What a request says is read into
// the SDK's own type and written again from its model, and must be the same; an answer is written from that model, too. So
// neither a wrong name nor a wrong type passes, nor a field that the service does not have.
//
// It knows nothing of policies: who may do what is told with Deny, and who may assume a role with AddRole. It is for tests
// only.
package awstest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"
)

// The credentials that a new server takes.
const (
	AccessKey = "AKIAPLUMBLINETEST001"
	SecretKey = "plumbline-test-secret-of-aws"
	Region    = "eu-central-1"
	Account   = "111122223333"
)

// Server is a running stand-in, for one test.
type Server struct {
	URL string

	operations map[string]operation // by X-Amz-Target, or by queryName
	now        func() time.Time

	mu          sync.Mutex
	credentials map[string]credentials // by access key
	denied      map[string]bool        // by operation
	calls       []Call
	keys        map[string]*key   // by ARN
	aliases     map[string]string // region and alias to ARN
	roles       map[string]Role   // by ARN
	sessions    []Session
	trail       trail
}

// credentials are those of a caller.
type credentials struct {
	secret  string
	token   string // "" unless they are of a session
	expired bool
	// Of a session that STS has made: its role, the ARN of who has it, and when it ends.
	role, user string
	ends       time.Time
}

// Call is a request whose signature was good, or that needs none.
type Call struct {
	Operation string // such as GenerateDataKey
	AccessKey string
	Region    string
	// Context is the encryption context that KMS was told.
	Context map[string]string
	// Looked is what CloudTrail was asked for, as KEY=VALUE.
	Looked string
	// Error is the code of the error that was answered, or "".
	Error string
}

// operation is what the server can be asked for.
type operation struct {
	name    string
	service string // in the scope of the signature
	// query says that it is asked for and answered as awsQuery has it, unsigned that nobody signs it.
	query, unsigned bool
	handle          func(c *Call, body []byte) ([]byte, error)
}

// New starts a server, and stops it when the test ends.
func New(t testing.TB) *Server {
	s := &Server{
		operations: make(map[string]operation),
		now:        time.Now,
		credentials: map[string]credentials{
			AccessKey: {secret: SecretKey},
		},
		denied:  make(map[string]bool),
		keys:    make(map[string]*key),
		aliases: make(map[string]string),
		roles:   make(map[string]Role),
	}
	s.addKMS()
	s.addSTS()
	s.addCloudTrail()
	front := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(front.Close)
	s.URL = front.URL
	return s
}

// Environ is the environment in which the SDK finds the server and nothing else.
func (s *Server) Environ() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_KMS":        s.URL,
		"AWS_ENDPOINT_URL_STS":        s.URL,
		"AWS_ENDPOINT_URL_CLOUDTRAIL": s.URL,
		"AWS_REGION":                  Region,
		"AWS_ACCESS_KEY_ID":           AccessKey,
		"AWS_SECRET_ACCESS_KEY":       SecretKey,
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_ROLE_ARN":                "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"AWS_CONFIG_FILE":             "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_EC2_METADATA_DISABLED":   "true",
	}
}

// Setenv sets Environ for the rest of a test.
func (s *Server) Setenv(t *testing.T) {
	for name, value := range s.Environ() {
		t.Setenv(name, value)
	}
}

// AddSession makes the server take the credentials of a session.
func (s *Server) AddSession(accessKey, secret, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials[accessKey] = credentials{secret: secret, token: token}
}

// Expire ends credentials.
func (s *Server) Expire(accessKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.credentials[accessKey]
	c.expired = true
	s.credentials[accessKey] = c
}

// Deny refuses an operation, such as Decrypt, to everybody, or allows it again.
func (s *Server) Deny(operation string, deny bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[operation] = deny
}

// Calls returns the requests so far whose signature was good, or that need none.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := slices.Clone(s.calls)
	for i := range calls {
		calls[i].Context = maps.Clone(calls[i].Context)
	}
	return calls
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the caller has gone
	}
	target, fail, contentType := r.Header.Get("X-Amz-Target"), writeError, "application/x-amz-json-1.1"
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ := url.ParseQuery(string(body)) // what cannot be read asks for nothing that is there
		target, fail, contentType = queryName(form.Get("Action")), writeQueryError, "text/xml"
	}
	op, known := s.operations[target]
	if !known || r.Method != http.MethodPost || r.URL.Path != "/" {
		fail(w, failure("UnknownOperationException", "there is no %q here", target))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var c Call
	if !op.unsigned {
		if c, err = s.verify(r, body, op.service); err != nil {
			fail(w, err)
			return
		}
	}
	c.Operation = op.name
	var answer []byte
	if s.denied[op.name] {
		err = failure("AccessDeniedException", "User: arn:aws:iam::%s:user/test is not authorized to perform: %s:%s", Account, op.service, op.name)
	} else {
		answer, err = op.handle(&c, body)
	}
	if err != nil {
		c.Error = errorCode(err)
	}
	s.calls = append(s.calls, c)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(answer) // the caller may have gone
}

// failure is an error that has no type in a service's model: those of signatures and policies.
func failure(code, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(format, args...), Fault: smithy.FaultClient}
}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "InternalFailure"
}
