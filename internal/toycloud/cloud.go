package toycloud

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// cloud is what exists, behind one lock. Whatever leaves it is a copy.
type cloud struct {
	seed uint64
	now  func() time.Time

	mu      sync.Mutex
	objects map[Kind]map[string]Object // by id
	ids     map[string]string          // by kind, parent's id and name
	born    map[string]int             // how often each of those names was given, so that a new object gets a new id
	keys    map[string]string          // idempotency key of a creation → id of what it created
	changed map[string]time.Time       // when each cluster and node was last changed by anyone but an autoscaler
	temper  *temper
	ledger  ledger
	file    string
}

// refusal is an answer that is not what the caller wanted.
type refusal struct {
	status int
	Code   string `json:"code"`
	Reason string `json:"message"`
	Field  string `json:"field,omitempty"`
}

func (r *refusal) Error() string {
	if r.Field != "" {
		return r.Field + ": " + r.Reason
	}
	return r.Reason
}

func invalid(field, reason string) *refusal {
	return &refusal{http.StatusUnprocessableEntity, "invalid", reason, field}
}

func notFound(kind Kind, ref string) *refusal {
	return &refusal{http.StatusNotFound, "not_found", fmt.Sprintf("there is no %s %q", kind.One(), ref), ""}
}

func conflict(format string, args ...any) *refusal {
	return &refusal{http.StatusConflict, "conflict", fmt.Sprintf(format, args...), ""}
}

func newCloud(seed uint64, now func() time.Time) *cloud {
	c := &cloud{seed: seed, now: now, temper: newTemper(Behaviour{}, now())}
	c.clear()
	c.ledger.reset()
	for _, i := range []*Image{{Meta{Name: "debian"}, "12.1", ""}, {Meta{Name: "flatcar"}, "4081.2.0", ""}} {
		c.insert(i)
	}
	return c
}

func (c *cloud) clear() {
	c.objects = map[Kind]map[string]Object{}
	for _, k := range kinds() {
		c.objects[k] = map[string]Object{}
	}
	c.ids, c.born, c.keys, c.changed = map[string]string{}, map[string]int{}, map[string]string{}, map[string]time.Time{}
}

// hash makes up bytes from the seed and what they are for.
func (c *cloud) hash(parts ...string) [sha256.Size]byte {
	b := binary.BigEndian.AppendUint64(nil, c.seed)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return sha256.Sum256(b)
}

// chance makes up a number from 0 to just below 1.
func (c *cloud) chance(parts ...string) float64 {
	h := c.hash(parts...)
	return float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
}

func (c *cloud) secret(parts ...string) string {
	h := c.hash(append([]string{"secret"}, parts...)...)
	return fmt.Sprintf("toy-%x", h[:12])
}

// create adds o as a customer does. A creation that is asked for again with the same key is answered, not repeated.
func (c *cloud) create(o Object, key string) (Object, *refusal) {
	if old, ok := c.objects[o.kind()][c.keys[key]]; ok && key != "" {
		c.ledger.Replays++
		return c.face(old), nil
	}
	if wrong := c.place(o); wrong != nil {
		return nil, wrong
	}
	c.insert(o)
	if key != "" {
		c.keys[key] = o.meta().ID
	}
	c.ledger.count(Create, o)
	c.record("api", Create, o, "")
	return c.face(o), c.save()
}

func (c *cloud) read(kind Kind, id string) (Object, *refusal) {
	o, ok := c.objects[kind][id]
	if !ok {
		return nil, notFound(kind, id)
	}
	c.ledger.count(Read, o)
	return c.face(o), nil
}

// list returns the objects of a kind, in the order of the names; an empty name or cluster means any.
func (c *cloud) list(kind Kind, name, cluster string) []Object {
	found := []Object{}
	for _, o := range c.objects[kind] {
		if name != "" && o.meta().Name != name {
			continue
		}
		if _, parent := o.parent(); cluster != "" && (kind != Nodes || c.resolve(Clusters, parent) != c.resolve(Clusters, cluster)) {
			continue
		}
		found = append(found, c.face(o))
	}
	slices.SortFunc(found, func(a, b Object) int {
		return cmp.Or(strings.Compare(a.meta().Name, b.meta().Name), strings.Compare(a.meta().ID, b.meta().ID))
	})
	c.ledger.Kinds[kind] = c.ledger.Kinds[kind].plus(List)
	return found
}

// update gives an object the attributes of o, as a customer may.
func (c *cloud) update(kind Kind, id string, o Object) (Object, *refusal) {
	old, ok := c.objects[kind][id]
	if !ok {
		return nil, notFound(kind, id)
	}
	name := orElse(o.meta().Name, old.meta().Name)
	*o.meta() = *old.meta()
	o.complete(c)
	if wrong := o.check(); wrong != nil {
		return nil, wrong
	}
	if name != old.meta().Name {
		return nil, invalid("name", fmt.Sprintf("the name of a %s cannot change: delete it and create another", kind.One()))
	}
	was := old.frozen()
	for field, value := range o.frozen() {
		if value != was[field] {
			return nil, invalid(field, fmt.Sprintf("the %s of a %s cannot change: delete it and create another", field, kind.One()))
		}
	}
	c.put(o)
	c.ledger.count(Update, o)
	c.record("api", Update, o, difference(old, o))
	return c.face(o), c.save()
}

