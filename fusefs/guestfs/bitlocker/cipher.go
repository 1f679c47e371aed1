package bitlocker

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"

	"golang.org/x/crypto/xts"
)

var be = binary.BigEndian

// ccmCode is the code of RFC 3610 over a text without further data: a nonce of 12 bytes,
// a length of 3.
func ccmCode(c cipher.Block, nonce [12]byte, plain []byte) (code [aes.BlockSize]byte) {
	code[0] = (16-2)/2<<3 | 2
	copy(code[1:], nonce[:])
	be.PutUint16(code[14:], uint16(len(plain)))
	c.Encrypt(code[:], code[:])
	for len(plain) > 0 {
		n := subtle.XORBytes(code[:], code[:], plain)
		c.Encrypt(code[:], code[:])
		plain = plain[n:]
	}
	return code
}

// Methods that volumes are encrypted by.
const (
	cbc128Elephant = 0x8000
	cbc256Elephant = 0x8001
	cbc128         = 0x8002
	cbc256         = 0x8003
	xts128         = 0x8004
	xts256         = 0x8005
)

func cipherName(method uint16) (string, error) {
	name, ok := map[uint16]string{cbc128Elephant: "AES-CBC-128 with diffuser", cbc256Elephant: "AES-CBC-256 with diffuser",
		cbc128: "AES-CBC-128", cbc256: "AES-CBC-256", xts128: "AES-XTS-128", xts256: "AES-XTS-256"}[method]
	if !ok {
		return "", unsupported("it is encrypted by a method that is not known (%#x)", method)
	}
	return name, nil
}

// sectorCipher decrypts a sector in place, which lies at an offset of the volume. Safe
// from several goroutines.
type sectorCipher interface{ decrypt(b []byte, off int64) }

// newCipher makes that of a volume from its key.
func newCipher(method uint16, key []byte, sector int64) (sectorCipher, error) {
	const tweakAt = 32 // of the key of the diffuser
	size := map[uint16]int{cbc128Elephant: 16, cbc128: 16, xts128: 32, cbc256Elephant: 32, cbc256: 32, xts256: 64}[method]
	elephant := method == cbc128Elephant || method == cbc256Elephant
	if size == 0 || len(key) < size || elephant && len(key) < tweakAt+size {
		return nil, unsupported("its key has %d bytes, which does not fit the method %#x", len(key), method)
	}
	if method == xts128 || method == xts256 {
		c, err := xts.NewCipher(aes.NewCipher, key[:size])
		return xtsCipher{c, sector}, err
	}
	block, err := aes.NewCipher(key[:size])
	if err != nil || !elephant {
		return cbcCipher{block}, err
	}
	tweak, err := aes.NewCipher(key[tweakAt : tweakAt+size])
	return elephantCipher{cbcCipher{block}, tweak}, err
}

type xtsCipher struct {
	c      *xts.Cipher
	sector int64
}

func (x xtsCipher) decrypt(b []byte, off int64) { x.c.Decrypt(b, b, uint64(off/x.sector)) }

type cbcCipher struct{ block cipher.Block }

func (c cbcCipher) decrypt(b []byte, off int64) {
	var iv [aes.BlockSize]byte
	le.PutUint64(iv[:], uint64(off))
	c.block.Encrypt(iv[:], iv[:])
	cipher.NewCBCDecrypter(c.block, iv[:]).CryptBlocks(b, b)
}

// elephantCipher is CBC, two diffusers, and a key of the sector.
type elephantCipher struct {
	cbc   cbcCipher
	tweak cipher.Block
}

func (e elephantCipher) decrypt(b []byte, off int64) {
	e.cbc.decrypt(b, off)
	undiffuse(b)
	var key [32]byte
	le.PutUint64(key[:], uint64(off))
	le.PutUint64(key[16:], uint64(off))
	key[31] = 0x80
	e.tweak.Encrypt(key[:16], key[:16])
	e.tweak.Encrypt(key[16:], key[16:])
	for i := 0; i < len(b); i += len(key) {
		subtle.XORBytes(b[i:], b[i:], key[:])
	}
}

// undiffuse undoes diffuser B, then A: each word has two others added to it, the second
// turned by how far its place says.
func undiffuse(b []byte) {
	const (
		roundsA, roundsB = 5, 3
		most             = 4096 / 4
	)
	var words [most]uint32
	d := words[:len(b)/4]
	for i := range d {
		d[i] = le.Uint32(b[4*i:])
	}
	n := len(d) // a power of two
	for range roundsB {
		for i := 0; i < n; i += 4 {
			d[i] += d[(i+2)&(n-1)] ^ d[(i+5)&(n-1)]
			d[i+1] += d[(i+3)&(n-1)] ^ bits.RotateLeft32(d[(i+6)&(n-1)], 10)
			d[i+2] += d[(i+4)&(n-1)] ^ d[(i+7)&(n-1)]
			d[i+3] += d[(i+5)&(n-1)] ^ bits.RotateLeft32(d[(i+8)&(n-1)], 25)
		}
	}
	for range roundsA {
		for i := 0; i < n; i += 4 {
			d[i] += d[(i-2)&(n-1)] ^ bits.RotateLeft32(d[(i-5)&(n-1)], 9)
			d[i+1] += d[(i-1)&(n-1)] ^ d[(i-4)&(n-1)]
			d[i+2] += d[i&(n-1)] ^ bits.RotateLeft32(d[(i-3)&(n-1)], 13)
			d[i+3] += d[(i+1)&(n-1)] ^ d[(i-2)&(n-1)]
		}
	}
	for i, w := range d {
		le.PutUint32(b[4*i:], w)
	}
}
