package wof

import (
	"encoding/binary"
	"sync"
)

// XPRESS Huffman: lengths of 512 codes in 4 bits each, then symbols: 256 literals, and
// 16 distances (their count of bits) times 16 lengths.
const (
	xpressTable    = 256
	xpressMinMatch = 3
	xpressMore     = 15 // a length that goes on in a byte
)

var xpressCodes = sync.Pool{New: func() any { return new(huffman) }}

// xpress decompresses one chunk.
func xpress(dst, src []byte) error {
	if len(src) < xpressTable {
		return errCut
	}
	var lengths [maxSymbol]byte
	for i, b := range src[:xpressTable] {
		lengths[2*i], lengths[2*i+1] = b&15, b>>4
	}
	h := xpressCodes.Get().(*huffman)
	defer xpressCodes.Put(h)
	if err := h.set(lengths[:]); err != nil {
		return err
	}
	r := &bitReader{src: src[xpressTable:]}
	for done := 0; done < len(dst); {
		// One word at a time, and no sooner than it is needed: bytes of lengths lie
		// between words.
		for r.n < 16 {
			r.word()
		}
		symbol := h.next(r)
		if symbol < 256 {
			dst[done] = byte(symbol)
			done++
			continue
		}
		if symbol == maxSymbol {
			return errCode
		}
		if r.n < 16 {
			r.word()
		}
		n, err := r.xpressLength(symbol & 15)
		if err != nil {
			return err
		}
		bits := symbol >> 4 & 15
		back := 1<<bits + int(r.take(bits))
		if err := repeat(dst, done, back, n); err != nil {
			return err
		}
		done += n
	}
	if r.overrun() {
		return errCut
	}
	return nil
}

// xpressLength is the length of a match, whose greater ones go on in the bytes after the
// word that was read last.
func (r *bitReader) xpressLength(n int) (int, error) {
	if n < xpressMore {
		return n + xpressMinMatch, nil
	}
	if r.at+1 > len(r.src) {
		return 0, errCut
	}
	more := r.src[r.at]
	r.at++
	if more < 255 {
		return n + int(more) + xpressMinMatch, nil
	}
	if r.at+2 > len(r.src) {
		return 0, errCut
	}
	n = int(binary.LittleEndian.Uint16(r.src[r.at:]))
	r.at += 2
	return n + xpressMinMatch, nil
}

// repeat copies n bytes to dst[at:] from so many bytes before: what it writes may be
// what it reads.
func repeat(dst []byte, at, back, n int) error {
	if back > at {
		return errBack
	}
	if n > len(dst)-at {
		return errLong
	}
	to, from := dst[at:at+n], dst[at-back:]
	for {
		k := copy(to, from[:back])
		if to = to[k:]; len(to) == 0 {
			return nil
		}
		back += k // what was written is a further piece of the pattern
	}
}
