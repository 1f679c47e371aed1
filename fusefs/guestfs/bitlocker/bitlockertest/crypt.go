package bitlockertest

import (
	"crypto/aes"
	stdcipher "crypto/cipher"
	"crypto/sha256"
	"math/bits"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// cipher encrypts sectors.
type cipher struct {
	o      Options
	key    []byte // as the metadata hold it
	block  stdcipher.Block
	second stdcipher.Block // of the diffuser or of XTS
}

func newCipher(t testing.TB, o Options, key []byte) cipher {
	t.Helper()
	size := map[uint16]int{CBC128Elephant: 16, CBC128: 16, XTS128: 16, CBC256Elephant: 32, CBC256: 32, XTS256: 32}[o.Method]
	second := size
	switch o.Method {
	case CBC128, CBC256:
		key = key[:size]
	case XTS128, XTS256:
		key = key[:2*size]
	case CBC128Elephant, CBC256Elephant:
		second = 32
	default:
		size, second = 16, 16 // a method to come
	}
	c := cipher{o: o, key: key}
	var err error
	if c.block, err = aes.NewCipher(key[:size]); err != nil {
		t.Fatal(err)
	}
	if len(key) > size {
		if c.second, err = aes.NewCipher(key[second : second+size]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c cipher) encrypt(b []byte, off uint64) {
	switch c.o.Method {
	case XTS128, XTS256:
		c.xts(b, off/uint64(c.o.Sector))
		return
	case CBC128Elephant, CBC256Elephant:
		c.diffuse(b, off)
	}
	iv := make([]byte, 16)
	le.PutUint64(iv, off)
	c.block.Encrypt(iv, iv)
	stdcipher.NewCBCEncrypter(c.block, iv).CryptBlocks(b, b)
}

// xts is that of IEEE 1619, block by block.
func (c cipher) xts(b []byte, sector uint64) {
	tweak := make([]byte, 16)
	le.PutUint64(tweak, sector)
	c.second.Encrypt(tweak, tweak)
	for ; len(b) > 0; b = b[16:] {
		for i, t := range tweak {
			b[i] ^= t
		}
		c.block.Encrypt(b, b[:16])
		for i, t := range tweak {
			b[i] ^= t
		}
		carry := byte(0)
		for i, t := range tweak {
			tweak[i], carry = t<<1|carry, t>>7
		}
		if carry != 0 {
			tweak[0] ^= 0x87
		}
	}
}

// diffuse adds the key of the sector, and mixes by diffuser A, then B.
func (c cipher) diffuse(b []byte, off uint64) {
	iv, key := make([]byte, 16), make([]byte, 32)
	le.PutUint64(iv, off)
	c.second.Encrypt(key, iv)
	iv[15] = 0x80
	c.second.Encrypt(key[16:], iv)
	n := len(b) / 4
	d := make([]uint32, n)
	for i := range d {
		for j := range 4 {
			b[4*i+j] ^= key[(4*i+j)%32]
		}
		d[i] = le.Uint32(b[4*i:])
	}
	mix := func(rounds, near, far int, turns [4]int) {
		for range rounds {
			for i := n - 1; i >= 0; i-- {
				d[i] -= d[(i+near+n)%n] ^ bits.RotateLeft32(d[(i+far+n)%n], turns[i%4])
			}
		}
	}
	mix(5, -2, -5, [4]int{9, 0, 13, 0})
	mix(3, 2, 5, [4]int{0, 10, 0, 25})
	for i, w := range d {
		le.PutUint32(b[4*i:], w)
	}
}

// ccm encrypts a text of less than 4 KiB by RFC 3610.
func ccm(c stdcipher.Block, nonce, text []byte) (mac, data []byte) {
	mac = make([]byte, 16)
	mac[0] = 0x3A
	copy(mac[1:], nonce)
	mac[14], mac[15] = byte(len(text)>>8), byte(len(text))
	c.Encrypt(mac, mac)
	for i, b := range text {
		mac[i%16] ^= b
		if i%16 == 15 || i == len(text)-1 {
			c.Encrypt(mac, mac)
		}
	}
	counter := make([]byte, 16)
	counter[0] = 2
	copy(counter[1:], nonce)
	stream := stdcipher.NewCTR(c, counter)
	stream.XORKeyStream(mac, mac)
	data = make([]byte, len(text))
	stream.XORKeyStream(data, text)
	return mac, data
}

// stretch hashes a hash 2^20 times, with a salt and a counter.
func stretch(initial, salt []byte) []byte {
	last := make([]byte, 32)
	for i := range uint64(1 << 20) {
		h := sha256.New()
		h.Write(last)
		h.Write(initial)
		h.Write(salt)
		h.Write(le.AppendUint64(nil, i))
		last = h.Sum(last[:0])
	}
	return last
}

func hashPassword(password string) []byte {
	first := sha256.Sum256(utf16le(password))
	second := sha256.Sum256(first[:])
	return second[:]
}

func hashRecovery() []byte {
	var key []byte
	for _, part := range strings.Split(Recovery, "-") {
		n, _ := strconv.Atoi(part)
		key = le.AppendUint16(key, uint16(n/11))
	}
	sum := sha256.Sum256(key)
	return sum[:]
}

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return b
}
