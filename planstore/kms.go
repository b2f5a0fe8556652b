package planstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// With AWS KMS each object has a key of its own. KMS makes it, gives it out in clear and wrapped, and the wrapped one goes
// into the object's header. To open the object KMS is asked to unwrap it, and is told each time whose it is (the encryption
// context): a key that was taken to another header does not unwrap, and CloudTrail knows who opened which plan.

const (
	// unwrappedFor is how long an unwrapped key is remembered. A plan is opened several times within seconds; one from
	// which KMS is told to keep us is closed soon.
	unwrappedFor = 5 * time.Minute

	// unwrappedLimit bounds how many are.
	unwrappedLimit = 2_000

	// kmsTimeout is how long one request may take: its answer is small.
	kmsTimeout = 30 * time.Second
)

// kmsKeys are keys of AWS KMS. The first wraps, all unwrap.
type kmsKeys struct {
	keys []kmsKey
	now  func() time.Time

	mu        sync.Mutex
	unwrapped map[[sha256.Size]byte]unwrapped
}

type kmsKey struct {
	id     string // as it was given: an ARN, an id or an alias
	client *kms.Client
}

type unwrapped struct {
	key   []byte
	until time.Time
}

var (
	keyID     = regexp.MustCompile(`^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)
	aliasName = regexp.MustCompile(`^[a-zA-Z0-9/_-]{1,250}$`)
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	region    = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)+-[0-9]+$`)
)

// checkKMSKey says what is wrong with the name of a key. It does not quote it: something else may have been put there.
func checkKMSKey(id string) error {
	const form = "give its ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), its id, or alias/NAME"
	resource := id
	if strings.HasPrefix(id, "arn:") {
		a, err := arn.Parse(id)
		switch {
		case err != nil:
			return fmt.Errorf("that is not a whole ARN: %s", form)
		case a.Service != "kms":
			return fmt.Errorf("that is the ARN of something else than a key of KMS: %s", form)
		case !region.MatchString(a.Region):
			return fmt.Errorf("its ARN names no region: %s", form)
		case !accountID.MatchString(a.AccountID):
			return fmt.Errorf("its ARN names no account (12 digits): %s", form)
		}
		resource = a.Resource
		if !strings.HasPrefix(resource, "alias/") {
			var ok bool
			if resource, ok = strings.CutPrefix(resource, "key/"); !ok {
				return fmt.Errorf("its ARN ends in neither key/ID nor alias/NAME: %s", form)
			}
		}
	}
	if alias, ok := strings.CutPrefix(resource, "alias/"); ok {
		if !aliasName.MatchString(alias) {
			return fmt.Errorf("that is not the name of an alias: %s", form)
		}
		return nil
	}
	if !keyID.MatchString(resource) {
		return fmt.Errorf("that is not the id of a key: %s", form)
	}
	return nil
}

// CheckKMSKeys says what is wrong with a list of keys as [Options.KMSKey] takes it, without asking AWS.
func CheckKMSKeys(list string) error {
	for i, id := range kmsKeyList(list) {
		if err := checkKMSKey(id); err != nil {
			return fmt.Errorf("KMS key %d: %w", i+1, err)
		}
	}
	return nil
}

func kmsKeyList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' })
}

// openKMS prepares keys; nil if the list is empty. It does not contact AWS. A request may take as long as
// timeout.
func openKMS(ctx context.Context, list string, now func() time.Time, timeout time.Duration) (*kmsKeys, error) {
	ids := kmsKeyList(list)
	if len(ids) == 0 {
		return nil, nil
	}
	if err := CheckKMSKeys(list); err != nil {
		return nil, err
	}
	settings, err := loadAWS(ctx, "", "", timeout)
	if err != nil {
		return nil, fmt.Errorf("KMS key %s: %w", ids[0], err)
	}
	k := &kmsKeys{now: now, unwrapped: make(map[[sha256.Size]byte]unwrapped)}
	for _, id := range ids {
		in := settings.Region
		if a, err := arn.Parse(id); err == nil {
			in = a.Region // wherever this runs
		}
		if in == "" {
			return nil, fmt.Errorf("KMS key %s: no region is known: give its ARN, or set AWS_REGION", id)
		}
		k.keys = append(k.keys, kmsKey{id: id, client: kms.NewFromConfig(settings, func(o *kms.Options) { o.Region = in })})
	}
	return k, nil
}

// encryptionContext is what KMS is told of an object. IAM policies may ask for it.
func (h *header) encryptionContext() map[string]string {
	c := map[string]string{"workspace": h.Workspace, "run": h.Run}
	if h.Commit != "" {
		c["commit"] = h.Commit
	}
	return c
}

// generate makes a key for an object, and puts it wrapped into the header.
func (k *kmsKeys) generate(ctx context.Context, h *header) ([]byte, error) {
	first := k.keys[0]
	out, err := first.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: aws.String(first.id), KeySpec: types.DataKeySpecAes256, EncryptionContext: h.encryptionContext(),
	})
	if err != nil {
		return nil, explainKMS(first.id, err)
	}
	if len(out.Plaintext) != keyBytes || len(out.CiphertextBlob) == 0 {
		return nil, fmt.Errorf("KMS key %s: GenerateDataKey answered without a key", first.id)
	}
	h.Key, h.Wrapped = cmp.Or(aws.ToString(out.KeyId), first.id), out.CiphertextBlob
	k.remember(h, out.Plaintext)
	return out.Plaintext, nil
}

