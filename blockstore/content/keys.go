package content

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"
)

// SecretSize is the length of a master secret in bytes.
const SecretSize = 32

// Secret is a vault's master secret.
type Secret [SecretSize]byte

// NewSecret returns a random secret.
func NewSecret() Secret {
	var s Secret
	rand.Read(s[:]) // never fails: it ends the process when the kernel gives no randomness
	return s
}

// MarshalText writes s as hexadecimal digits.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText reads hexadecimal digits.
func (s *Secret) UnmarshalText(text []byte) error {
	if len(text) != 2*SecretSize {
		return fmt.Errorf("secret has %d digits, want %d", len(text), 2*SecretSize)
	}
	return decodeHex(s[:], text)
}

// The context strings of BLAKE3's key derivation are part of the format.
const (
	contextBlock = "holdfast 2026 v1 id of blocks"
	contextPage  = "holdfast 2026 v1 id of pages"
	contextBlob  = "holdfast 2026 v1 id of blobs"
	contextMAC   = "holdfast 2026 v1 mac of records and segments"
	contextSeal  = "holdfast 2026 v1 seal of packs"
	contextRest  = "holdfast 2026 v1 seal of records"

	contextFingerprint = "holdfast 2026 v1 fingerprint of vaults" // not part of the format: hosts remember it
)

// Fingerprint names a secret without telling anything of it.
func Fingerprint(s Secret) string {
	var b [16]byte
	blake3.DeriveKey(contextFingerprint, s[:], b[:])
	return hex.EncodeToString(b[:])
}

// Keys are the keys derived from one master secret. They are safe for
// concurrent use.
type Keys struct {
	kinds [4]hasherPool // index: Kind
	mac   hasherPool
	seal  hasherPool
	rest  [32]byte // of SealRecord
}

// Derive computes the keys of a secret.
func Derive(s Secret) *Keys {
	k := &Keys{}
	k.kinds[Block] = newPool(s, contextBlock)
	k.kinds[Page] = newPool(s, contextPage)
	k.kinds[Blob] = newPool(s, contextBlob)
	k.mac = newPool(s, contextMAC)
	k.seal = newPool(s, contextSeal)
	blake3.DeriveKey(contextRest, s[:], k.rest[:])
	return k
}

// PackKey is the key of the sealed pack of an id.
func (k *Keys) PackKey(id [16]byte) (key [32]byte) {
	h := k.seal.fresh()
	h.Write(id[:])
	h.Sum(key[:0])
	return key
}

// ID names plaintext of a kind. The block of zeros is not treated apart: the
// caller finds it more cheaply than by hashing.
func (k *Keys) ID(kind Kind, plaintext []byte) ID {
	if !kind.Valid() {
		panic(fmt.Sprintf("content: ID of unknown %v", kind))
	}
	pool := &k.kinds[kind]
	if wide && sizeIsWide(len(plaintext)) {
		return pool.key.sum(plaintext)
	}
	h := pool.get()
	defer pool.put(h)
	h.Write(plaintext)
	var id ID
	h.Sum(id[:0])
	return id
}

// MACSize is the length of a MAC in bytes.
const MACSize = 32

// MAC authenticates body as what lies at path, relative to the vault's folder
// and separated by slashes: a record moved to another path does not verify.
func (k *Keys) MAC(path string, body ...[]byte) [MACSize]byte {
	h := k.mac.get()
	defer k.mac.put(h)
	m := macOf(h, path)
	for _, b := range body {
		m.Write(b)
	}
	return m.Sum()
}

// Verify tells whether mac is the MAC of body at path.
func (k *Keys) Verify(mac [MACSize]byte, path string, body ...[]byte) bool {
	want := k.MAC(path, body...)
	return subtle.ConstantTimeCompare(want[:], mac[:]) == 1
}

// MAC is a MAC being computed. It is used by one goroutine.
type MAC struct{ h *blake3.Hasher }

// NewMAC starts the MAC of what lies at path, for bodies that are streamed.
func (k *Keys) NewMAC(path string) *MAC { return macOf(k.mac.fresh(), path) }

func macOf(h *blake3.Hasher, path string) *MAC {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(path)))
	h.Write(n[:])
	h.WriteString(path)
	return &MAC{h}
}

// Write adds to the body. It never fails.
func (m *MAC) Write(p []byte) (int, error) { return m.h.Write(p) }

// Sum returns the MAC of all that was written.
func (m *MAC) Sum() (sum [MACSize]byte) {
	m.h.Sum(sum[:0])
	return sum
}

// hasherPool hands out hashers that are keyed already: a hasher is 2 KiB, and
// keying one for each block would cost more than it should.
type hasherPool struct {
	seed *blake3.Hasher // never written to
	pool *sync.Pool
	key  wideKey // the same key
}

func newPool(s Secret, context string) hasherPool {
	var key [32]byte
	blake3.DeriveKey(context, s[:], key[:])
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for a key that is not 32 bytes long
	}
	return hasherPool{h, &sync.Pool{New: func() any { return h.Clone() }}, newWideKey(&key)}
}

func (p hasherPool) fresh() *blake3.Hasher { return p.seed.Clone() }
func (p hasherPool) get() *blake3.Hasher   { return p.pool.Get().(*blake3.Hasher) }
func (p hasherPool) put(h *blake3.Hasher)  { h.Reset(); p.pool.Put(h) }
