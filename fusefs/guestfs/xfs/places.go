package xfs

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed. What the log changed is elsewhere.
func (f *file) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		size := int64(f.v.block)
		blocks := (uint64(f.size) + uint64(size) - 1) / uint64(size)
		for block := uint64(0); block < blocks; {
			e, ok, err := f.find(block)
			if err != nil {
				yield(tree.Piece{}, err)
				return
			}
			if !ok || e.off >= blocks {
				return
			}
			if block = e.end(); e.unwritten {
				continue
			}
			at, ok := f.v.address(e.start, e.n)
			if !ok {
				yield(tree.Piece{}, f.outside(e))
				return
			}
			p := tree.Piece{Off: int64(e.off) * size, At: at}
			p.Len = within(f.size-p.Off, e.end(), size, p.Off)
			if f.v.over.touches(at, p.Len) {
				p.At = tree.Elsewhere
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}
