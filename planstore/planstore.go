// Package planstore keeps saved plans, sealed, from the moment they are reviewed until they are applied.
//
// A Terraform plan holds every secret value of its workspace in clear, and the plan that was reviewed must be the plan
// that is applied. So a plan never rests anywhere unsealed, and what comes out of the store is exactly what went in, for
// the same repository, workspace and id, or an error that says what happened to it.
//
// The life of a Plan (the receipt): a caller who has run Terraform fills in what it knows (workspace, commit, inputs
// digest, state lineage and serial, fingerprint, versions, counts) and hands it to Store.Put with the plan file and the
// plan's JSON. The store adds id, time, sizes and hashes, seals all three as one object and writes it, whole or not at
// all, into a bucket: a directory or S3. Later Latest, Get and List open only the head of the object to return the
// receipt; JSON and WritePlanFile return the contents; Verify reads it all. When the plan was applied, PutApplied keeps
// what was true right after, which is what drift is later measured against. Prune takes away what is no longer needed.
// A state file that Terraform could not save (errored.tfstate) is kept here too, with KeepState.
//
// The store does not decide whether a plan may be applied (it only keeps what that decision needs), does not run
// Terraform, and makes nobody wait: objects are written once under unguessable names and never changed, but for the seal
// that Rekey puts on them, so any number of processes and machines may share a bucket.
package planstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ErrNotFound is wrapped by the errors of every method that was asked for something that is not in the store.
var ErrNotFound = errors.New("not found")

// headReaders is how many heads List reads at once: enough to hide the latency of S3, few enough for any file limit.
const headReaders = 8

// Options says where plans are kept, sealed with which key, and for which repository.
type Options struct {
	// Location is a directory ("/var/lib/plans", "file:///var/lib/plans") or "s3://BUCKET/PREFIX", with the optional
	// query parameters endpoint, region, profile, path_style (true or false; true by default when endpoint is given),
	// sse (AES256, aws:kms or aws:kms:dsse), kms_key (for sse) and tags (true or false). Credentials for S3 come from
	// the AWS SDK's usual places, never from the location. A directory is made, with mode 0700, if it is missing.
	// Required.
	Location string

	// Key is the key itself: 32 bytes in base64, or several separated by white space or commas, of which the first
	// seals and all open. When it is set KeyFile is not looked at.
	Key string `json:"-"`

	// KeyFile is the path of a file with one such key a line. If it does not exist it is made with a new key and mode
	// 0600. A file that others than its owner may read is refused.
	KeyFile string

	// KMSKey names a key of AWS KMS by its ARN, its id or as alias/NAME, or several separated by white space or commas, of
	// which the first wraps the keys of new objects and all unwrap. With it the other key still opens what it sealed
	// before, seals what is small (see [Store.Seal]) and keys fingerprints. "" seals with the other key.
	KMSKey string

	// Repository identifies the repository whose plans these are: several may share a location without seeing each
	// other's. Required.
	Repository string

	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// Format prints the options for any verb without the key.
func (o Options) Format(f fmt.State, _ rune) {
	key := "none"
	if o.Key != "" {
		key = "(not shown)"
	}
	fmt.Fprintf(f, "planstore.Options{Location:%q Repository:%q KeyFile:%q Key:%s KMSKey:%q}", o.Location, o.Repository, o.KeyFile, key, o.KMSKey)
}

// Store is one repository's part of a location. It may be used by several goroutines at once.
type Store struct {
	bucket     bucket
	place      string
	repository string
	keys       *keyring
	seen       seen
	now        func() time.Time

	mu   sync.Mutex
	last time.Time // of the newest id made here, so that ids of one process sort in the order they were made
}

// Open opens a store, and makes its directory and key file if they do not exist yet. It does not contact S3: a bucket
// that is missing or closed to us shows in the first call that needs it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Repository == "" {
		return nil, errors.New("open plan store: Repository is empty: say whose plans these are")
	}
	keys, err := openKeys(o)
	if err != nil {
		return nil, fmt.Errorf("open plan store: %w", err)
	}
	b, place, err := openBucket(ctx, o.Location)
	if err != nil {
		return nil, fmt.Errorf("open plan store: %w", err)
	}
	s := &Store{bucket: b, place: place, repository: o.Repository, keys: keys, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if keys.kms, err = openKMS(ctx, o.KMSKey, s.now, kmsTimeout); err != nil {
		return nil, fmt.Errorf("open plan store: %w", err)
	}
	return s, nil
}

