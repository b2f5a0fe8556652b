package planstore

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// streaming is a client for bodies that may take long: in the place of a time for the whole answer, it bounds how long no
// byte of it may come.
func streaming(client aws.HTTPClient, idle time.Duration) aws.HTTPClient {
	if c, ok := client.(*awshttp.BuildableClient); ok {
		client = c.WithTimeout(0)
	}
	return &unstalled{client, idle}
}

// unstalled gives up on answers that stall.
type unstalled struct {
	inner aws.HTTPClient
	idle  time.Duration
}

func (c *unstalled) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	response, err := c.inner.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &flowing{body: response.Body, idle: c.idle, cancel: cancel}
	return response, nil
}

// flowing is a body that must go on coming while it is read: whoever reads slowly is not the server's fault.
type flowing struct {
	body   io.ReadCloser
	idle   time.Duration
	cancel context.CancelFunc // ends the request, and with it a Read
}

func (b *flowing) Read(p []byte) (int, error) {
	stalled := time.AfterFunc(b.idle, b.cancel)
	n, err := b.body.Read(p)
	if !stalled.Stop() && err != nil && err != io.EOF {
		// For whoever reads it is a connection that broke: what is missing is asked for again.
		err = fmt.Errorf("no byte came for %s: %w", b.idle, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (b *flowing) Close() error {
	b.cancel()
	return b.body.Close()
}
