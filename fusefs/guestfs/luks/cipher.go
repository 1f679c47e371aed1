package luks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/xts"
)

// sectorCipher decrypts a sector in place. n is its number in units of 512 bytes. Safe
// from several goroutines.
type sectorCipher interface{ decrypt(b []byte, n uint64) }

// newCipher makes what dm-crypt calls by that name.
func newCipher(name string, key []byte) (sectorCipher, error) {
	switch name {
	case "aes-xts-plain64", "aes-xts-plain":
		c, err := xts.NewCipher(aes.NewCipher, key)
		if err != nil || len(key) < 32 {
			return nil, unsupported("it is encrypted by %s with a key of %d bits", name, len(key)*8)
		}
		return xtsCipher{c, name == "aes-xts-plain"}, nil
	case "aes-cbc-plain64", "aes-cbc-plain", "aes-cbc-essiv:sha256":
		c, err := aes.NewCipher(key)
		if err != nil {
			return nil, unsupported("it is encrypted by %s with a key of %d bits", name, len(key)*8)
		}
		cbc := cbcCipher{block: c, narrow: name == "aes-cbc-plain"}
		if name == "aes-cbc-essiv:sha256" {
			salt := sha256.Sum256(key)
			if cbc.salt, err = aes.NewCipher(salt[:]); err != nil {
				return nil, fmt.Errorf("essiv: %w", err)
			}
		}
		return cbc, nil
	}
	return nil, unsupported("it is encrypted by %.60q, which is not read", name)
}

type xtsCipher struct {
	c      *xts.Cipher
	narrow bool // numbers of 32 bits
}

func (x xtsCipher) decrypt(b []byte, n uint64) {
	if x.narrow {
		n = uint64(uint32(n))
	}
	x.c.Decrypt(b, b, n)
}

type cbcCipher struct {
	block  cipher.Block
	salt   cipher.Block // of essiv: the number is encrypted with it; or nil
	narrow bool
}

func (c cbcCipher) decrypt(b []byte, n uint64) {
	var iv [aes.BlockSize]byte
	if c.narrow {
		n = uint64(uint32(n))
	}
	binary.LittleEndian.PutUint64(iv[:], n)
	if c.salt != nil {
		c.salt.Encrypt(iv[:], iv[:])
	}
	cipher.NewCBCDecrypter(c.block, iv[:]).CryptBlocks(b, b)
}
