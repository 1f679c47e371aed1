package luks

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"golang.org/x/crypto/argon2"
)

// Limits bound what trying one key may cost. The zero value means the defaults, which
// allow all that cryptsetup makes by itself.
type Limits struct {
	// Memory is the most that a key slot may take, in bytes; 0: 1 GiB, the most that
	// cryptsetup makes by itself.
	Memory int64

	// Passes bounds argon2: bytes that all slots together may go over; 0: 256 GiB,
	// which takes a minute or two.
	Passes int64

	// Rounds bounds pbkdf2: rounds of all slots together; 0: 400 million, some minutes.
	Rounds int64
}

func (l Limits) withDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = 1 << 30
	}
	if l.Passes == 0 {
		l.Passes = 256 << 30
	}
	if l.Rounds == 0 {
		l.Rounds = 400e6
	}
	return l
}

// kdf derives a key from a passphrase.
type kdf struct {
	kind   string // pbkdf2, argon2i, argon2id
	hash   string // of pbkdf2
	salt   []byte
	rounds int64 // of pbkdf2

	time, memory, cpus int64 // of argon2; memory in bytes
}

// Bounds of argon2 beyond the limits: what cryptsetup accepts.
const (
	minArgon2Memory = 8 << 10
	maxArgon2CPUs   = 64
)

// derive takes what it costs off the limits.
func (k *kdf) derive(secret []byte, size int, l *Limits) ([]byte, error) {
	switch k.kind {
	case "pbkdf2":
		h, err := hashOf(k.hash)
		if err != nil {
			return nil, err
		}
		cost := k.rounds * int64((size+h().Size()-1)/h().Size())
		if k.rounds < 1 || k.rounds > 1<<40 || cost > l.Rounds {
			return nil, fmt.Errorf("it asks for %d rounds of pbkdf2, more than is allowed", k.rounds)
		}
		l.Rounds -= cost
		return pbkdf2.Key(h, string(secret), k.salt, int(k.rounds), size)
	case "argon2i", "argon2id":
		switch {
		case k.memory < minArgon2Memory || k.time < 1 || k.cpus < 1 || k.cpus > maxArgon2CPUs || k.memory < k.cpus*minArgon2Memory:
			return nil, fmt.Errorf("it asks for %s in a way that is not possible", k.kind)
		case k.memory > l.Memory:
			return nil, fmt.Errorf("it asks for %d MiB of memory, and %d are allowed", k.memory>>20, l.Memory>>20)
		case k.time > l.Passes/k.memory:
			return nil, fmt.Errorf("it asks for %d passes over %d MiB, more than is allowed", k.time, k.memory>>20)
		}
		l.Passes -= k.time * k.memory
		do := argon2.IDKey
		if k.kind == "argon2i" {
			do = argon2.Key
		}
		return do(secret, k.salt, uint32(k.time), uint32(k.memory>>10), uint8(k.cpus), uint32(size)), nil
	}
	return nil, fmt.Errorf("it derives its key by %.40q, which is not known", k.kind)
}

func hashOf(name string) (func() hash.Hash, error) {
	switch name {
	case "sha1":
		return sha1.New, nil
	case "sha224":
		return sha256.New224, nil
	case "sha256":
		return sha256.New, nil
	case "sha384":
		return sha512.New384, nil
	case "sha512":
		return sha512.New, nil
	}
	return nil, fmt.Errorf("the hash %.32q is not read", name)
}
