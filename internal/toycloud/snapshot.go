package toycloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/google/renameio/v2"
)

// Snapshot is everything that exists in a cloud at one moment. It holds the access keys of buckets.
type Snapshot struct {
	Networks []Network `json:"networks"`
	Images   []Image   `json:"images"`
	Clusters []Cluster `json:"clusters"`
	Nodes    []Node    `json:"nodes"`
	Buckets  []Bucket  `json:"buckets"`

	// Born says how often each name was given, so that after a restore a new object never gets an old one's id.
	Born map[string]int `json:"born"`

	// Keys are the idempotency keys of creations, with the id of what each created.
	Keys map[string]string `json:"keys,omitempty"`
}

func (c *cloud) snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scale()
	return c.copy()
}

func (c *cloud) copy() Snapshot {
	snap := Snapshot{Born: maps.Clone(c.born), Keys: maps.Clone(c.keys)}
	for _, k := range kinds() {
		for _, id := range slices.Sorted(maps.Keys(c.objects[k])) {
			switch o := c.objects[k][id].clone().(type) {
			case *Network:
				snap.Networks = append(snap.Networks, *o)
			case *Image:
				snap.Images = append(snap.Images, *o)
			case *Cluster:
				snap.Clusters = append(snap.Clusters, *o)
			case *Node:
				snap.Nodes = append(snap.Nodes, *o)
			case *Bucket:
				snap.Buckets = append(snap.Buckets, *o)
			}
		}
	}
	return snap
}

// objects returns copies of what a snapshot holds, each object after those that it refers to.
func (snap Snapshot) objects() []Object {
	var all []Object
	for _, o := range snap.Networks {
		all = append(all, o.clone())
	}
	for _, o := range snap.Images {
		all = append(all, o.clone())
	}
	for _, o := range snap.Clusters {
		all = append(all, o.clone())
	}
	for _, o := range snap.Nodes {
		all = append(all, o.clone())
	}
	for _, o := range snap.Buckets {
		all = append(all, o.clone())
	}
	return all
}

func (c *cloud) restore(snap Snapshot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.load(snap); err != nil {
		return err
	}
	return asError(c.save())
}

// load checks a snapshot in a cloud of its own before it takes it over.
func (c *cloud) load(snap Snapshot) error {
	next := &cloud{seed: c.seed, now: c.now}
	next.clear()
	for _, o := range snap.objects() {
		id := o.meta().ID
		wrong := next.place(o)
		if wrong == nil && id == "" {
			wrong = invalid("id", "it has none")
		}
		if _, taken := next.objects[o.kind()][id]; wrong == nil && taken {
			wrong = conflict("two objects have the id %s", id)
		}
		if wrong != nil {
			return fmt.Errorf("restore the %s %q of a snapshot: %w", o.kind().One(), o.meta().Name, wrong)
		}
		next.ids[next.slot(o)] = id
		next.put(o)
	}
	maps.Copy(next.born, snap.Born)
	maps.Copy(next.keys, snap.Keys)
	c.objects, c.ids, c.born, c.keys, c.changed = next.objects, next.ids, next.born, next.keys, next.changed
	return nil
}

// keepIn reads the cloud from a file, if there is one, and writes each change there from now on.
func (c *cloud) keepIn(file string) error {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read the toy cloud's file: %w", err)
	default:
		var snap Snapshot
		if err := unmarshalStrict(data, &snap); err != nil {
			return fmt.Errorf("read the toy cloud's file %q: %w (remove it to start with an empty cloud)", file, err)
		}
		if err := c.load(snap); err != nil {
			return fmt.Errorf("read the toy cloud's file %q: %w (remove it to start with an empty cloud)", file, err)
		}
	}
	c.file = file
	return asError(c.save())
}

// save writes the cloud to its file, if it has one. When that fails, the change has happened in memory all the same,
// and the caller hears of a server error: the worst that a real cloud does, too.
func (c *cloud) save() *refusal {
	if c.file == "" {
		return nil
	}
	data, err := json.MarshalIndent(c.copy(), "", "  ")
	if err == nil {
		err = renameio.WriteFile(c.file, append(data, '\n'), 0o600)
	}
	if err != nil {
		return &refusal{http.StatusInternalServerError, "not_saved", fmt.Sprintf("the change is made, but not saved: %v", err), ""}
	}
	return nil
}
