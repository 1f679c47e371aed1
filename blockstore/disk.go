package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// Disk is one disk of a point. It never changes, all methods are safe for
// concurrent use, and there is nothing to close.
type Disk struct {
	v     *Vault
	point *Point
	info  DiskInfo
	m     *diskmap.Map
	reads *Reads // counted in, too; may be nil
}

// OpenDisk opens one disk of a point for reading.
func (v *Vault) OpenDisk(p *Point, disk string) (*Disk, error) {
	info, err := p.Disk(disk)
	if err != nil {
		return nil, err
	}
	return &Disk{v: v, point: p, info: *info, m: v.diskMap(info)}, nil
}

// Info describes the disk as the point recorded it.
func (d *Disk) Info() DiskInfo { return d.info }

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.info.Size }

// BlockSize is the vault's block size in bytes: reads of whole blocks at
// multiples of it are decoded without a copy.
func (d *Disk) BlockSize() int { return d.v.head.BlockSize }

// ReadAt reads as io.ReaderAt does. Every byte that it returns was verified; a range
// that cannot be is a *CorruptError.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	if off >= d.info.Size {
		return 0, io.EOF
	}
	var end error
	if max := d.info.Size - off; int64(len(p)) > max {
		p, end = p[:max], io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	bs := int64(d.v.head.BlockSize)
	first := off / bs
	last := (off + int64(len(p)) - 1) / bs
	r := reading{d, p, off}
	err := d.m.Visit(context.Background(), first, last-first+1, diskmap.Visitor{Blocks: r.blocks, Zero: r.zero})
	if err != nil {
		return 0, d.corrupt(err)
	}
	return len(p), end
}

// reading is one ReadAt.
type reading struct {
	d   *Disk
	p   []byte
	off int64
}

// part returns what of p blocks first to first+n-1 fill, and where in the
// first of them that begins.
func (r *reading) part(first, n int64) (dst []byte, skip int64) {
	bs := int64(r.d.v.head.BlockSize)
	from, to := max(first*bs, r.off), min((first+n)*bs, r.off+int64(len(r.p)))
	return r.p[from-r.off : to-r.off], from - first*bs
}

func (r *reading) zero(first, n int64) error {
	dst, _ := r.part(first, n)
	clear(dst)
	return nil
}

func (r *reading) blocks(first int64, ids []ID) error {
	for i, id := range ids {
		dst, skip := r.part(first+int64(i), 1)
		if err := r.block(id, dst, skip); err != nil {
			bs := int64(r.d.v.head.BlockSize)
			at := (first + int64(i)) * bs
			return &CorruptError{Offset: at, Length: min(bs, r.d.info.Size-at), Err: err}
		}
	}
	return nil
}

// block fills dst from a block, skipping its first bytes. Whole blocks are
// decoded in place; parts go through the cache, since more parts follow, but for a
// first small one from a block's middle.
func (r *reading) block(id ID, dst []byte, skip int64) error {
	v := r.d.v
	if id.IsZero() {
		clear(dst)
		return nil
	}
	if !v.blocks.Contains(id) {
		if r.d.reads != nil {
			r.d.reads.Blocks.Add(1)
		}
		if len(dst) == v.head.BlockSize {
			return v.readBlock(id, dst)
		}
		if r.d.reads == nil && skip > 0 && len(dst) <= v.head.BlockSize/8 && !v.asked.before(id) {
			return v.readPart(id, dst, skip)
		}
	}
	b, err := v.cachedBlock(id)
	if err != nil {
		return err
	}
	copy(dst, b[skip:])
	return nil
}

// corrupt completes what is known about an error of reading.
func (d *Disk) corrupt(err error) error {
	var c *CorruptError
	if page := (*diskmap.PageError)(nil); errors.As(err, &page) {
		bs := int64(d.v.head.BlockSize)
		c = &CorruptError{Offset: page.First * bs, Err: page}
		c.Length = min(page.Blocks*bs, d.info.Size-c.Offset)
	} else if !errors.As(err, &c) {
		return err
	}
	c.Machine, c.Point, c.Disk = d.point.MachineName, d.point.ID, d.info.Name
	return c
}

// Extents calls fn for the runs of data and of zeros from off on, length bytes,
// in order and without gaps. It reads pages of the map only.
func (d *Disk) Extents(ctx context.Context, off, length int64, fn func(Extent) error) error {
	if off < 0 || length < 0 || off > d.info.Size {
		return fmt.Errorf("extents of %d bytes at %d of a disk of %d", length, off, d.info.Size)
	}
	end := min(d.info.Size, off+length)
	if off == end {
		return nil
	}
	bs := int64(d.v.head.BlockSize)
	m := merger{fn: fn, from: off, to: end}
	visitor := diskmap.Visitor{
		Zero: func(first, n int64) error { return m.add(first*bs, n*bs, Zero) },
		Blocks: func(first int64, ids []ID) error {
			for i, id := range ids {
				kind := Data
				if id.IsZero() {
					kind = Zero
				}
				if err := m.add((first+int64(i))*bs, bs, kind); err != nil {
					return err
				}
			}
			return nil
		},
	}
	if err := d.m.Visit(ctx, off/bs, (end-1)/bs-off/bs+1, visitor); err != nil {
		return d.corrupt(err)
	}
	return m.flush()
}

// merger joins neighbouring extents of one kind and clips them.
type merger struct {
	fn       func(Extent) error
	from, to int64
	last     Extent
}

func (m *merger) add(off, length int64, kind ExtentKind) error {
	end := min(off+length, m.to)
	off = max(off, m.from)
	if m.last.Length > 0 && m.last.Kind == kind {
		m.last.Length = end - m.last.Offset
		return nil
	}
	if err := m.flush(); err != nil {
		return err
	}
	m.last = Extent{off, end - off, kind}
	return nil
}

func (m *merger) flush() error {
	if m.last.Length == 0 {
		return nil
	}
	return m.fn(m.last)
}

// Diff calls fn for each range in which two disks of one vault differ, in
// bytes, ascending, as long as they are, up to the end of the larger disk. It reads
// only pages of the maps that differ.
func Diff(ctx context.Context, a, b *Disk, fn func(off, length int64) error) error {
	if err := comparable(a, b); err != nil {
		return err
	}
	bs, size := int64(a.v.head.BlockSize), max(a.info.Size, b.info.Size)
	return diskmap.Diff(ctx, a.m, b.m, func(first, n int64) error {
		return fn(first*bs, min(n*bs, size-first*bs))
	})
}