// remove deletes an object as a customer may: nothing may belong to it.
func (c *cloud) remove(kind Kind, id string) *refusal {
	o, ok := c.objects[kind][id]
	if !ok {
		return notFound(kind, id)
	}
	if children := c.children(o); len(children) > 0 {
		first := children[0]
		return conflict("the %s %q still has %d %s, such as %q: delete them first",
			kind.One(), o.meta().Name, len(children), first.kind(), first.meta().Name)
	}
	c.drop(o)
	c.ledger.count(Delete, o)
	c.record("api", Delete, o, "")
	return c.save()
}

func (c *cloud) outsideAdd(o Object) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o = o.clone()
	if wrong := c.place(o); wrong != nil {
		return "", fmt.Errorf("add a %s: %w", o.kind().One(), wrong)
	}
	c.insert(o)
	c.record("admin", Create, o, "")
	return o.meta().ID, asError(c.save())
}

func (c *cloud) outsideDelete(kind Kind, ref string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, wrong := c.unique(kind, ref)
	if wrong != nil {
		return wrong
	}
	c.dropAll(c.objects[kind][id])
	return asError(c.save())
}

func outsideEdit[T any, P interface {
	*T
	Object
}](c *cloud, kind Kind, ref string, change func(P)) error {
	return c.outsideEdit(kind, ref, func(o Object) error { change(o.(P)); return nil })
}

func (c *cloud) outsideEdit(kind Kind, ref string, change func(Object) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, wrong := c.unique(kind, ref)
	if wrong != nil {
		return wrong
	}
	old := c.objects[kind][id]
	o := old.clone()
	if err := change(o); err != nil {
		return fmt.Errorf("edit the %s %q: %w", kind.One(), ref, err)
	}
	*o.meta() = *old.meta()
	o.complete(c)
	wrong = o.check()
	if wrong == nil {
		wrong = c.refers(o)
	}
	if wrong == nil {
		if k, parent := o.parent(); k != "" {
			if _, before := old.parent(); c.resolve(k, parent) != c.resolve(k, before) {
				wrong = invalid(k.One(), "an object stays where it was created")
			}
		}
	}
	if wrong != nil {
		return fmt.Errorf("edit the %s %q: %w", kind.One(), ref, wrong)
	}
	c.put(o)
	c.record("admin", Update, o, difference(old, o))
	return asError(c.save())
}

// place checks whether a new object can stand where it says, and completes it as far as that needs.
func (c *cloud) place(o Object) *refusal {
	m := o.meta()
	if err := CheckName(m.Name); err != nil {
		return invalid("name", err.Error())
	}
	o.complete(c)
	if wrong := o.check(); wrong != nil {
		return wrong
	}
	if wrong := c.refers(o); wrong != nil {
		return wrong
	}
	if id, taken := c.ids[c.slot(o)]; taken {
		return conflict("there is already a %s named %q, with the id %s", o.kind().One(), m.Name, id)
	}
	return nil
}

// refers checks that what an object refers to exists.
func (c *cloud) refers(o Object) *refusal {
	if k, ref := o.parent(); k != "" && c.resolve(k, ref) == "" {
		return invalid(k.One(), fmt.Sprintf("there is no %s %q: create it first", k.One(), ref))
	}
	if n, ok := o.(*Node); ok && n.Image != "" {
		name, _, _ := strings.Cut(n.Image, "@")
		if c.resolve(Images, name) == "" {
			return invalid("image", fmt.Sprintf("there is no image %q: use the reference of a toy_image", n.Image))
		}
	}
	return nil
}

// insert gives a new object its id and keeps it.
func (c *cloud) insert(o Object) {
	slot := c.slot(o)
	c.born[slot]++
	h := c.hash("id", slot, strconv.Itoa(c.born[slot]))
	m := o.meta()
	m.ID = fmt.Sprintf("%s-%x", o.kind().One(), h[:6])
	m.Created = c.now().UTC().Truncate(time.Second)
	o.complete(c)
	c.ids[slot] = m.ID
	c.put(o)
}

// put keeps a new version of an object. Versions are never changed once they are kept.
func (c *cloud) put(o Object) {
	c.objects[o.kind()][o.meta().ID] = o
	if k := o.kind(); k == Clusters || k == Nodes {
		c.changed[o.meta().ID] = c.now()
	}
}

func (c *cloud) drop(o Object) {
	delete(c.ids, c.slot(o))
	delete(c.objects[o.kind()], o.meta().ID)
	delete(c.changed, o.meta().ID)
}

