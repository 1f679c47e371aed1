package bitlocker

import (
	"crypto/aes"
	"crypto/subtle"
	"fmt"
)

// MasterKey opens a volume. It prints as nothing.
type MasterKey struct{ key []byte }

// String, GoString and Format keep the key out of texts.
func (MasterKey) String() string { return "(master key)" }

// GoString is for %#v.
func (MasterKey) GoString() string { return "(master key)" }

// Format is for all other verbs.
func (MasterKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(master key)") }

// maxStretches is how many protectors one secret is stretched for: some seconds.
const maxStretches = 16

// UnlockClear finds the master key of a volume whose protection is suspended.
// ErrWrongKey: it is not.
func (h *Header) UnlockClear() (MasterKey, error) {
	return h.unlock(func(p protector) []byte {
		if p.kind != byClear {
			return nil
		}
		return p.clear
	})
}

// Unlock finds the master key with a secret: a password, a recovery password, or the
// content of a startup key. It takes about a quarter of a second for each key protector
// that the secret may be for. ErrWrongKey: it opens none. An *UnsupportedError: nothing
// here could read the data, whatever the key.
func (h *Header) Unlock(secret []byte) (MasterKey, error) {
	left := maxStretches
	stretched := func(hash [32]byte, ok bool, salt []byte) []byte {
		if !ok || salt == nil || left == 0 {
			return nil
		}
		left--
		return stretch(hash, salt)
	}
	guid, external, isFile := externalKey(secret)
	return h.unlock(func(p protector) []byte {
		switch {
		case isFile && p.kind == byStartup && p.guid == guid:
			return external
		case p.kind == byRecovery:
			hash, ok := recoveryHash(secret)
			return stretched(hash, ok, p.salt)
		case p.kind == byPassword && !isFile:
			hash, ok := passwordHash(secret)
			return stretched(hash, ok, p.salt)
		}
		return nil
	})
}

// unlock tries what key gives for each protector; nil is nothing.
func (h *Header) unlock(key func(protector) []byte) (MasterKey, error) {
	if h.refused != nil {
		return MasterKey{}, h.refused
	}
	for _, p := range h.keys {
		k := key(p)
		if k == nil {
			continue
		}
		master, ok := p.box.open(k)
		if m := (MasterKey{master}); ok && h.Fits(m) {
			return m, nil
		}
	}
	return MasterKey{}, fmt.Errorf("%w (it has: %s)", ErrWrongKey, h.about())
}

// Fits tells whether a key that opened the volume before, at another moment, still does.
func (h *Header) Fits(k MasterKey) bool {
	if h.refused != nil || len(k.key) != 32 {
		return false
	}
	_, ok := h.fvek.open(k.key)
	return ok
}

// keyHead is what stands before a key in a box: the header of an entry, and a method.
const keyHead = entryHeader + 4

// open decrypts the key in a box by AES-CCM (RFC 3610), with a counter of 3 bytes and a
// code of 16. ok is false when that is wrong: it is another key.
func (b box) open(key []byte) (content []byte, ok bool) {
	c, err := aes.NewCipher(key)
	if err != nil || len(b.data) <= keyHead || len(b.data) > 4096 {
		return nil, false
	}
	var counter, pad [aes.BlockSize]byte
	counter[0] = 2
	copy(counter[1:], b.nonce[:])
	c.Encrypt(pad[:], counter[:])
	mac := b.mac
	subtle.XORBytes(mac[:], mac[:], pad[:])
	plain := make([]byte, len(b.data))
	for i := 0; i < len(plain); i += aes.BlockSize {
		be.PutUint16(counter[14:], uint16(i/aes.BlockSize+1))
		c.Encrypt(pad[:], counter[:])
		subtle.XORBytes(plain[i:], b.data[i:], pad[:])
	}
	if code := ccmCode(c, b.nonce, plain); subtle.ConstantTimeCompare(code[:], mac[:]) != 1 {
		return nil, false
	}
	if int(le.Uint16(plain)) != len(plain) {
		return nil, false
	}
	return plain[keyHead:], true
}
