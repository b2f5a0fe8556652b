package planstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// resumptions is how often the reading of one object goes on where a connection broke.
const resumptions = 3

func (b *s3Bucket) Get(ctx context.Context, key string, limit int64) (*stored, error) {
	in := &s3.GetObjectInput{Bucket: aws.String(b.name), Key: aws.String(b.prefix + key)}
	if limit > 0 {
		in.Range = aws.String("bytes=0-" + strconv.FormatInt(limit-1, 10))
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := b.client.GetObject(ctx, in)
	if errorCode(err) == "InvalidRange" {
		return &stored{ReadCloser: io.NopCloser(bytes.NewReader(nil))}, nil // an empty object has no first bytes
	}
	if err != nil {
		return nil, b.explain(err)
	}
	length := aws.ToInt64(out.ContentLength)
	o := &stored{bytes: length, version: aws.ToString(out.ETag)}
	// bytes 0-99/1234
	if _, whole, ok := strings.Cut(aws.ToString(out.ContentRange), "/"); ok {
		if n, err := strconv.ParseInt(whole, 10, 64); err == nil {
			o.bytes = n
		}
	}
	o.ReadCloser = &resumed{ctx: ctx, bucket: b, key: key, version: out.ETag, body: out.Body, end: length, left: resumptions}
	return o, nil
}

// resumed is the body of an object. The SDK tries a request again, but not the reading of its answer; so when a connection
// breaks on the way, this asks for what is missing. It gives up after a few times.
type resumed struct {
	ctx     context.Context // of the call that it belongs to: a Reader's Read takes none
	bucket  *s3Bucket
	key     string
	version *string
	body    io.ReadCloser
	at, end int64
	left    int
}

func (r *resumed) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.at += int64(n)
		if errors.Is(err, io.EOF) && r.at < r.end {
			err = io.ErrUnexpectedEOF
		}
		if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return n, err
		}
		// A checksum that is wrong shows at the end: by then everything was passed on.
		if r.at >= r.end || r.left == 0 || r.version == nil || r.ctx.Err() != nil {
			return n, fmt.Errorf("read bucket %q, byte %d of %d: %w", r.bucket.name, r.at, r.end, err)
		}
		r.left--
		if resumeErr := r.resume(); resumeErr != nil {
			return n, errors.Join(err, resumeErr)
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (r *resumed) resume() error {
	out, err := r.bucket.client.GetObject(r.ctx, &s3.GetObjectInput{
		Bucket:  aws.String(r.bucket.name),
		Key:     aws.String(r.bucket.prefix + r.key),
		IfMatch: r.version,
		Range:   aws.String(fmt.Sprintf("bytes=%d-%d", r.at, r.end-1)),
	})
	if err != nil {
		return r.bucket.explain(err)
	}
	_ = r.body.Close() // it is broken already
	r.body = out.Body
	return nil
}

func (r *resumed) Close() error { return r.body.Close() }
