package awstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// key is a symmetric key of KMS.
type key struct {
	arn    string
	state  types.KeyState
	cipher cipher.AEAD
}

// AddKey makes a key in a region and returns its ARN.
func (s *Server) AddKey(region string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := random(16)
	arn := fmt.Sprintf("arn:aws:kms:%s:%s:key/%x-%x-%x-%x-%x", region, Account, id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	block, err := aes.NewCipher(random(32))
	if err != nil {
		panic(err) // the key has the right length
	}
	sealer, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // as above
	}
	s.keys[arn] = &key{arn: arn, state: types.KeyStateEnabled, cipher: sealer}
	return arn
}

// SetAlias points an alias, alias/NAME, to a key of its region.
func (s *Server) SetAlias(region, alias, arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[region+" "+alias] = arn
}

// SetKeyState changes what a key is good for: Enabled, Disabled, PendingDeletion, or "" for one that was deleted.
func (s *Server) SetKeyState(arn, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == "" {
		delete(s.keys, arn)
		return
	}
	s.keys[arn].state = types.KeyState(state)
}

func (s *Server) addKMS() {
	handleJSON(s, "kms", schemas.TrentService, schemas.GenerateDataKey, schemas.GenerateDataKeyRequest, schemas.GenerateDataKeyResponse, s.generateDataKey)
	handleJSON(s, "kms", schemas.TrentService, schemas.Decrypt, schemas.DecryptRequest, schemas.DecryptResponse, s.decrypt)
}

func (s *Server) generateDataKey(c *Call, in *kms.GenerateDataKeyInput) (*kms.GenerateDataKeyOutput, error) {
	c.Context = in.EncryptionContext
	k, err := s.key(c.Region, aws.ToString(in.KeyId))
	if err != nil {
		return nil, err
	}
	if in.KeySpec != types.DataKeySpecAes256 {
		return nil, failure("ValidationException", "KeySpec %q is not known here", in.KeySpec)
	}
	plain := random(32)
	nonce := random(k.cipher.NonceSize())
	// What a real one looks like is nobody's business; it tells its key.
	blob := append([]byte(k.arn+"\n"), nonce...)
	return &kms.GenerateDataKeyOutput{
		KeyId: aws.String(k.arn), Plaintext: plain, CiphertextBlob: k.cipher.Seal(blob, nonce, plain, additional(in.EncryptionContext)),
	}, nil
}

func (s *Server) decrypt(c *Call, in *kms.DecryptInput) (*kms.DecryptOutput, error) {
	c.Context = in.EncryptionContext
	invalid := &types.InvalidCiphertextException{}
	var asked *key
	if in.KeyId != nil {
		var err error
		if asked, err = s.key(c.Region, *in.KeyId); err != nil {
			return nil, err
		}
	}
	arn, sealed, ok := bytes.Cut(in.CiphertextBlob, []byte("\n"))
	k := s.keys[string(arn)]
	if !ok || k == nil || !strings.Contains(k.arn, ":"+c.Region+":") || len(sealed) < k.cipher.NonceSize() {
		return nil, invalid
	}
	if asked != nil && asked != k {
		return nil, &types.IncorrectKeyException{Message: aws.String("The key ID in the request does not identify a CMK that can perform this operation.")}
	}
	if err := k.usable(); err != nil {
		return nil, err
	}
	nonce, sealed := sealed[:k.cipher.NonceSize()], sealed[k.cipher.NonceSize():]
	plain, err := k.cipher.Open(nil, nonce, sealed, additional(in.EncryptionContext))
	if err != nil {
		return nil, invalid
	}
	return &kms.DecryptOutput{KeyId: aws.String(k.arn), Plaintext: plain, EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault}, nil
}

// key finds a key that can be used by ARN, id or alias.
func (s *Server) key(region, id string) (*key, error) {
	name, inARN := id, strings.HasPrefix(id, "arn:")
	if inARN {
		name = id[strings.LastIndexByte(id, ':')+1:]
	}
	k := s.keys[id]
	if !inARN {
		k = s.keys[fmt.Sprintf("arn:aws:kms:%s:%s:key/%s", region, Account, id)]
	}
	if strings.HasPrefix(name, "alias/") {
		k = s.keys[s.aliases[region+" "+name]]
	}
	if k == nil || !strings.Contains(k.arn, ":"+region+":") {
		return nil, &types.NotFoundException{Message: aws.String(fmt.Sprintf("Key '%s' does not exist", id))}
	}
	return k, k.usable()
}

func (k *key) usable() error {
	switch k.state {
	case types.KeyStateEnabled:
		return nil
	case types.KeyStateDisabled:
		return &types.DisabledException{Message: aws.String(k.arn + " is disabled.")}
	}
	return &types.KMSInvalidStateException{Message: aws.String(fmt.Sprintf("%s is %s.", k.arn, k.state))}
}

// additional is an encryption context as associated data; maps are written in the order of their keys.
func additional(context map[string]string) []byte {
	text, err := json.Marshal(context)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

func random(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err) // it never fails
	}
	return b
}
