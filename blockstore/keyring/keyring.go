package keyring

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// The kinds of keys.
const (
	Passphrase = "passphrase"
	Recipient  = "age"
)

// Limits, which also bound what a hostile VAULT can cost: memory for scrypt is
// a KiB for each step of its cost.
const (
	MaxKeys = 32
	MaxWork = 20 // binary logarithm of scrypt's cost: 1 GiB, a few seconds
)

// Errors of opening.
var (
	ErrNoKey    = errors.New("the vault is sealed, and no passphrase or identity is given")
	ErrWrongKey = errors.New("none of the given keys opens the vault")
)

// Key is one wrapped form of the secret. Its JSON form is part of VAULT.
type Key struct {
	ID        string    `json:"id"` // 8 hexadecimal digits, for naming it
	Kind      string    `json:"kind"`
	Recipient string    `json:"recipient,omitempty"` // public half of the identity that opens it
	Note      string    `json:"note,omitempty"`
	Added     time.Time `json:"added"`
	Wrapped   []byte    `json:"wrapped"` // an age file that holds the secret
	// Check tells a damaged key from one that is not for whoever tries it.
	Check string `json:"check"`
}

// sum is what Check must be: the beginning of the SHA-256 of kind and wrapped
// form.
func (k *Key) sum() string {
	h := sha256.Sum256(append([]byte(k.Kind+"\x00"), k.Wrapped...))
	return hex.EncodeToString(h[:8])
}

// Damaged tells whether some key is not what was written. Whoever can write
// the vault can make it right: that it is not is damage, and no attack.
func Damaged(keys []Key) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Check != k.sum() })
}

// NewPassphrase wraps a secret by a passphrase. Work is the binary logarithm
// of scrypt's cost; 0 means 18, which takes about a second.
func NewPassphrase(s content.Secret, passphrase string, work int) (Key, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return Key{}, fmt.Errorf("passphrase: %w", err)
	}
	if work < 0 || work > MaxWork {
		return Key{}, fmt.Errorf("passphrase: a cost of 2^%d, at most 2^%d can be opened again", work, MaxWork)
	}
	if work != 0 {
		r.SetWorkFactor(work)
	}
	return wrap(s, Key{Kind: Passphrase}, r)
}

// NewRecipient wraps a secret for an age recipient, age1...
func NewRecipient(s content.Secret, recipient string) (Key, error) {
	r, err := age.ParseX25519Recipient(strings.TrimSpace(recipient))
	if err != nil {
		return Key{}, fmt.Errorf("recipient %.80q: %w", recipient, err)
	}
	return wrap(s, Key{Kind: Recipient, Recipient: r.String()}, r)
}

// NewIdentity makes an age identity, for keeping the secret half on paper.
func NewIdentity() (secret, recipient string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return i.String(), i.Recipient().String(), nil
}

func wrap(s content.Secret, k Key, r age.Recipient) (Key, error) {
	var id [4]byte
	rand.Read(id[:]) // never fails
	k.ID, k.Added = hex.EncodeToString(id[:]), time.Now().UTC().Truncate(time.Second)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err == nil {
		_, err = w.Write(s[:])
	}
	if err == nil {
		err = w.Close()
	}
	k.Wrapped = out.Bytes()
	k.Check = k.sum()
	return k, err
}

// Unlocker is what somebody who opens a vault can give.
type Unlocker struct {
	// Passphrase returns it, once, when a key needs one; nil: none is given.
	Passphrase func() (string, error)
	// Ask asks a person for a passphrase when nothing that is given opens the
	// vault; nil: nobody is there.
	Ask func() (string, error)
	// Identities are age identity files, read already: lines of AGE-SECRET-KEY-1...
	Identities []string
}

// Unlock returns the secret that some key wraps. Identities go first, since
// they cost nothing to try.
func (u *Unlocker) Unlock(keys []Key) (content.Secret, error) {
	if len(keys) > MaxKeys {
		return content.Secret{}, fmt.Errorf("the vault lists %d keys, at most %d can be", len(keys), MaxKeys)
	}
	ids, err := u.identities()
	if err != nil {
		return content.Secret{}, err
	}
	for _, k := range keys {
		if k.Kind != Recipient || len(ids) == 0 {
			continue
		}
		if s, err := unwrap(k, ids...); err == nil {
			return s, nil
		}
	}
	if ask := u.passphrase(); ask != nil && hasPassphrase(keys) {
		return byPassphrase(keys, ask)
	}
	if u.Given() {
		return content.Secret{}, ErrWrongKey
	}
	return content.Secret{}, ErrNoKey
}

// passphrase returns what gives a passphrase, or nil.
func (u *Unlocker) passphrase() func() (string, error) {
	switch {
	case u == nil:
		return nil
	case u.Passphrase != nil:
		return u.Passphrase
	}
	return u.Ask
}

func hasPassphrase(keys []Key) bool {
	for _, k := range keys {
		if k.Kind == Passphrase {
			return true
		}
	}
	return false
}

func byPassphrase(keys []Key, ask func() (string, error)) (content.Secret, error) {
	p, err := ask()
	if err != nil {
		return content.Secret{}, err
	}
	i, err := age.NewScryptIdentity(p)
	if err != nil {
		return content.Secret{}, fmt.Errorf("passphrase: %w", err)
	}
	i.SetMaxWorkFactor(MaxWork)
	for _, k := range keys {
		if k.Kind != Passphrase {
			continue
		}
		if s, err := unwrap(k, i); err == nil {
			return s, nil
		}
	}
	return content.Secret{}, ErrWrongKey
}

func (u *Unlocker) identities() ([]age.Identity, error) {
	if u == nil {
		return nil, nil
	}
	var all []age.Identity
	for _, text := range u.Identities {
		ids, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil { // a recovery sheet, for example, has its key among words
			ids, _ = age.ParseIdentities(strings.NewReader(keyLines(text)))
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("identity file: it has no line that is a key, AGE-SECRET-KEY-1...: %w", err)
		}
		all = append(all, ids...)
	}
	return all, nil
}

// keyLines are those lines of a text that look like keys of age.
func keyLines(text string) string {
	var keys strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "AGE-SECRET-KEY-1") {
			keys.WriteString(line + "\n")
		}
	}
	return keys.String()
}

func unwrap(k Key, ids ...age.Identity) (s content.Secret, err error) {
	r, err := age.Decrypt(bytes.NewReader(k.Wrapped), ids...)
	if err != nil {
		return s, err
	}
	b, err := io.ReadAll(io.LimitReader(r, content.SecretSize+1))
	if err == nil && len(b) != content.SecretSize {
		err = fmt.Errorf("key %s holds %d bytes", k.ID, len(b))
	}
	copy(s[:], b)
	return s, err
}

// Given tells whether somebody named something to open a vault with.
func (u *Unlocker) Given() bool { return u != nil && (u.Passphrase != nil || len(u.Identities) > 0) }
