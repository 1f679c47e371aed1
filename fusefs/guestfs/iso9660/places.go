package iso9660

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed.
func (f *file) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		off := int64(0)
		for _, s := range f.sections {
			n := min(s.size, f.size-off)
			if n > 0 && !yield(tree.Piece{Off: off, Len: n, At: s.at}, nil) {
				return
			}
			off += n
		}
	}
}
