package planstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// bucket is a place for objects. Keys are slash paths. Every key is written at most once, because it ends in an id that
// nobody can guess; so no bucket needs to replace, lock or compare.
type bucket interface {
	// Put writes an object, whole or not at all; when it returns, the object outlives a crash of the machine.
	Put(ctx context.Context, key string, data []byte) error

	// Get reads an object, or only its first limit bytes if limit is above zero. The error wraps ErrNotFound if there
	// is none.
	Get(ctx context.Context, key string, limit int64) (io.ReadCloser, error)

	// List returns the objects whose keys begin with a prefix, which ends in a slash, sorted by key. Objects that are
	// still being written are not among them.
	List(ctx context.Context, prefix string) ([]object, error)

	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// object is an entry of a bucket's listing.
type object struct {
	key  string
	size int64
}

// openBucket opens the place that a location names, and says for people where that is, without credentials. Errors quote
// no more of the location than can hold none.
func openBucket(ctx context.Context, location string) (b bucket, place string, err error) {
	scheme, _, ok := strings.Cut(location, "://")
	if !ok {
		if location == "" {
			return nil, "", errors.New("the location is empty: give a directory or s3://BUCKET/PREFIX")
		}
		return openDir(location)
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, "", errors.New("the location is not a valid address: give a directory or s3://BUCKET/PREFIX")
	}
	if u.User != nil {
		return nil, "", fmt.Errorf("the location %s://… holds credentials: take them out and hand them over where the AWS SDK looks for them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", scheme)
	}
	switch scheme {
	case "s3":
		return openS3(ctx, u)
	case "file":
		if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(filepath.FromSlash(u.Path)) {
			return nil, "", errors.New("the location is not of the form file:///ABSOLUTE/PATH")
		}
		return openDir(filepath.FromSlash(u.Path))
	}
	return nil, "", fmt.Errorf("the location is of the unknown kind %q: give a directory, file:///PATH or s3://BUCKET/PREFIX", scheme)
}