// Format prints the store for any verb: its location, never its keys.
func (s *Store) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "planstore.Store{Location:%q Repository:%q}", s.Location(), s.repository)
}

// Location says where the store is, for people: a directory or an S3 address. It holds no credentials.
func (s *Store) Location() string { return s.place }

// Put stores a plan with its receipt and returns the receipt completed: ID, Repository, CreatedAt (unless set), sizes
// and hashes. Both readers are read to their end, once. The plan is stored whole or, when there is an error, not at all.
func (s *Store) Put(ctx context.Context, p Plan, planFile, planJSON io.Reader) (Plan, error) {
	failed := func(err error) (Plan, error) {
		return Plan{}, fmt.Errorf("store the plan of workspace %q in %s: %w", p.Workspace, s.Location(), err)
	}
	if p.Workspace == "" {
		return failed(errors.New("the receipt names no workspace"))
	}
	if p.Repository != "" && p.Repository != s.repository {
		return failed(fmt.Errorf("the receipt is of repository %q, this store of %q", p.Repository, s.repository))
	}
	file, err := readPart(partPlan, planFile)
	if err != nil {
		return failed(err)
	}
	defer file.close()
	text, err := readPart(partJSON, planJSON)
	if err != nil {
		return failed(err)
	}
	defer text.close()
	id, at, err := s.newID()
	if err != nil {
		return failed(err)
	}
	p.ID, p.Repository = id, s.repository
	if p.CreatedAt.IsZero() {
		p.CreatedAt = at
	}
	if p.Purpose == "" {
		p.Purpose = PurposePlan
	}
	p.PlanSHA256, p.PlanBytes = file.SHA256, file.Bytes
	p.JSONSHA256, p.JSONBytes = text.SHA256, text.Bytes
	if err := s.put(ctx, kindPlan, maker{p.Workspace, p.Commit, cmp.Or(p.Run, id)}, id, p, file, text); err != nil {
		return failed(err)
	}
	return p, nil
}

// Latest returns the newest plan of a workspace that the command line made (whose Change is "") and whose purpose is
// PurposePlan; corrections of drift and proposals are found by their id only. The error wraps ErrNotFound if there is
// none. It is a *BrokenError if the newest stored plan cannot be read: an older plan is never passed off as the newest.
func (s *Store) Latest(ctx context.Context, workspace string) (Plan, error) {
	return s.LatestOf(ctx, workspace, "")
}

// LatestOf is Latest in the scope of a change.
func (s *Store) LatestOf(ctx context.Context, workspace, change string) (Plan, error) {
	what := fmt.Sprintf("the newest plan of workspace %q", workspace)
	if change != "" {
		what += fmt.Sprintf(" for change %q", change)
	}
	entries, err := s.entries(ctx, kindPlan, workspace)
	if err != nil {
		return Plan{}, fmt.Errorf("find %s: %w", what, err)
	}
	for _, e := range slices.Backward(entries) {
		var p Plan
		if err := s.head(ctx, e, &p); err != nil {
			return Plan{}, fmt.Errorf("read %s: %w", what, err)
		}
		if p.Purpose == PurposePlan && p.Change == change {
			return p, nil
		}
	}
	return Plan{}, fmt.Errorf("find %s: %w in %s: plan it first", what, ErrNotFound, s.Location())
}

// DeleteThrough deletes a plan and those of its workspace and scope (see [Plan.Change]) that it had replaced when it was
// made. What cannot be read, and is as old, goes with them: nobody can apply it. That none is there is no error.
func (s *Store) DeleteThrough(ctx context.Context, through Plan) error {
	err := s.deletePlans(ctx, through.Workspace, through.ID, func(p Plan, err error) bool {
		var broken *BrokenError
		return errors.As(err, &broken) || err == nil && p.Change == through.Change
	})
	if err != nil {
		return fmt.Errorf("delete the plans of workspace %q up to %s: %w", through.Workspace, through.ID, err)
	}
	return nil
}

