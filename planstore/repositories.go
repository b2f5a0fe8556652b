package planstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Repositories returns the names of the repositories that have something stored in a location, sorted. They stand in the clear
// part of objects, so no key is needed, and whoever may write to the location may have written them: a name is good for a
// person, or for a list to choose from, and opens nothing by itself.
func Repositories(ctx context.Context, location string) ([]string, error) {
	failed := func(err error) ([]string, error) {
		return nil, fmt.Errorf("look whose plans there are: %w", err)
	}
	b, place, err := openBucket(ctx, location)
	if err != nil {
		return failed(err)
	}
	objects, err := b.List(ctx, "")
	if err != nil {
		return failed(fmt.Errorf("list %s: %w", place, err))
	}
	var names []string
	known := map[string]bool{} // by the directory of a repository, which is made of its name
	for _, o := range objects {
		dir, _, _ := strings.Cut(o.key, "/")
		if strings.Count(o.key, "/") != 3 || known[dir] || !strings.HasSuffix(o.key, suffix) { // REPOSITORY/KIND/WORKSPACE/ID
			continue
		}
		name, err := repositoryOf(ctx, b, o.key)
		switch {
		case errors.Is(err, ErrNotFound): // deleted meanwhile
		case err != nil:
			return failed(fmt.Errorf("read %s from %s: %w", o.key, place, err))
		case slug(name) == dir:
			known[dir] = true
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// repositoryOf is what an object says of whose it is; "" if it says nothing.
func repositoryOf(ctx context.Context, b bucket, key string) (string, error) {
	r, err := b.Get(ctx, key, headBytes)
	if err != nil {
		return "", err
	}
	defer r.Close()
	line, err := readLine(bufio.NewReader(r), headerLimit)
	if errors.Is(err, errNoLine) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	h, err := parseHeader(line)
	if err != nil {
		return "", nil // a broken one, or of another version: another object of the repository tells
	}
	return h.Repository, nil
}
