package clusters

import (
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed.
func (c *Chain) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		c.once.Do(c.walk)
		size := c.Space.Cluster
		for off := int64(0); off < c.Written; {
			cluster, count, err := c.locate(uint32(off / size))
			if err != nil {
				yield(tree.Piece{}, err)
				return
			}
			p := tree.Piece{Off: off, Len: min(int64(count)*size, c.Written-off), At: c.Space.place(cluster)}
			if !yield(p, nil) {
				return
			}
			off += p.Len
		}
	}
}