// decrypt unwraps the key of an object. KMS is told which key it must be: not the header, which anybody who can write to
// the store may have written, but the configuration says whom we trust.
func (k *kmsKeys) decrypt(ctx context.Context, h header) ([]byte, error) {
	if key, ok := k.recall(&h); ok {
		return key, nil
	}
	var others error
	likely := k.likely(h.Key)
	for _, key := range likely {
		out, err := key.client.Decrypt(ctx, &kms.DecryptInput{
			KeyId: aws.String(key.id), CiphertextBlob: h.Wrapped, EncryptionContext: h.encryptionContext(),
		})
		var incorrect *types.IncorrectKeyException
		var invalid *types.InvalidCiphertextException
		switch {
		case err == nil && len(out.Plaintext) == keyBytes:
			k.remember(&h, out.Plaintext)
			return out.Plaintext, nil
		case errors.As(err, &incorrect):
			continue
		case errors.As(err, &invalid):
			if names(key.id, h.Key) || len(likely) == 1 {
				return nil, &keyError{Tampered, "KMS does not unwrap its key: " + damaged}
			}
			// A key in another region calls what it did not wrap invalid.
			continue
		case err != nil:
			others = errors.Join(others, explainKMS(key.id, err))
		}
	}
	if others != nil {
		return nil, others
	}
	return nil, &keyError{OtherKey, fmt.Sprintf("it is sealed with KMS key %s and configured is only %s", h.Key, k.ids())}
}

// likely returns the keys with those first that a header names.
func (k *kmsKeys) likely(wanted string) []kmsKey {
	var named, rest []kmsKey
	for _, key := range k.keys {
		if names(key.id, wanted) {
			named = append(named, key)
		} else if strings.Contains(key.id, "alias/") {
			rest = append(rest, key)
		}
	}
	return append(named, rest...)
}

// names reports whether an id or ARN as it was given is that of a key.
func names(id, keyARN string) bool {
	if id == keyARN || strings.HasSuffix(keyARN, ":key/"+id) {
		return true
	}
	// A key of several regions has one id in all of them.
	_, mine, _ := strings.Cut(id, ":key/mrk-")
	_, other, _ := strings.Cut(keyARN, ":key/mrk-")
	return mine != "" && mine == other
}

// wraps reports whether new objects would get their keys from where this one has it.
func (k *kmsKeys) wraps(ctx context.Context, h header) (bool, error) {
	if len(h.Wrapped) == 0 {
		return false, nil
	}
	first := k.keys[0]
	if !strings.Contains(first.id, "alias/") {
		return names(first.id, h.Key), nil
	}
	out, err := first.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: aws.String(first.id), KeySpec: types.DataKeySpecAes256, EncryptionContext: h.encryptionContext(),
	})
	if err != nil {
		return false, explainKMS(first.id, err)
	}
	return aws.ToString(out.KeyId) == h.Key, nil
}

func (k *kmsKeys) ids() string {
	var ids []string
	for _, key := range k.keys {
		ids = append(ids, key.id)
	}
	return strings.Join(ids, ", ")
}

// place is what an unwrapped key is remembered by: all that KMS was told.
func (h *header) place() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", h.Wrapped, h.Workspace, h.Commit, h.Run))
}

func (k *kmsKeys) remember(h *header, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.unwrapped) >= unwrappedLimit {
		clear(k.unwrapped)
	}
	k.unwrapped[h.place()] = unwrapped{key, k.now().Add(unwrappedFor)}
}

func (k *kmsKeys) recall(h *header) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, ok := k.unwrapped[h.place()]
	return u.key, ok && k.now().Before(u.until)
}

// explainKMS turns what KMS says into what to do about it. None of these mean that a plan is broken: they pass, or a person
// mends them.
func explainKMS(id string, err error) error {
	failed := func(what string) error { return fmt.Errorf("KMS key %s: %s: %w", id, what, err) }
	var operation string
	var op *smithy.OperationError
	if errors.As(err, &op) {
		operation = op.OperationName
	}
	switch errorCode(err) {
	case "NotFoundException":
		return failed("there is no such key in that account and region: correct it, or if it was deleted configure another; " + onlyPlans)
	case "DisabledException":
		return failed("it is disabled: enable it in AWS, or configure another; " + onlyPlans)
	case "KMSInvalidStateException":
		return failed("it cannot be used in the state that it is in, such as waiting for its deletion: cancel that in AWS, or configure another; " + onlyPlans)
	case "InvalidKeyUsageException":
		return failed("it is a key for something else: it must be symmetric, for encryption and decryption")
	case "AccessDeniedException":
		return failed(fmt.Sprintf("access is denied: these credentials need kms:%s on it, from IAM or from the key's own policy", operation))
	case "ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException":
		return failed("the credentials are not valid, or not any more: " + renewCredentials)
	case "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature":
		return failed("AWS refuses the credentials: check the access key, its secret, and this machine's clock")
	}
	if what := unmet(err); what != "" {
		return failed(what)
	}
	return failed("it does not answer as it should")
}

// onlyPlans says what a lost key costs.
const onlyPlans = "without it stored plans cannot be read, and must be made again; Terraform's state is not touched by that"