// DeleteChange deletes all plans of a change, of every workspace and purpose. That none is there is no error; "" is the
// scope of the command line, whose plans do not go all at once.
func (s *Store) DeleteChange(ctx context.Context, change string) error {
	if change == "" {
		return errors.New("delete the plans of a change: the change has no name")
	}
	err := s.deletePlans(ctx, "", "", func(p Plan, err error) bool { return err == nil && p.Change == change })
	if err != nil {
		return fmt.Errorf("delete the plans of change %q: %w", change, err)
	}
	return nil
}

// deletePlans deletes the plans that which selects, of one workspace up to an id, or with "" of all workspaces and ids.
// which is told of the error of a head that cannot be read.
func (s *Store) deletePlans(ctx context.Context, workspace, through string, which func(Plan, error) bool) error {
	entries, err := s.entries(ctx, kindPlan, workspace)
	if err != nil {
		return err
	}
	errs := make([]error, len(entries))
	var group errgroup.Group
	group.SetLimit(headReaders)
	for i, e := range entries {
		if through != "" && e.id > through {
			break
		}
		group.Go(func() error {
			var p Plan
			headErr := s.head(ctx, e, &p)
			var broken *BrokenError
			switch {
			case which(p, headErr):
				if err := s.bucket.Delete(ctx, e.key); err != nil && !errors.Is(err, ErrNotFound) {
					errs[i] = fmt.Errorf("delete plan %s: %w", e.id, err)
				}
			case headErr != nil && !errors.As(headErr, &broken) && !errors.Is(headErr, ErrNotFound):
				errs[i] = headErr
			}
			return nil
		})
	}
	_ = group.Wait() // always nil: errors are collected by place
	return errors.Join(errs...)
}

// Get returns the receipt with this id, or with the only id that begins with it.
func (s *Store) Get(ctx context.Context, id string) (Plan, error) {
	e, err := s.find(ctx, kindPlan, id)
	if err != nil {
		return Plan{}, err
	}
	var p Plan
	if err := s.head(ctx, e, &p); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	return p, nil
}

// JSON returns the JSON of a plan, as `terraform show -json` printed it, checked against its receipt.
func (s *Store) JSON(ctx context.Context, id string) ([]byte, error) {
	e, err := s.find(ctx, kindPlan, id)
	if err != nil {
		return nil, err
	}
	text, err := s.readBytes(ctx, e, partJSON)
	if err != nil {
		return nil, fmt.Errorf("read the JSON of plan: %w", err)
	}
	return text, nil
}

// WritePlanFile writes a plan's file to path with mode 0600, for `terraform apply`. The file appears there whole and
// checked against its receipt, replacing what was there; or, when there is an error, not at all.
func (s *Store) WritePlanFile(ctx context.Context, id, path string) error {
	e, err := s.find(ctx, kindPlan, id)
	if err != nil {
		return err
	}
	err = writeFile(path, func(w io.Writer) error {
		return s.readPart(ctx, e, partPlan, w)
	}, os.Rename)
	if err != nil {
		return fmt.Errorf("write plan to %s: %w", path, err)
	}
	return nil
}

// List returns the receipts of all plans, newest first. Entries that cannot be read do not hide the others: they are
// joined in the error (each a *BrokenError, or what the bucket said), and the slice holds the rest.
func (s *Store) List(ctx context.Context) ([]Plan, error) {
	entries, err := s.entries(ctx, kindPlan, "")
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	plans, err := heads[Plan](ctx, s, entries)
	slices.SortFunc(plans, func(a, b Plan) int { return strings.Compare(b.ID, a.ID) })
	return plans, err
}

// Verify reads a plan from end to end and checks that it is whole, untouched, in its own place, and that its contents
// are those of its receipt.
func (s *Store) Verify(ctx context.Context, id string) error {
	e, err := s.find(ctx, kindPlan, id)
	if err != nil {
		return err
	}
	if err := s.verify(ctx, e); err != nil {
		return fmt.Errorf("verify plan: %w", err)
	}
	return nil
}

