package planstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// s3Bucket keeps objects in S3, or in a server that speaks its protocol.
type s3Bucket struct {
	client *s3.Client
	name   string
	prefix string // "" or ends in a slash
}

// openS3 reads s3://BUCKET/PREFIX?endpoint=URL&region=REGION&profile=NAME&path_style=BOOL. What the address leaves out
// comes from where the AWS SDK looks by default: environment, shared files, the machine's role.
func openS3(ctx context.Context, u *url.URL) (bucket, string, error) {
	if u.Host == "" {
		return nil, "", errors.New("the location names no bucket: give s3://BUCKET/PREFIX")
	}
	prefix := strings.Trim(u.Path, "/")
	place := strings.TrimSuffix("s3://"+u.Host+"/"+prefix, "/")
	failed := func(format string, args ...any) (bucket, string, error) {
		return nil, "", fmt.Errorf("location %s: %w", place, fmt.Errorf(format, args...))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return failed("what follows the question mark is not of the form NAME=VALUE&NAME=VALUE")
	}
	var load []func(*config.LoadOptions) error
	endpoint := query.Get("endpoint")
	pathStyle := endpoint != ""
	if query.Has("path_style") {
		pathStyle = query.Get("path_style") == "true"
	}
	for name := range query {
		value := query.Get(name)
		switch name {
		case "endpoint":
			if e, err := url.Parse(value); err != nil || e.Host == "" || e.User != nil {
				return failed("endpoint must be a URL without credentials, such as https://s3.example.com")
			}
		case "region":
			load = append(load, config.WithRegion(value))
		case "profile":
			load = append(load, config.WithSharedConfigProfile(value))
		case "path_style":
			if value != "true" && value != "false" {
				return failed("path_style must be true or false")
			}
		default:
			return failed("there is no parameter %q; there are endpoint, region, profile and path_style", name)
		}
	}
	settings, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return failed("%w", err)
	}
	if settings.Region == "" {
		if endpoint == "" {
			return failed("no region is known: add ?region=REGION or set AWS_REGION")
		}
		settings.Region = "us-east-1" // what servers outside AWS expect by default
	}
	client := s3.NewFromConfig(settings, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		// Objects carry their own seal, and many servers besides AWS refuse the newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if prefix != "" {
		prefix += "/"
	}
	return &s3Bucket{client: client, name: u.Host, prefix: prefix}, place, nil
}

func (b *s3Bucket) Put(ctx context.Context, key string, data []byte) error {
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:      aws.String(b.name),
		Key:         aws.String(b.prefix + key),
		Body:        bytes.NewReader(data),
		ContentType: aws.String("application/octet-stream"),
	})
	return b.explain(err)
}

func (b *s3Bucket) Get(ctx context.Context, key string, limit int64) (io.ReadCloser, error) {
	input := &s3.GetObjectInput{Bucket: aws.String(b.name), Key: aws.String(b.prefix + key)}
	if limit > 0 {
		input.Range = aws.String("bytes=0-" + strconv.FormatInt(limit-1, 10))
	}
	output, err := b.client.GetObject(ctx, input)
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "InvalidRange" {
		return io.NopCloser(bytes.NewReader(nil)), nil // an empty object has no first bytes
	}
	if err != nil {
		return nil, b.explain(err)
	}
	return output.Body, nil
}

func (b *s3Bucket) List(ctx context.Context, prefix string) ([]object, error) {
	var objects []object
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
		Bucket: aws.String(b.name),
		Prefix: aws.String(b.prefix + prefix),
	})
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
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(b.name), Key: aws.String(b.prefix + key)})
	if err = b.explain(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// explain turns what S3 says into what it means here.
func (b *s3Bucket) explain(err error) error {
	if err == nil {
		return nil
	}
	var missing *types.NoSuchKey
	if errors.As(err, &missing) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchBucket":
			return fmt.Errorf("there is no bucket %q: make it, or correct the location: %w", b.name, err)
		case "AccessDenied", "Forbidden":
			return fmt.Errorf("access to bucket %q is denied: these credentials need s3:ListBucket on it and s3:GetObject, s3:PutObject and s3:DeleteObject on what it holds: %w", b.name, err)
		case "InvalidAccessKeyId", "SignatureDoesNotMatch":
			return fmt.Errorf("bucket %q refuses the credentials: check the access key and its secret: %w", b.name, err)
		}
	}
	return err
}
