package planstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// putMemory is the size up to which an object is put from memory, and above from a file. S3 wants to know length and
	// hash before the first byte, and a second attempt wants the bytes again.
	putMemory = 8 << 20

	// putLimit is what S3 takes in one request, and so whole or not at all.
	putLimit = 5 << 30
)

// The tag of objects, if the location asks for tags, and what it says. Lifecycle rules of a bucket can go by it.
const (
	tagKey    = "plumbline"
	tagKept   = "kept"   // it may be waited for
	tagClosed = "closed" // it was deleted, or is about to be
)

// s3Bucket keeps objects in S3, or in a server that speaks its protocol.
type s3Bucket struct {
	client *s3.Client
	name   string
	prefix string // "" or ends in a slash
	sse    types.ServerSideEncryption
	sseKey string
	tags   bool
}

func (b *s3Bucket) Put(ctx context.Context, key string, c content) error {
	return b.write(ctx, key, c, func(in *s3.PutObjectInput, sum []byte) error {
		in.IfNoneMatch = aws.String("*")
		_, err := b.client.PutObject(ctx, in)
		var tried *retry.MaxAttemptsError
		switch code := errorCode(err); {
		case code == "PreconditionFailed":
			return b.same(ctx, key, sum) // an attempt that seemed to fail may have written it
		case errors.As(err, &tried) && b.same(ctx, key, sum) == nil:
			// Likewise: a server may refuse the attempts that follow by closing the connection while a large body is on
			// its way, and then nobody hears why.
			return nil
		case code == "NotImplemented" && !b.tags && b.sse == "":
			// Nobody can guess the key, so a server that knows no conditions has nothing there either.
			if _, err := in.Body.(io.Seeker).Seek(0, io.SeekStart); err != nil {
				return err
			}
			in.IfNoneMatch = nil
			_, err = b.client.PutObject(ctx, in)
			return err
		}
		return err
	})
}

func (b *s3Bucket) Replace(ctx context.Context, key, version string, c content) error {
	return b.write(ctx, key, c, func(in *s3.PutObjectInput, sum []byte) error {
		in.IfMatch = aws.String(version)
		_, err := b.client.PutObject(ctx, in)
		code := errorCode(err)
		if code == "PreconditionFailed" && b.same(ctx, key, sum) == nil {
			return nil // an attempt that seemed to fail has written it
		}
		if code == "PreconditionFailed" || code == "NoSuchKey" {
			return fmt.Errorf("%w: it was deleted or replaced meanwhile: %w", ErrNotFound, err)
		}
		return err
	})
}

// write gathers a content and lets put send it.
func (b *s3Bucket) write(ctx context.Context, key string, c content, put func(in *s3.PutObjectInput, sum []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.bytes > putLimit {
		return fmt.Errorf("the plan has %d MB when it is sealed, and S3 takes at most %d MB at once: split the workspace", c.bytes>>20, int64(putLimit)>>20)
	}
	body, done, err := gather(c)
	if err != nil {
		return err
	}
	defer done()
	in := &s3.PutObjectInput{
		Bucket: aws.String(b.name),
		Key:    aws.String(b.prefix + key),
		Body:   body,
		// Said by us: the SDK would send it behind the body, which not every server understands.
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(body.sum)),
		ContentLength:  aws.Int64(c.bytes),
		ContentType:    aws.String("application/octet-stream"),
	}
	if b.sse != "" {
		in.ServerSideEncryption = b.sse
	}
	if b.sseKey != "" {
		in.SSEKMSKeyId = aws.String(b.sseKey)
	}
	if b.tags {
		in.Tagging = aws.String(tagKey + "=" + tagKept)
	}
	return b.explain(put(in, body.sum))
}

// gathered is a content that can be read from its beginning again.
type gathered struct {
	io.ReadSeeker
	sum []byte
}

// gather writes a content to memory or, if it is large, to a file; it is sealed.
func gather(c content) (g gathered, done func(), err error) {
	digest := sha256.New()
	if c.bytes <= putMemory {
		var memory bytes.Buffer
		memory.Grow(int(c.bytes))
		if err := c.writeTo(io.MultiWriter(&memory, digest)); err != nil {
			return gathered{}, nil, err
		}
		return gathered{bytes.NewReader(memory.Bytes()), digest.Sum(nil)}, func() {}, nil
	}
	file, err := scratchFile()
	if err != nil {
		return gathered{}, nil, err
	}
	if err = c.writeTo(io.MultiWriter(file, digest)); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		closeScratch(file)
		return gathered{}, nil, explainFull(err)
	}
	return gathered{file, digest.Sum(nil)}, func() { closeScratch(file) }, nil
}

// same reports an error unless what lies at a key has a hash.
func (b *s3Bucket) same(ctx context.Context, key string, sum []byte) error {
	r, err := b.Get(ctx, key, 0)
	if err != nil {
		return fmt.Errorf("look at what is stored there already: %w", err)
	}
	defer r.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, r); err != nil {
		return fmt.Errorf("look at what is stored there already: %w", err)
	}
	if !bytes.Equal(digest.Sum(nil), sum) {
		return fmt.Errorf("s3://%s/%s%s: %w", b.name, b.prefix, key, errExists)
	}
	return nil
}

func (b *s3Bucket) List(ctx context.Context, prefix string) ([]object, error) {
	var objects []object
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
		Bucket: aws.String(b.name),
		Prefix: aws.String(b.prefix + prefix),
	}, func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err)
		}
		for _, o := range page.Contents {
			objects = append(objects, object{
				key:  strings.TrimPrefix(aws.ToString(o.Key), b.prefix),
				size: aws.ToInt64(o.Size),
			})
		}
	}
	return objects, nil
}

func (b *s3Bucket) Delete(ctx context.Context, key string) error {
	var tagErr error
	if b.tags {
		// Before: whatever becomes of the request to delete, and of old versions in the bucket, the rule finds it.
		tagErr = b.close(ctx, key)
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(b.name), Key: aws.String(b.prefix + key)})
	if err = b.explain(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil && tagErr == nil && b.tags {
		return fmt.Errorf("%w (it is tagged %s=%s: a lifecycle rule of the bucket that goes by that takes it away)", err, tagKey, tagClosed)
	}
	return errors.Join(err, tagErr)
}

// close tags an object as one that nobody waits for.
func (b *s3Bucket) close(ctx context.Context, key string) error {
	_, err := b.client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
		Bucket:  aws.String(b.name),
		Key:     aws.String(b.prefix + key),
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String(tagKey), Value: aws.String(tagClosed)}}},
	})
	if err = b.explain(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
