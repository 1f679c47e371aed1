package ntfs

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed. Compressed and resident content is elsewhere.
func (s *stream) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		if s.resident != nil || s.unit != 0 {
			if s.size > 0 {
				yield(tree.Piece{Len: s.size, At: tree.Elsewhere}, nil)
			}
			return
		}
		for off := int64(0); off < s.valid; {
			at, n, err := s.extent(off)
			if err != nil {
				yield(tree.Piece{}, err)
				return
			}
			p := tree.Piece{Off: off, Len: min(n, s.valid-off), At: at}
			off += p.Len
			if at != hole && !yield(p, nil) {
				return
			}
		}
	}
}
