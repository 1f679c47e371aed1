package luks

import (
	"crypto/pbkdf2"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
)

// VolumeKey decrypts a volume. It prints as nothing.
type VolumeKey struct{ key []byte }

// String, GoString and Format keep the key out of texts.
func (VolumeKey) String() string { return "(volume key)" }

// GoString is for %#v.
func (VolumeKey) GoString() string { return "(volume key)" }

// Unlock finds the volume key with a passphrase or the content of a key file, slot by
// slot within the limits. ErrWrongKey: no slot takes it; where slots could not be
// tried, the error names them, and is ErrWrongKey, too. An *UnsupportedError: nothing
// here could read the data, whatever the key.
func (h *Header) Unlock(secret []byte, l Limits) (VolumeKey, error) {
	if h.refused != nil {
		return VolumeKey{}, h.refused
	}
	l = l.withDefaults()
	var untried []error
	for i := range h.slots {
		s := &h.slots[i]
		key, err := h.try(s, secret, &l)
		switch {
		case err != nil:
			untried = append(untried, fmt.Errorf("key slot %s cannot be tried: %w", s.name, err))
		case key != nil:
			return VolumeKey{key}, nil
		}
	}
	switch {
	case len(h.slots) == 0:
		return VolumeKey{}, unsupported("it has no key slot: nothing opens it any more")
	case len(untried) > 0:
		return VolumeKey{}, fmt.Errorf("%w; %w", ErrWrongKey, errors.Join(untried...))
	}
	return VolumeKey{}, ErrWrongKey
}

// try returns nil where the slot does not take the secret.
func (h *Header) try(s *slot, secret []byte, l *Limits) ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	mix, err := hashOf(s.hash)
	if err != nil {
		return nil, err
	}
	if _, err := newCipher(s.cipher, make([]byte, s.areaKey)); err != nil {
		return nil, err
	}
	derived, err := s.kdf.derive(secret, s.areaKey, l)
	if err != nil {
		return nil, err
	}
	c, err := newCipher(s.cipher, derived)
	if err != nil {
		return nil, err
	}
	b := make([]byte, s.areaSize())
	if n, err := h.r.ReadAt(b, s.off); n < len(b) {
		return nil, fmt.Errorf("read it at %d: %w", s.off, orEOF(err))
	}
	for i := 0; i < len(b); i += sector {
		c.decrypt(b[i:i+sector], uint64(i/sector))
	}
	key := merge(b, s.key, s.stripes, mix)
	if ok, err := h.right(key, s.name, l); !ok || err != nil {
		return nil, err
	}
	return key, nil
}

// right tells whether a key is the volume's by a digest that counts for the slot.
func (h *Header) right(key []byte, slot string, l *Limits) (bool, error) {
	for _, d := range h.digests {
		if d.slots != nil && slot != "" && !slices.Contains(d.slots, slot) {
			continue
		}
		m, err := hashOf(d.kdf.hash)
		if err != nil {
			return false, err
		}
		cost := d.kdf.rounds * int64((len(d.want)+m().Size()-1)/m().Size())
		if d.kdf.rounds < 1 || d.kdf.rounds > l.Rounds || cost > l.Rounds {
			return false, fmt.Errorf("its digest asks for %d rounds of pbkdf2, more than is allowed", d.kdf.rounds)
		}
		l.Rounds -= cost
		is, err := pbkdf2.Key(m, string(key), d.kdf.salt, int(d.kdf.rounds), len(d.want))
		if err != nil {
			return false, err
		}
		if subtle.ConstantTimeCompare(is, d.want) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// Fits tells whether a key that opened the volume before, at another moment, still
// does. It costs one digest and none of the key slots.
func (h *Header) Fits(k VolumeKey) bool {
	if h.refused != nil || len(k.key) == 0 {
		return false
	}
	l := Limits{}.withDefaults()
	ok, err := h.right(k.key, "", &l)
	return ok && err == nil
}
