package blockstore

import "fmt"

// runs turns the extents of a source, which are aligned to nothing, into runs
// of whole blocks. A block that several kinds of extents touch is data.
type runs struct {
	bs, size int64 // block size, disk size
	fn       func(first, n int64, kind ExtentKind) error

	at      int64 // end of the last extent
	partial bool  // the block at `at` was begun
	kind    ExtentKind
}

// add takes the next extent.
func (r *runs) add(e Extent) error {
	if e.Kind > Same {
		return fmt.Errorf("source yields an extent of unknown %v at %d", e.Kind, e.Offset)
	}
	if e.Offset != r.at || e.Length < 0 || e.End() > r.size || e.End() < e.Offset {
		return fmt.Errorf("source yields an extent of %d bytes at %d, after one that ends at %d, of a disk of %d", e.Length, e.Offset, r.at, r.size)
	}
	for e.Length > 0 {
		if r.partial || e.Offset%r.bs != 0 || e.Length < r.bs && e.End() != r.size {
			n := min(r.bs-e.Offset%r.bs, e.Length)
			if err := r.piece(e.Offset, n, e.Kind); err != nil {
				return err
			}
			e.Offset, e.Length = e.Offset+n, e.Length-n
			continue
		}
		blocks := e.Length / r.bs
		if e.End() == r.size {
			blocks = (e.Length + r.bs - 1) / r.bs
		}
		if err := r.fn(e.Offset/r.bs, blocks, e.Kind); err != nil {
			return err
		}
		n := min(blocks*r.bs, e.Length)
		e.Offset, e.Length = e.Offset+n, e.Length-n
	}
	r.at = e.Offset
	return nil
}

// piece adds less than a block, or the rest of one.
func (r *runs) piece(off, n int64, kind ExtentKind) error {
	if !r.partial {
		r.partial, r.kind = true, kind
	} else if r.kind != kind {
		r.kind = Data
	}
	if end := off + n; end%r.bs != 0 && end != r.size {
		return nil
	}
	r.partial = false
	return r.fn(off/r.bs, 1, r.kind)
}

// finish makes sure that the whole disk was covered.
func (r *runs) finish() error {
	if r.at != r.size {
		return fmt.Errorf("source yields extents for %d bytes of a disk of %d", r.at, r.size)
	}
	return nil
}