func (c *cloud) dropAll(o Object) {
	for _, child := range c.children(o) {
		c.dropAll(child)
	}
	c.drop(o)
	c.record("admin", Delete, o, "")
}

// slot is the place that an object's name takes.
func (c *cloud) slot(o Object) string {
	k, ref := o.parent()
	parent := ""
	// A cluster's name is unique in the cloud, not in its network: the name is all that nodes need to say.
	if k == Clusters {
		parent = c.resolve(k, ref)
	}
	return string(o.kind()) + "/" + parent + "/" + o.meta().Name
}

// resolve returns the id of what ref, an id or a name, means among networks, clusters or images; "" if nothing.
func (c *cloud) resolve(kind Kind, ref string) string {
	if _, ok := c.objects[kind][ref]; ok {
		return ref
	}
	return c.ids[string(kind)+"//"+ref]
}

// unique returns the id of what ref, an id or a name, means among all of a kind. It is for people: node names are
// unique only in their cluster, and one that two clusters have is refused.
func (c *cloud) unique(kind Kind, ref string) (string, *refusal) {
	if _, ok := c.objects[kind][ref]; ok {
		return ref, nil
	}
	var found []string
	for id, o := range c.objects[kind] {
		if o.meta().Name == ref {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", notFound(kind, ref)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", conflict("%d %s are named %q: say which by its id (%s)", len(found), kind, ref, strings.Join(found, ", "))
}

func (c *cloud) children(o Object) []Object {
	var found []Object
	for _, kind := range kinds() {
		for _, child := range c.objects[kind] {
			if k, ref := child.parent(); k == o.kind() && c.resolve(k, ref) == o.meta().ID {
				found = append(found, child)
			}
		}
	}
	slices.SortFunc(found, func(a, b Object) int { return strings.Compare(a.meta().Name, b.meta().Name) })
	return found
}

// face is an object as the API shows it.
func (c *cloud) face(o Object) Object {
	o = o.clone()
	if b, ok := o.(*Bucket); ok && c.temper.Normalise {
		b.Policy = normalise(b.Policy)
	}
	return o
}

// scale lets the autoscalers do their work. It runs before each request is carried out, which looks to callers as if
// it had happened in between, and needs no goroutine.
func (c *cloud) scale() {
	if len(c.temper.Autoscalers) == 0 {
		return
	}
	now := c.now()
	for _, a := range c.temper.Autoscalers {
		target := c.resolve(Clusters, a.Cluster)
		for _, k := range []Kind{Clusters, Nodes} {
			for _, id := range slices.Sorted(maps.Keys(c.objects[k])) {
				old := c.objects[k][id]
				if now.Sub(c.changed[id]) < a.Delay {
					continue
				}
				o := old.clone()
				switch o := o.(type) {
				case *Cluster:
					if a.Cluster == "" || o.ID == target {
						o.Size = cmp.Or(a.Size, o.Size)
					}
				case *Node:
					if len(a.Labels) > 0 && (a.Cluster == "" || c.resolve(Clusters, o.Cluster) == target) {
						if o.Labels == nil {
							o.Labels = map[string]string{}
						}
						maps.Copy(o.Labels, a.Labels)
					}
				}
				if what := difference(old, o); what != "" {
					c.objects[k][id] = o
					c.record("autoscaler", Update, o, what)
				}
			}
		}
	}
}

func (c *cloud) record(actor string, verb Verb, o Object, detail string) {
	c.ledger.record(Event{At: c.now().UTC(), Actor: actor, Verb: verb, Kind: o.kind(), ID: o.meta().ID, Name: o.meta().Name, Detail: detail})
}

func (c *cloud) setBehaviour(b Behaviour) error {
	if err := b.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.temper = newTemper(b, c.now())
	return nil
}

func (c *cloud) currentBehaviour() Behaviour {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.temper.clone()
}

// difference names the attributes in which two versions of an object differ, without their values: some are secrets.
func difference(a, b Object) string {
	var was, is map[string]any
	for o, into := range map[Object]*map[string]any{a: &was, b: &is} {
		data, err := json.Marshal(o)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			return err.Error() // cannot happen: objects are made of strings, numbers and maps of strings
		}
	}
	var names []string
	for name := range is {
		x, _ := json.Marshal(was[name])
		y, _ := json.Marshal(is[name])
		if name != "etag" && !bytes.Equal(x, y) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// normalise writes a policy in the API's own form.
func normalise(policy string) string {
	var doc map[string]any
	if json.Unmarshal([]byte(policy), &doc) != nil || doc == nil {
		return policy // empty, or no object: there is nothing to add a default to
	}
	if _, ok := doc["version"]; !ok {
		doc["version"] = "2024-01-01"
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return policy
	}
	return string(data)
}

// asError keeps a nil refusal from becoming an error that is not nil.
func asError(r *refusal) error {
	if r == nil {
		return nil
	}
	return r
}
