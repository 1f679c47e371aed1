package blockstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// Match compares bytes with those of the disk at off, by their IDs: it reads pages
// of the map and no data. It calls differ, in order, for each block that is not equal,
// with its place and length. Off is a multiple of the block size, and p ends with a block or
// with the disk. It may be called by many goroutines at once.
func (d *Disk) Match(ctx context.Context, p []byte, off int64, differ func(off, length int64) error) error {
	bs, end := int64(d.v.head.BlockSize), off+int64(len(p))
	switch {
	case off < 0 || off%bs != 0 || end > d.info.Size || end%bs != 0 && end != d.info.Size:
		return fmt.Errorf("match %d bytes at %d of a disk of %d in blocks of %d", len(p), off, d.info.Size, bs)
	case len(p) == 0:
		return nil
	}
	one := func(block int64, id ID) error {
		from := block * bs
		piece := p[from-off : min(from+bs, end)-off]
		if d.holds(piece, id) {
			return nil
		}
		return differ(from, int64(len(piece)))
	}
	visitor := diskmap.Visitor{
		Zero: func(first, n int64) error {
			for b := first; b < first+n; b++ {
				if err := one(b, ID{}); err != nil {
					return err
				}
			}
			return nil
		},
		Blocks: func(first int64, ids []ID) error {
			for i, id := range ids {
				if err := one(first+int64(i), id); err != nil {
					return err
				}
			}
			return nil
		},
	}
	if err := d.m.Visit(ctx, off/bs, (end-1)/bs-off/bs+1, visitor); err != nil {
		return d.corrupt(err)
	}
	return nil
}

// holds says whether id is that of a block, which is shorter at the disk's end.
func (d *Disk) holds(p []byte, id ID) bool {
	if bytes.Equal(p, zeros[:len(p)]) {
		return id.IsZero()
	}
	if id.IsZero() {
		return false
	}
	if len(p) < d.v.head.BlockSize {
		whole := make([]byte, d.v.head.BlockSize)
		copy(whole, p)
		p = whole
	}
	return d.v.keys.ID(content.Block, p) == id
}
