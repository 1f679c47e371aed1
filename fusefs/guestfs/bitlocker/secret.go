package bitlocker

import (
	"crypto/sha256"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// stretches is how often a secret is hashed: the format fixes it.
const stretches = 1 << 20

// stretch turns the hash of a secret into a key.
func stretch(initial [32]byte, salt []byte) []byte {
	var b [88]byte // the last hash, the first, the salt, a counter
	copy(b[32:], initial[:])
	copy(b[64:], salt)
	for i := range uint64(stretches) {
		le.PutUint64(b[80:], i)
		sum := sha256.Sum256(b[:])
		copy(b[:], sum[:])
	}
	return b[:32]
}

// passwordHash is what a password is stretched from.
func passwordHash(secret []byte) (sum [32]byte, ok bool) {
	if !utf8.Valid(secret) {
		return sum, false
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(string(secret))) {
		b = le.AppendUint16(b, u)
	}
	sum = sha256.Sum256(b)
	return sha256.Sum256(sum[:]), true
}

// recoveryHash is what a recovery password is stretched from: 48 digits, in eight numbers
// that are multiples of 11.
func recoveryHash(secret []byte) (sum [32]byte, ok bool) {
	const numbers, digits = 8, 6
	s := strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(string(secret)))
	if len(s) != numbers*digits || strings.Trim(s, "0123456789") != "" {
		return sum, false
	}
	var key []byte
	for i := range numbers {
		n := 0
		for _, c := range s[i*digits : (i+1)*digits] {
			n = n*10 + int(c-'0')
		}
		if n%11 != 0 || n/11 > 0xFFFF {
			return sum, false
		}
		key = le.AppendUint16(key, uint16(n/11))
	}
	return sha256.Sum256(key), true
}

// externalKey is the key of a startup key file (.BEK), and the protector that it is for.
func externalKey(secret []byte) (guid [16]byte, key []byte, ok bool) {
	const maxFile = 64 << 10
	if len(secret) < headSize || len(secret) > maxFile || le.Uint32(secret[4:]) != 1 {
		return guid, nil, false
	}
	length, start := int64(le.Uint32(secret)), int64(le.Uint32(secret[8:]))
	if start < headSize || length < start || length > int64(len(secret)) {
		return guid, nil, false
	}
	all, _ := split(secret[start:length])
	for _, e := range all {
		if e.kind != isExternalKey || len(e.value) < 24 {
			continue
		}
		inner, _ := split(e.value[24:])
		for _, in := range inner {
			if in.kind == isKey && len(in.value) == 4+32 {
				return [16]byte(e.value), in.value[4:], true
			}
		}
	}
	return guid, nil, false
}
