package bitlocker

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"
)

// Volume is the plain content. Reading is safe from several goroutines when the volume
// below is.
type Volume struct {
	r        io.ReaderAt
	c        sectorCipher
	sector   int64
	segments []segment
	key      string    // names key and cipher, and tells neither
	free     sync.Pool // *[]byte of window bytes
}

// window is what is read and decrypted at a time, in bytes: of whole sectors of any size.
const window = 128 << 10

// segment is a part of the plain content that is read in one way, up to where the next
// one begins.
type segment struct {
	off  int64
	at   int64 // of the volume
	kind kind
}

type kind uint8

const (
	sealed kind = iota // encrypted
	zeros              // the metadata
	ended
)

// Open gives the plain content with the key that [Header.Unlock] found.
func (h *Header) Open(k MasterKey) (*Volume, error) {
	if h.refused != nil {
		return nil, h.refused
	}
	key, ok := h.fvek.open(k.key)
	if !ok {
		return nil, ErrWrongKey
	}
	c, err := newCipher(h.method, key, h.sector)
	if err != nil {
		return nil, err
	}
	return &Volume{r: h.r, c: c, sector: h.sector, segments: h.segments(), key: nameKey(h.method, h.sector, key),
		free: sync.Pool{New: func() any { b := make([]byte, window); return &b }}}, nil
}

// segments lays out the content: its first bytes are where they were moved to, and what
// BitLocker keeps for itself is zeros.
func (h *Header) segments() []segment {
	hidden := []extent{h.backup}
	for _, off := range h.meta {
		hidden = append(hidden, extent{off, copySize})
	}
	end := h.sealed - h.sealed%h.sector
	cuts := []int64{0, h.backup.len, end}
	for _, e := range hidden {
		cuts = append(cuts, e.off, e.off+e.len)
	}
	slices.Sort(cuts)
	var all []segment
	for _, off := range slices.Compact(cuts) {
		s := segment{off: off, at: off}
		switch {
		case off > end:
			continue
		case off == end:
			s.kind = ended
		case off < h.backup.len:
			s.at = h.backup.off + off
		case slices.ContainsFunc(hidden, func(e extent) bool { return off >= e.off && off < e.off+e.len }):
			s.kind = zeros
		}
		all = append(all, s)
	}
	return all
}

// Size is that of the plain content, in bytes.
func (v *Volume) Size() int64 { return v.segments[len(v.segments)-1].off }

// segment is the number of the one that holds a byte.
func (v *Volume) segment(off int64) int {
	return sort.Search(len(v.segments), func(i int) bool { return v.segments[i].off > off }) - 1
}

// ReadAt reads as io.ReaderAt does.
func (v *Volume) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	for done < len(p) {
		i := v.segment(off)
		s := v.segments[i]
		if s.kind == ended {
			return done, io.EOF
		}
		part := p[done:]
		part = part[:min(int64(len(part)), v.segments[i+1].off-off)]
		if s.kind == zeros {
			clear(part)
		} else if err := v.decrypt(part, s.at+off-s.off); err != nil {
			return done, err
		}
		done, off = done+len(part), off+int64(len(part))
	}
	return done, nil
}

// decrypt fills p with what lies, encrypted, at an offset of the volume.
func (v *Volume) decrypt(p []byte, at int64) error {
	buf := v.free.Get().(*[]byte)
	defer v.free.Put(buf)
	for len(p) > 0 {
		from := at - at%v.sector
		n := min(window, (at+int64(len(p))-from+v.sector-1)/v.sector*v.sector)
		b := (*buf)[:n]
		if got, err := v.r.ReadAt(b, from); got < len(b) {
			return fmt.Errorf("encrypted sectors at %d: %w", from, orEOF(err))
		}
		for i := int64(0); i < n; i += v.sector {
			v.c.decrypt(b[i:i+v.sector], from+i)
		}
		k := copy(p, b[at-from:])
		p, at = p[k:], at+int64(k)
	}
	return nil
}
