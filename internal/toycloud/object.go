package toycloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// Kind is a sort of object, spelled as in the API's paths.
type Kind string

// The kinds. Images can be read by customers, never written.
const (
	Networks Kind = "networks"
	Clusters Kind = "clusters"
	Nodes    Kind = "nodes"
	Buckets  Kind = "buckets"
	Images   Kind = "images"
)

// kinds returns all kinds, each after those that it refers to.
func kinds() []Kind { return []Kind{Networks, Images, Clusters, Nodes, Buckets} }

// One names a single object of the kind in messages.
func (k Kind) One() string {
	switch k {
	case Networks:
		return "network"
	case Clusters:
		return "cluster"
	case Nodes:
		return "node"
	case Buckets:
		return "bucket"
	case Images:
		return "image"
	}
	return string(k)
}

// Object is a *Network, *Cluster, *Node, *Bucket or *Image.
type Object interface {
	meta() *Meta
	kind() Kind
	clone() Object

	// parent is what the object's name is unique in and what takes it along when it is deleted, as written: an id or
	// a name. It has an empty kind when there is none.
	parent() (Kind, string)

	// complete sets what the cloud decides: defaults and computed attributes.
	complete(c *cloud)

	// check says what is wrong with the object, or nil. It runs after complete.
	check() *refusal

	// frozen names the attributes that cannot change once the object exists, with their values.
	frozen() map[string]string
}

// Meta is what every object has. The cloud sets ID and Created; both are ignored in requests.
type Meta struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func (m *Meta) meta() *Meta { return m }

// Network is a range of addresses.
type Network struct {
	Meta
	CIDR string `json:"cidr"` // cannot change
}

func (n *Network) kind() Kind             { return Networks }
func (n *Network) clone() Object          { c := *n; return &c }
func (n *Network) parent() (Kind, string) { return "", "" }
func (n *Network) complete(*cloud)        {}

func (n *Network) check() *refusal {
	if err := CheckCIDR(n.CIDR); err != nil {
		return invalid("cidr", err.Error())
	}
	return nil
}

func (n *Network) frozen() map[string]string { return map[string]string{"cidr": n.CIDR} }

// Cluster is a set of nodes with one version of their software.
type Cluster struct {
	Meta
	Network string `json:"network"` // name or id; cannot change
	Version string `json:"version"`
	Size    int    `json:"size"` // what an autoscaler aims at; 0 in a request means 3
}

func (c *Cluster) kind() Kind             { return Clusters }
func (c *Cluster) clone() Object          { d := *c; return &d }
func (c *Cluster) parent() (Kind, string) { return Networks, c.Network }

func (c *Cluster) complete(*cloud) {
	if c.Size == 0 {
		c.Size = 3
	}
}

func (c *Cluster) check() *refusal {
	if c.Version == "" {
		return invalid("version", "a cluster needs a version")
	}
	if c.Size < 1 || c.Size > 1000 {
		return invalid("size", fmt.Sprintf("a cluster has a size of 1 to 1000, not %d", c.Size))
	}
	return nil
}

func (c *Cluster) frozen() map[string]string { return map[string]string{"network": c.Network} }

// Node is a machine of a cluster.
type Node struct {
	Meta
	Cluster string            `json:"cluster"` // name or id; cannot change
	Size    string            `json:"size"`    // one of [NodeSizes]; cannot change
	Image   string            `json:"image"`   // an image's reference, or empty; cannot change
	Pool    string            `json:"pool"`    // "" in a request means "default"
	Labels  map[string]string `json:"labels"`
	Address string            `json:"address"` // set by the cloud
}

// NodeSizes returns the sizes that a node may have.
func NodeSizes() []string { return []string{"small", "medium", "large"} }

func (n *Node) kind() Kind             { return Nodes }
func (n *Node) clone() Object          { c := *n; c.Labels = maps.Clone(n.Labels); return &c }
func (n *Node) parent() (Kind, string) { return Clusters, n.Cluster }

func (n *Node) complete(c *cloud) {
	n.Pool = orElse(n.Pool, "default")
	h := c.hash("address", n.ID)
	n.Address = netip.AddrFrom4([4]byte{10, h[0], h[1], 1 + h[2]%254}).String()
}

func (n *Node) check() *refusal {
	if !slices.Contains(NodeSizes(), n.Size) {
		return invalid("size", fmt.Sprintf("a node is small, medium or large, not %q", n.Size))
	}
	return nil
}

func (n *Node) frozen() map[string]string {
	return map[string]string{"cluster": n.Cluster, "size": n.Size, "image": n.Image}
}

// Bucket is a place for files.
type Bucket struct {
	Meta
	Versioning bool              `json:"versioning"`
	Tags       map[string]string `json:"tags"`
	Policy     string            `json:"policy"`     // JSON, or empty
	ETag       string            `json:"etag"`       // set by the cloud: changes with every attribute
	AccessKey  string            `json:"access_key"` // set by the cloud; a secret
}

func (b *Bucket) kind() Kind             { return Buckets }
func (b *Bucket) clone() Object          { c := *b; c.Tags = maps.Clone(b.Tags); return &c }
func (b *Bucket) parent() (Kind, string) { return "", "" }

func (b *Bucket) complete(c *cloud) {
	b.AccessKey = c.secret("key", b.ID)
	content, err := json.Marshal([]any{b.ID, b.Versioning, b.Tags, b.Policy})
	if err == nil { // strings and maps of strings always marshal
		h := c.hash("etag", string(content))
		b.ETag = fmt.Sprintf("%x", h[:8])
	}
}

func (b *Bucket) check() *refusal {
	if b.Policy != "" && !json.Valid([]byte(b.Policy)) {
		return invalid("policy", "a policy is a JSON document; write it with jsonencode")
	}
	return nil
}

func (b *Bucket) frozen() map[string]string { return nil }

// Image is what a node may start from. Every cloud has debian and flatcar.
type Image struct {
	Meta
	Release   string `json:"release"`
	Reference string `json:"reference"` // set by the cloud: name@release
}

func (i *Image) kind() Kind             { return Images }
func (i *Image) clone() Object          { c := *i; return &c }
func (i *Image) parent() (Kind, string) { return "", "" }
func (i *Image) complete(*cloud)        { i.Reference = i.Name + "@" + i.Release }

func (i *Image) check() *refusal {
	if i.Release == "" {
		return invalid("release", "an image needs a release")
	}
	return nil
}

func (i *Image) frozen() map[string]string { return nil }

// CheckName says what is wrong with the name of an object, or nil.
func CheckName(name string) error {
	if len(name) > 63 || !nameForm.MatchString(name) {
		return fmt.Errorf("%q is no name: use up to 63 lower-case letters, digits and dashes, beginning with a letter", name)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// CheckCIDR says what is wrong with a network's range of addresses, or nil.
func CheckCIDR(cidr string) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return fmt.Errorf("%q is no range of addresses: write it as 10.0.0.0/16", cidr)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("%q has bits set beyond its prefix: did you mean %s?", cidr, prefix.Masked())
	}
	return nil
}

// newObject returns an empty object of a kind, or nil if there is no such kind.
func newObject(k Kind) Object {
	switch k {
	case Networks:
		return &Network{}
	case Clusters:
		return &Cluster{}
	case Nodes:
		return &Node{}
	case Buckets:
		return &Bucket{}
	case Images:
		return &Image{}
	}
	return nil
}
