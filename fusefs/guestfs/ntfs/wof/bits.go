package wof

import (
	"encoding/binary"
	"errors"
)

var (
	errCut  = errors.New("a compressed chunk ends too soon")
	errCode = errors.New("a compressed chunk has an impossible Huffman code")
	errBack = errors.New("a compressed chunk refers to what is before its beginning")
	errLong = errors.New("a compressed chunk holds more than it may")
	errKind = errors.New("a compressed chunk has a block of an unknown kind")
	errSize = errors.New("a compressed chunk has a block of no bytes")
)

// bitReader reads bits from words of 16, the upper ones first. Beyond the end there are
// zeros: whether any was used is asked for by overrun.
type bitReader struct {
	src  []byte
	at   int    // of the next word in src
	bits uint64 // the next bits, from the top
	n    int    // how many are there
}

// word loads 16 more bits; there is room.
func (r *bitReader) word() {
	if r.at+2 <= len(r.src) {
		r.bits |= uint64(binary.LittleEndian.Uint16(r.src[r.at:])) << (48 - r.n)
	}
	r.at += 2
	r.n += 16
}

// fill sees to it that at least 33 bits are there, which is what one step needs at most.
func (r *bitReader) fill() {
	for r.n <= 32 {
		r.word()
	}
}

// take returns the next n bits, at most 16: they must be there.
func (r *bitReader) take(n int) uint32 {
	v := uint32(r.bits >> 1 >> (63 - n))
	r.bits <<= n
	r.n -= n
	return v
}

// overrun tells whether bits beyond the end were used.
func (r *bitReader) overrun() bool { return 8*r.at-r.n > 8*len(r.src) }
