package wof

import (
	"encoding/binary"
	"sync"
)

// LZX as WIM and WOF have it: one window of 32 KiB, which is the chunk.
const (
	lzxWindow    = 32 << 10
	lzxSlots     = 30 // of distances
	lzxMain      = 256 + 8*lzxSlots
	lzxLengths   = 249
	lzxAligned   = 8
	lzxPre       = 20 // codes of the lengths of codes
	lzxMinMatch  = 2
	lzxLongMatch = 7 // a length that goes on in a symbol of its own

	lzxVerbatim     = 1
	lzxAlignedBlock = 2
	lzxUncompressed = 3
)

// lzxBase and lzxExtra are, by slot, where its distances begin and how many bits follow.
// The first three slots are the three distances used last.
var lzxBase, lzxExtra = func() (base [lzxSlots]int32, extra [lzxSlots]uint8) {
	at := int32(0)
	for i := range base {
		base[i] = at
		if i >= 4 {
			extra[i] = uint8(i/2 - 1)
		}
		at += 1 << extra[i]
	}
	return base, extra
}()

// lzxState is what goes on from block to block of a chunk.
type lzxState struct {
	r       bitReader
	main    huffman
	lengths huffman
	aligned huffman
	pre     huffman

	// Lengths of the codes of the block before, which those of the next are told by.
	mainLengths   [lzxMain]byte
	lengthLengths [lzxLengths]byte
	recent        [3]int
}

var lzxStates = sync.Pool{New: func() any { return new(lzxState) }}

// lzx decompresses one chunk.
func lzx(dst, src []byte) error {
	s := lzxStates.Get().(*lzxState)
	defer lzxStates.Put(s)
	defer func() { s.r.src = nil }()
	s.r, s.recent = bitReader{src: src}, [3]int{1, 1, 1}
	clear(s.mainLengths[:])
	clear(s.lengthLengths[:])
	for done := 0; done < len(dst); {
		n, err := s.block(dst, done)
		if err == nil && s.r.overrun() {
			err = errCut
		}
		if err != nil {
			return err
		}
		done += n
	}
	untranslate(dst)
	return nil
}

// block decompresses the next block to dst[at:] and returns how long it is.
func (s *lzxState) block(dst []byte, at int) (int, error) {
	s.r.fill()
	kind, size := s.r.take(3), lzxWindow
	if s.r.take(1) == 0 {
		size = int(s.r.take(16))
	}
	switch {
	case size == 0:
		return 0, errSize
	case size > len(dst)-at:
		return 0, errLong
	case kind == lzxUncompressed:
		return size, s.plain(dst[at : at+size])
	case kind != lzxVerbatim && kind != lzxAlignedBlock:
		return 0, errKind
	}
	if kind == lzxAlignedBlock {
		var lengths [lzxAligned]byte
		for i := range lengths {
			s.r.fill()
			lengths[i] = byte(s.r.take(3))
		}
		if err := s.aligned.set(lengths[:]); err != nil {
			return 0, err
		}
	}
	if err := s.codes(); err != nil {
		return 0, err
	}
	return size, s.symbols(dst[:at+size], at, kind == lzxAlignedBlock)
}

// codes reads those of a block: lengths of literals and of matches apart.
func (s *lzxState) codes() error {
	for _, lengths := range [][]byte{s.mainLengths[:256], s.mainLengths[256:], s.lengthLengths[:]} {
		if err := s.codeLengths(lengths); err != nil {
			return err
		}
	}
	if err := s.main.set(s.mainLengths[:]); err != nil {
		return err
	}
	return s.lengths.set(s.lengthLengths[:])
}

// codeLengths changes lengths of codes as is told by a code of its own.
func (s *lzxState) codeLengths(lengths []byte) error {
	r := &s.r
	var pre [lzxPre]byte
	for i := range pre {
		r.fill()
		pre[i] = byte(r.take(4))
	}
	if err := s.pre.set(pre[:]); err != nil {
		return err
	}
	for i := 0; i < len(lengths); {
		r.fill()
		symbol, run, to := s.pre.next(r), 1, byte(0)
		switch symbol {
		case 17:
			run = 4 + int(r.take(4))
		case 18:
			run = 20 + int(r.take(5))
		case 19:
			run = 4 + int(r.take(1))
			r.fill()
			symbol = s.pre.next(r)
			fallthrough
		default:
			if symbol > 16 {
				return errCode
			}
			to = byte((int(lengths[i]) - symbol + 17) % 17)
		}
		if run > len(lengths)-i {
			return errCode
		}
		for range run {
			lengths[i] = to
			i++
		}
	}
	return nil
}

// symbols decompresses a block's literals and matches to dst[at:].
func (s *lzxState) symbols(dst []byte, at int, aligned bool) error {
	r := &s.r
	for at < len(dst) {
		r.fill()
		symbol := s.main.next(r)
		if symbol < 256 {
			dst[at] = byte(symbol)
			at++
			continue
		}
		if symbol == maxSymbol {
			return errCode
		}
		slot, n := (symbol-256)>>3, (symbol-256)&7
		if n == lzxLongMatch {
			more := s.lengths.next(r)
			if more == maxSymbol {
				return errCode
			}
			n += more
			r.fill()
		}
		n += lzxMinMatch
		back, err := s.distance(slot, aligned)
		if err == nil {
			err = repeat(dst, at, back, n)
		}
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// distance reads how far back a match is, and remembers it.
func (s *lzxState) distance(slot int, aligned bool) (int, error) {
	if slot < len(s.recent) {
		s.recent[0], s.recent[slot] = s.recent[slot], s.recent[0]
		return s.recent[0], nil
	}
	r := &s.r
	extra := int(lzxExtra[slot])
	back := int(lzxBase[slot]) - 2
	if aligned && extra >= 3 {
		back += int(r.take(extra-3)) << 3
		r.fill()
		low := s.aligned.next(r)
		if low == maxSymbol {
			return 0, errCode
		}
		back += low
	} else {
		back += int(r.take(extra))
	}
	s.recent = [3]int{back, s.recent[0], s.recent[1]}
	return back, nil
}

// plain copies a block that is not compressed. It begins at a word: where the bits end at
// one, a whole word is passed over.
func (s *lzxState) plain(dst []byte) error {
	r := &s.r
	at := r.at - r.n/16*2
	if r.n%16 == 0 {
		at += 2
	}
	if at+12+len(dst) > len(r.src) {
		return errCut
	}
	for i := range s.recent {
		back := binary.LittleEndian.Uint32(r.src[at+4*i:])
		if back == 0 || back > lzxWindow {
			return errBack
		}
		s.recent[i] = int(back)
	}
	copy(dst, r.src[at+12:])
	at += 12 + len(dst)
	*r = bitReader{src: r.src, at: min(at+len(dst)%2, len(r.src))} // to a whole word
	return nil
}

// Calls of x86 are compressed with the place that they lead to in place of the distance,
// as if the file had so many bytes.
const (
	callCode  = 0xE8
	callFile  = 12_000_000
	callBytes = 10 // so many at the end are left alone
)

// untranslate makes the distances of calls out of the places that they lead to.
func untranslate(b []byte) {
	for i := 0; i < len(b)-callBytes; i++ {
		if b[i] != callCode {
			continue
		}
		at := b[i+1 : i+5]
		switch place := int32(binary.LittleEndian.Uint32(at)); {
		case place >= 0 && place < callFile:
			binary.LittleEndian.PutUint32(at, uint32(place-int32(i)))
		case place < 0 && place >= -int32(i):
			binary.LittleEndian.PutUint32(at, uint32(place+callFile))
		}
		i += 4
	}
}
