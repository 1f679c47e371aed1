package ext

import "math/bits"

// Kinds of hashes of names. The first three read bytes as signed or not as a flag
// of the superblock says, the others always as unsigned.
const (
	hashLegacy   = 0
	hashHalfMD4  = 1
	hashTEA      = 2
	hashUnsigned = 3 // added to one of those
	hashKinds    = 6

	hashEnd = 0xFFFFFFFE // means the end of a folder, so no name has it
)

// hashName computes what a hash tree sorts a name by. Names in folders that are
// both encrypted and case-folded have a sixth kind, with a key that we lack.
func (s *super) hashName(kind byte, name string) (uint32, bool) {
	if kind >= hashKinds {
		return 0, false
	}
	signed := kind < hashUnsigned && s.flags&flagUnsignedHash == 0
	state := [4]uint32{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476}
	if s.hashSeed != [4]uint32{} {
		state = s.hashSeed
	}
	var hash uint32
	switch kind % hashUnsigned {
	case hashLegacy:
		hash = legacyHash(name, signed)
	case hashHalfMD4:
		var words [8]uint32
		for ; len(name) > 0; name = name[min(len(name), 32):] {
			packName(name, signed, words[:])
			halfMD4(&state, &words)
		}
		hash = state[1]
	case hashTEA:
		var words [4]uint32
		for ; len(name) > 0; name = name[min(len(name), 16):] {
			packName(name, signed, words[:])
			tea(&state, &words)
		}
		hash = state[0]
	}
	if hash &^= 1; hash == hashEnd {
		hash -= 2
	}
	return hash, true
}

func widen(c byte, signed bool) uint32 {
	if signed {
		return uint32(int32(int8(c)))
	}
	return uint32(c)
}

func legacyHash(name string, signed bool) uint32 {
	last, before := uint32(0x12A3FE2D), uint32(0x37ABE8F9)
	for i := range len(name) {
		hash := before + (last ^ widen(name[i], signed)*7152373)
		if hash&0x80000000 != 0 {
			hash -= 0x7FFFFFFF
		}
		before, last = last, hash
	}
	return last << 1
}

// packName puts bytes into words, the highest first, and fills up with the length.
func packName(name string, signed bool, words []uint32) {
	pad := uint32(len(name))
	pad |= pad << 8
	pad |= pad << 16
	name = name[:min(len(name), 4*len(words))]
	for i := range words {
		word := pad
		for range min(4, len(name)) {
			word = widen(name[0], signed) + word<<8
			name = name[1:]
		}
		words[i] = word
	}
}

// tea mixes four words into the first two of the state: sixteen rounds of the Tiny
// Encryption Algorithm (Wheeler and Needham, 1994), the words being its key.
func tea(state *[4]uint32, key *[4]uint32) {
	a, b, sum := state[0], state[1], uint32(0)
	for range 16 {
		sum += 0x9E3779B9
		a += (b<<4 + key[0]) ^ (b + sum) ^ (b>>5 + key[1])
		b += (a<<4 + key[2]) ^ (a + sum) ^ (a>>5 + key[3])
	}
	state[0] += a
	state[1] += b
}

// md4Rounds are the order of the words and the shifts of the three rounds of MD4
// (RFC 1320), cut down to eight words.
var md4Rounds = [3]struct {
	order  [8]int
	shifts [4]int
	add    uint32
}{
	{[8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}, 0},
	{[8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}, 0x5A827999},
	{[8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}, 0x6ED9EBA1},
}

func halfMD4(state *[4]uint32, in *[8]uint32) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	for round := range md4Rounds {
		r := &md4Rounds[round]
		for i, word := range r.order {
			var f uint32
			switch round {
			case 0:
				f = d ^ b&(c^d)
			case 1:
				f = b&c + (b^c)&d
			case 2:
				f = b ^ c ^ d
			}
			a = bits.RotateLeft32(a+f+in[word]+r.add, r.shifts[i%4])
			a, b, c, d = d, a, b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
