package udf

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed.
func (f *file) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		if f.inline != nil {
			if f.size > 0 {
				yield(tree.Piece{Len: f.size, At: tree.Elsewhere}, nil)
			}
			return
		}
		for _, r := range f.runs {
			for off := r.off; !r.hole && off < r.off+r.length; {
				at, blocks, err := f.locate(off, r.off+r.length-off)
				if err != nil {
					yield(tree.Piece{}, err)
					return
				}
				n := min(int64(blocks)*f.v.block, r.off+r.length-off)
				if !yield(tree.Piece{Off: off, Len: n, At: at * f.v.block}, nil) {
					return
				}
				off += n
			}
		}
		if end := f.end(); end < f.size { // a read says what is wrong with it
			yield(tree.Piece{Off: end, Len: f.size - end, At: tree.Elsewhere}, nil)
		}
	}
}

// end is where the last extent does.
func (f *file) end() int64 {
	if len(f.runs) == 0 {
		return 0
	}
	last := f.runs[len(f.runs)-1]
	return last.off + last.length
}