// Delete removes a plan, readable or not.
func (s *Store) Delete(ctx context.Context, id string) error {
	e, err := s.look(ctx, kindPlan, id)
	if err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, e.key); err != nil {
		return fmt.Errorf("delete plan %s: %w", e.id, err)
	}
	return nil
}

// entry is an object of this repository as the bucket's listing shows it.
type entry struct {
	object
	kind kind
	id   string
}

// entries lists the objects of a kind, oldest first, of one workspace or, if it is "", of all.
func (s *Store) entries(ctx context.Context, k kind, workspace string) ([]entry, error) {
	prefix := s.prefix(k)
	if workspace != "" {
		prefix += slug(workspace) + "/"
	}
	objects, err := s.bucket.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Location(), err)
	}
	return s.entriesOf(k, objects), nil
}

// entriesOf picks from a listing what is ours, oldest first.
func (s *Store) entriesOf(k kind, objects []object) []entry {
	var entries []entry
	for _, o := range objects {
		name := o.key[strings.LastIndexByte(o.key, '/')+1:]
		if id, ok := strings.CutSuffix(name, suffix); ok {
			entries = append(entries, entry{object: o, kind: k, id: id})
		}
	}
	s.seen.add(entries...)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.id, b.id) })
	return entries
}

// find returns the only entry whose id is id or begins with it. What this process has seen, or made, is not looked for
// again: an object stays where it is.
func (s *Store) find(ctx context.Context, k kind, id string) (entry, error) {
	if e, ok := s.seen.get(k, id); ok {
		return e, nil
	}
	return s.look(ctx, k, id)
}

// look is find in the bucket as it is now.
func (s *Store) look(ctx context.Context, k kind, id string) (entry, error) {
	if id == "" {
		return entry{}, fmt.Errorf("find %s: the id is empty", k.title)
	}
	entries, err := s.entries(ctx, k, "")
	if err != nil {
		return entry{}, fmt.Errorf("find %s %q: %w", k.title, id, err)
	}
	var found []entry
	for _, e := range entries {
		if e.id == id {
			return e, nil
		}
		if strings.HasPrefix(e.id, id) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return entry{}, fmt.Errorf("find %s %q: %w in %s for repository %q", k.title, id, ErrNotFound, s.Location(), s.repository)
	default:
		return entry{}, fmt.Errorf("find %s %q: %d ids begin so (%s, %s, …): give more of it", k.title, id, len(found), found[0].id, found[1].id)
	}
}

// maker is what made an object. AWS KMS is told of it whenever it gives out the object's key.
type maker struct{ workspace, commit, run string }

// put seals one object and writes it.
func (s *Store) put(ctx context.Context, k kind, by maker, id string, receipt any, parts ...part) error {
	h := header{Kind: k.name, Repository: s.repository, Workspace: by.workspace, ID: id}
	if s.keys.kms != nil {
		h.Commit, h.Run = by.commit, by.run
	}
	c, err := s.keys.seal(ctx, h, receipt, parts)
	if err != nil {
		return err
	}
	key := s.key(k, by.workspace, id)
	if err := s.bucket.Put(ctx, key, c); err != nil {
		return err
	}
	s.seen.add(entry{object: object{key: key}, kind: k, id: id})
	return nil
}

// heads opens the heads of entries, several at a time, and returns the receipts that could be read and the joined errors
// of the others.
func heads[T any](ctx context.Context, s *Store, entries []entry) ([]T, error) {
	receipts := make([]T, len(entries))
	errs := make([]error, len(entries))
	var group errgroup.Group
	group.SetLimit(headReaders)
	for i, e := range entries {
		group.Go(func() error {
			errs[i] = s.head(ctx, e, &receipts[i])
			return nil
		})
	}
	_ = group.Wait() // always nil: errors are collected by place
	good := receipts[:0]
	for i := range receipts {
		if errs[i] == nil {
			good = append(good, receipts[i])
		}
	}
	return good, errors.Join(errs...)
}
