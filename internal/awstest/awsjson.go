package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// handleJSON adds an operation of a service that speaks awsJson 1.1. The schemas are the SDK's model of it.
func handleJSON[In, Out any, PIn interface {
	*In
	smithy.Serializable
}, POut interface {
	*Out
	smithy.Serializable
}](s *Server, scope string, service *smithy.ServiceSchema, schema, input, output *smithy.Schema, handle func(*Call, *In) (*Out, error)) {
	protocol := awsjson.New11(service)
	name := schema.ID().Name
	s.operations[service.Schema.ID().Name+"."+name] = operation{name: name, service: scope, handle: func(c *Call, body []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, failure("SerializationException", "%v", err)
		}
		op := smithy.NewOperationSchema(schema, input, output)
		if again, err := write(protocol, op, PIn(&in)); err != nil || !sameJSON(again, body) {
			return nil, failure("SerializationException", "%s: the request is not what the model would write (%v)", name, err)
		}
		out, err := handle(c, &in)
		if err != nil {
			return nil, err
		}
		// An answer has the form of a request: a shape of the model, as JSON.
		return write(protocol, smithy.NewOperationSchema(schema, output, output), POut(out))
	}}
}

// write writes a shape as the protocol does.
func write(protocol *awsjson.Protocol, schema *smithy.OperationSchema, shape smithy.Serializable) ([]byte, error) {
	r := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	if err := protocol.SerializeRequest(context.Background(), schema, shape, r); err != nil {
		return nil, err
	}
	return io.ReadAll(r.GetStream())
}

func sameJSON(a, b []byte) bool {
	var first, second any
	return json.Unmarshal(a, &first) == nil && json.Unmarshal(b, &second) == nil && reflect.DeepEqual(first, second)
}

// writeError writes an error as awsJson 1.1 has it.
func writeError(w http.ResponseWriter, err error) {
	code, message, status := "InternalFailure", err.Error(), http.StatusInternalServerError
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message, status = api.ErrorCode(), api.ErrorMessage(), http.StatusBadRequest
	}
	var text bytes.Buffer
	_ = json.NewEncoder(&text).Encode(map[string]string{"__type": code, "message": message}) // strings always encode
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, text.String()) // the caller may have gone
}
