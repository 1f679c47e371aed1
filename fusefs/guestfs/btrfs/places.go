package btrfs

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed, for what lies on one device, once, as it is read.
func (f *file) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		size := uint64(f.i.size)
		for e, err := range f.extents(0) {
			if err != nil {
				yield(tree.Piece{}, err)
				return
			}
			if e.off >= size {
				return
			}
			if e.empty() || e.n == 0 {
				continue
			}
			for off, end := e.off, min(e.end(), size); off < end; {
				p := f.v.placed(&e, off-e.off, end-off)
				p.Off = int64(off)
				if !yield(p, nil) {
					return
				}
				off += uint64(p.Len)
			}
		}
	}
}

// placed says where the next piece of an extent lies; n is what is left of it.
func (v *volume) placed(e *extent, skip, n uint64) tree.Piece {
	elsewhere := tree.Piece{Len: int64(n), At: tree.Elsewhere}
	if e.kind != extentRegular || e.packed != packedNot || v.super.devices != 1 {
		return elsewhere
	}
	logical := e.at + e.skip + skip
	c, err := v.chunks.find(logical)
	if err != nil || c.copies() != 1 {
		return elsewhere
	}
	s, run := c.place(logical, 0)
	if _, here := v.devices[s.device]; !here {
		return elsewhere
	}
	return tree.Piece{Len: int64(min(n, run)), At: int64(s.off)}
}
