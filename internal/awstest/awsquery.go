package awstest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// The SDK has no schemas of STS to write shapes from, so its client is asked: what a request says is read into the SDK's
// type, the client writes that again, and both must say the same. Our answer is read by the same client, and must come out
// as the type that it was written from.

// queryVersion is the version of STS's API.
const queryVersion = "2011-06-15"

// queryName is what an operation of the query protocol is known by.
func queryName(action string) string { return "query." + action }

// handleQuery adds an operation of STS. call has the SDK's client make it.
func handleQuery[In, Out any](s *Server, name string, signed bool, call func(*sts.Client, *In) (*Out, error), handle func(*Call, *In) (*Out, error)) {
	s.operations[queryName(name)] = operation{name: name, service: "sts", query: true, unsigned: !signed, handle: func(c *Call, body []byte) ([]byte, error) {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, failure("MalformedQueryString", "%v", err)
		}
		var in In
		if err := readForm(reflect.ValueOf(&in).Elem(), form, ""); err != nil {
			return nil, failure("ValidationError", "%v", err)
		}
		// An answer is only to be had for what the model would have asked.
		again, _, err := exchange(call, &in, nil)
		if err != nil || !reflect.DeepEqual(again, form) {
			return nil, failure("ValidationError", "%s: the request is not what the model would write (%v)", name, err)
		}
		out, err := handle(c, &in)
		if err != nil {
			return nil, err
		}
		answer := writeAnswer(name, out)
		_, read, err := exchange(call, &in, answer)
		if err != nil {
			return nil, fmt.Errorf("%s: the SDK does not understand the answer: %w", name, err)
		}
		forget(read)
		if !reflect.DeepEqual(read, out) {
			return nil, fmt.Errorf("%s: the SDK understands the answer as something else", name)
		}
		return answer, nil
	}}
}

// exchange has the SDK make a call to nobody: it returns what was sent and, where an answer is given, how that was read.
func exchange[In, Out any](call func(*sts.Client, *In) (*Out, error), in *In, answer []byte) (url.Values, *Out, error) {
	line := &deadEnd{answer: answer}
	client := sts.New(sts.Options{
		Region: Region, HTTPClient: line, Credentials: aws.CredentialsProviderFunc(nobody), RetryMaxAttempts: 1,
		BaseEndpoint: aws.String("http://sts.invalid"),
	})
	out, err := call(client, in)
	if answer == nil && line.form != nil {
		err = nil // there was nothing to read
	}
	return line.form, out, err
}

func nobody(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
}

// deadEnd keeps what was sent, and answers the same to everything.
type deadEnd struct {
	form   url.Values
	answer []byte
}

func (d *deadEnd) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if d.form, err = url.ParseQuery(string(body)); err != nil {
		return nil, err
	}
	if d.answer == nil {
		return nil, errors.New("nobody is there")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(d.answer))}, nil
}

// forget takes out of an answer what is the client's own.
func forget(out any) {
	if meta := reflect.ValueOf(out).Elem().FieldByName("ResultMetadata"); meta.IsValid() {
		meta.Set(reflect.ValueOf(middleware.Metadata{}))
	}
}

// readForm fills in a shape from the fields of a form whose names begin with a prefix. What it has no place for is noticed
// when the shape is written again.
func readForm(shape reflect.Value, form url.Values, prefix string) error {
	for i := range shape.NumField() {
		field, name := shape.Field(i), prefix+shape.Type().Field(i).Name
		if !field.CanSet() {
			continue
		}
		switch to := field.Addr().Interface().(type) {
		case **string:
			if form.Has(name) {
				*to = aws.String(form.Get(name))
			}
		case **int32:
			if !form.Has(name) {
				continue
			}
			n, err := strconv.ParseInt(form.Get(name), 10, 32)
			if err != nil {
				return fmt.Errorf("%s is no number", name)
			}
			*to = aws.Int32(int32(n))
		default:
			if field.Kind() != reflect.Slice || field.Type().Elem().Kind() != reflect.Struct {
				continue
			}
			for n := 1; ; n++ {
				item := fmt.Sprintf("%s.member.%d.", name, n)
				if !hasPrefix(form, item) {
					break
				}
				one := reflect.New(field.Type().Elem()).Elem()
				if err := readForm(one, form, item); err != nil {
					return err
				}
				field.Set(reflect.Append(field, one))
			}
		}
	}
	return nil
}

func hasPrefix(form url.Values, prefix string) bool {
	for name := range form {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// writeAnswer writes a shape as the query protocol has it.
func writeAnswer(action string, out any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/%s/\"><%sResult>", action, queryVersion, action)
	writeFields(&b, reflect.ValueOf(out).Elem())
	fmt.Fprintf(&b, "</%sResult><ResponseMetadata><RequestId>test</RequestId></ResponseMetadata></%sResponse>", action, action)
	return b.Bytes()
}

func writeFields(b *bytes.Buffer, shape reflect.Value) {
	for i := range shape.NumField() {
		field := shape.Field(i)
		if field.Kind() != reflect.Pointer || field.IsNil() {
			continue // nothing that STS answers is anything else
		}
		name := shape.Type().Field(i).Name
		fmt.Fprintf(b, "<%s>", name)
		switch v := field.Interface().(type) {
		case *string:
			_ = xml.EscapeText(b, []byte(*v)) // a buffer takes everything
		case *int32:
			fmt.Fprint(b, *v)
		case *time.Time:
			b.WriteString(v.UTC().Format(time.RFC3339))
		default:
			writeFields(b, field.Elem())
		}
		fmt.Fprintf(b, "</%s>", name)
	}
}

// queryCodes are what the query protocol calls what is wrong with a signature.
var queryCodes = map[string]string{
	"MissingAuthenticationTokenException": "MissingAuthenticationToken", "IncompleteSignatureException": "IncompleteSignature",
	"UnrecognizedClientException": "InvalidClientTokenId", "InvalidSignatureException": "SignatureDoesNotMatch",
	"ExpiredTokenException": "ExpiredToken", "AccessDeniedException": "AccessDenied", "UnknownOperationException": "InvalidAction",
}

// writeQueryError writes an error as the query protocol has it.
func writeQueryError(w http.ResponseWriter, err error) {
	code, message, status, kind := "InternalFailure", err.Error(), http.StatusInternalServerError, "Receiver"
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message, status, kind = api.ErrorCode(), api.ErrorMessage(), http.StatusBadRequest, "Sender"
	}
	var general *smithy.GenericAPIError // other ones have their codes from the model
	if other, ok := queryCodes[code]; ok && errors.As(err, &general) {
		code, status = other, http.StatusForbidden
	}
	if code == "AccessDenied" {
		status = http.StatusForbidden
	}
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(message)) // a buffer takes everything
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/%s/\"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>test</RequestId></ErrorResponse>",
		queryVersion, kind, code, text.String()) // the caller may have gone
}
