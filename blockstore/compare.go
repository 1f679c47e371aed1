package blockstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// Reads counts what was read of a vault and was not in memory. It may be used from
// several goroutines.
type Reads struct{ Blocks, Pages atomic.Int64 }

// Counted is the same disk, whose reads are counted in n as well. It is for who reads several points side by
// side: a block of which a part is read is kept at once, since the next point may share it.
func (d *Disk) Counted(n *Reads) *Disk {
	c := *d
	m := *d.m
	m.Load = func(id ID, level int) (*diskmap.Page, error) {
		if !d.v.pages.Contains(id) {
			n.Pages.Add(1)
		}
		return d.m.Load(id, level)
	}
	c.m, c.reads = &m, n
	return &c
}

// comparable tells whether IDs of two disks name the same content.
func comparable(a, b *Disk) error {
	if a.v.head.BlockSize != b.v.head.BlockSize || a.v.secret != b.v.secret {
		return errors.New("disks of vaults with other keys cannot be compared")
	}
	return nil
}

// SameIn tells whether two disks of one vault hold the same in the blocks that a range
// touches. It compares their maps and reads no data; false does not mean that the
// bytes of the range differ. What is past the end of one disk is not the same as anything.
func SameIn(ctx context.Context, a, b *Disk, off, length int64) (bool, error) {
	if err := comparable(a, b); err != nil {
		return false, err
	}
	if off < 0 || length < 0 || off > min(a.info.Size, b.info.Size)-length {
		return false, nil
	}
	if length == 0 {
		return true, nil
	}
	bs := int64(a.v.head.BlockSize)
	first := off / bs
	broken := a // whose page could not be read, if one could not
	m := *b.m
	m.Load = func(id ID, level int) (*diskmap.Page, error) {
		p, err := b.m.Load(id, level)
		if err != nil {
			broken = b
		}
		return p, err
	}
	same, err := diskmap.Same(ctx, a.m, &m, first, (off+length-1)/bs-first+1)
	return same, broken.corrupt(err)
}

// IDs calls fn for the blocks that a range touches, in order, with the number of the
// block and its ID: zero for zeros. It reads pages of the map only.
func (d *Disk) IDs(ctx context.Context, off, length int64, fn func(block int64, id ID) error) error {
	if off < 0 || length < 0 || off > d.info.Size-length {
		return fmt.Errorf("IDs of %d bytes at %d of a disk of %d", length, off, d.info.Size)
	}
	if length == 0 {
		return nil
	}
	bs := int64(d.v.head.BlockSize)
	first := off / bs
	return d.corrupt(d.m.Visit(ctx, first, (off+length-1)/bs-first+1, diskmap.Visitor{
		Blocks: func(first int64, ids []ID) error {
			for i, id := range ids {
				if err := fn(first+int64(i), id); err != nil {
					return err
				}
			}
			return nil
		},
		Zero: func(first, n int64) error {
			for i := range n {
				if err := fn(first+i, ID{}); err != nil {
					return err
				}
			}
			return nil
		},
	}))
}
