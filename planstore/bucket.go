package planstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// bucket is a place for objects. Keys are slash paths. A key ends in an id that nobody can guess, so each is written once;
// nobody needs to lock, and an object is only ever replaced by itself under another seal.
type bucket interface {
	// Put writes a new object, whole or not at all; when it returns, the object outlives a crash of the machine. To put
	// the same bytes again is harmless. The error wraps errExists, and nothing is changed, if others are there.
	Put(ctx context.Context, key string, c content) error

	// Replace puts an object in the place of the version of it that Get returned. The error wraps ErrNotFound, and
	// nothing is written, if that is there no more: what was deleted meanwhile stays deleted.
	Replace(ctx context.Context, key, version string, c content) error

	// Get reads an object, or only its first limit bytes if limit is above zero. The error wraps ErrNotFound if there
	// is none.
	Get(ctx context.Context, key string, limit int64) (*stored, error)

	// List returns the objects whose keys begin with a prefix, which ends in a slash, sorted by key. Objects that are
	// still being written are not among them.
	List(ctx context.Context, prefix string) ([]object, error)

	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// errExists says that a key holds something else already.
var errExists = errors.New("something else is stored there already")

// content is an object on its way into a bucket. It is written as a stream, once: no more of it is in memory than that
// takes.
type content struct {
	bytes int64
	write func(io.Writer) error
}

// writeTo writes the content, and holds it to its length.
func (c content) writeTo(w io.Writer) error {
	n := &counter{w: w}
	if err := c.write(n); err != nil {
		return err
	}
	if n.n != c.bytes {
		return fmt.Errorf("the sealed object has %d bytes, not the %d that its header says", n.n, c.bytes)
	}
	return nil
}

// counter counts what passes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// stored is an object that is being read.
type stored struct {
	io.ReadCloser
	bytes   int64  // its whole length, also if only its beginning is read
	version string // for Replace
}

// object is an entry of a bucket's listing.
type object struct {
	key  string
	size int64
}

// addressLike is how an address begins whose slashes were mistyped. A directory of such a name can be had as ./NAME.
var addressLike = regexp.MustCompile(`^\w+:/?[^/]`)

// CheckLocation says what is wrong with a location as [Options.Location] takes it, without asking anybody. Its errors quote no
// more of the location than can hold no credentials.
func CheckLocation(location string) error {
	_, _, err := parseLocation(location)
	return err
}

// parseLocation tells a directory from an address of S3, which is nil for a directory.
func parseLocation(location string) (dir string, inS3 *s3Location, err error) {
	scheme, _, ok := strings.Cut(location, "://")
	if !ok {
		switch {
		case location == "":
			return "", nil, errors.New("the location is empty: give a directory or s3://BUCKET/PREFIX")
		case addressLike.MatchString(location):
			kind, _, _ := strings.Cut(location, ":")
			return "", nil, fmt.Errorf("the location begins with %s: and not with %s://: give s3://BUCKET/PREFIX, or a directory (one whose name begins so as ./%s:…)", kind, kind, kind)
		}
		return location, nil, nil
	}
	u, err := url.Parse(location)
	if err != nil {
		return "", nil, errors.New("the location is not a valid address: give a directory or s3://BUCKET/PREFIX")
	}
	if u.User != nil {
		return "", nil, fmt.Errorf("the location %s://… holds credentials: take them out and hand them over where the AWS SDK looks for them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", scheme)
	}
	switch scheme {
	case "s3":
		l, err := parseS3(u)
		if err != nil {
			return "", nil, err
		}
		return "", &l, nil
	case "file":
		if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(filepath.FromSlash(u.Path)) {
			return "", nil, errors.New("the location is not of the form file:///ABSOLUTE/PATH")
		}
		return filepath.FromSlash(u.Path), nil, nil
	}
	return "", nil, fmt.Errorf("the location is of the unknown kind %q: give a directory, file:///PATH or s3://BUCKET/PREFIX", scheme)
}

// openBucket opens the place that a location names, and says for people where that is, without credentials.
func openBucket(ctx context.Context, location string) (b bucket, place string, err error) {
	dir, inS3, err := parseLocation(location)
	switch {
	case err != nil:
		return nil, "", err
	case inS3 != nil:
		return openS3(ctx, *inS3, answerTimeout)
	}
	return openDir(dir)
}
