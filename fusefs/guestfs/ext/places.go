package ext

import (
	"iter"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Places implements tree.Placed. Blocks that the journal has a newer copy of are
// elsewhere.
func (f *file) Places() iter.Seq2[tree.Piece, error] {
	return func(yield func(tree.Piece, error) bool) {
		if f.inside {
			if f.size > 0 {
				yield(tree.Piece{Len: f.size, At: tree.Elsewhere}, nil)
			}
			return
		}
		block := f.v.sb.blockSize
		total := uint64((f.size + block - 1) / block)
		limit := f.v.runLimit()
		for at, steps := uint64(0), uint64(0); at < total; steps++ {
			r, err := f.v.merged(&f.m, at, total)
			if err == nil && steps > limit {
				err = damagedInode(f.m.ino, "it has more pieces than the volume has blocks")
			}
			if err != nil {
				yield(tree.Piece{}, err)
				return
			}
			if at = r.end(); !r.data {
				continue
			}
			p := tree.Piece{Off: int64(r.logical) * block, At: int64(r.physical) * block}
			p.Len = min(int64(r.end())*block, f.size) - p.Off
			if f.v.replaced(r.physical, r.count) {
				p.At = tree.Elsewhere
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// replaced tells whether the journal changes any of these blocks.
func (v *volume) replaced(block, count uint64) bool {
	o, ok := v.dev.(*overlay)
	if !ok {
		return false
	}
	i := sort.Search(len(o.copies), func(i int) bool { return o.copies[i].block >= block })
	k := o.patchedFrom(block)
	return i < len(o.copies) && o.copies[i].block < block+count || k < len(o.patched) && o.patched[k].block < block+count
}
