package far

import (
	"context"
	"slices"
	"sort"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// mostMaps bounds how many answers about the map of one disk are remembered; each may hold
// thousands of ranges.
const mostMaps = 32

// mapped is where a disk holds data, in a part of it.
type mapped struct {
	from, until int64
	ranges      []api.Range // ascending, within that part
}

// mapKnown returns what is known of the map at off.
func (d *Disk) mapKnown(off int64) (m mapped, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.maps {
		if m.from <= off && off < m.until {
			return m, true
		}
	}
	return m, false
}

// mapAt returns the map at off, and asks for it where it is not known.
func (d *Disk) mapAt(ctx context.Context, off int64) (mapped, error) {
	if m, ok := d.mapKnown(off); ok {
		return m, nil
	}
	var told api.DiskRanges
	err := d.v.ask(ctx, func() (err error) {
		told, err = d.v.from.DiskMap(d.v.purposely(ctx), d.v.o.Vault, string(d.point.Machine), string(d.point.ID), d.info.Name, off)
		return err
	})
	if err != nil {
		return mapped{}, err
	}
	m := mapped{off, told.Until, told.Ranges}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.block = told.BlockSize
	if len(d.maps) >= mostMaps {
		d.maps = slices.Delete(d.maps, 0, 1)
	}
	d.maps = append(d.maps, m)
	return m, nil
}

// Extents calls fn for the runs of data and zeros in [off, off+length), in order and without gaps.
func (d *Disk) Extents(ctx context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	end := min(off+length, d.info.Size)
	if off < 0 || length < 0 {
		return nil
	}
	j := joiner{fn: fn}
	for off < end {
		m, err := d.mapAt(ctx, off)
		if err != nil {
			return err
		}
		until := min(m.until, end)
		if until <= off {
			return errMap
		}
		for _, r := range m.ranges[m.index(off):] {
			if r.Offset >= until {
				break
			}
			if err := j.add(off, r.Offset, blockstore.Zero); err != nil {
				return err
			}
			from := max(off, r.Offset)
			off = min(r.Offset+r.Length, until)
			if err := j.add(from, off, blockstore.Data); err != nil {
				return err
			}
		}
		if err := j.add(off, until, blockstore.Zero); err != nil {
			return err
		}
		off = until
	}
	return j.flush()
}

// index is that of the first range that ends behind off.
func (m *mapped) index(off int64) int {
	return sort.Search(len(m.ranges), func(i int) bool { return m.ranges[i].Offset+m.ranges[i].Length > off })
}

// hole tells whether all of a range is zeros, as far as is known.
func (m *mapped) hole(off, length int64) bool {
	if off < m.from || off+length > m.until {
		return false
	}
	i := m.index(off)
	return i == len(m.ranges) || m.ranges[i].Offset >= off+length
}

// joiner joins neighbouring extents of one kind.
type joiner struct {
	fn   func(blockstore.Extent) error
	last blockstore.Extent
}

func (j *joiner) add(from, to int64, kind blockstore.ExtentKind) error {
	if to <= from {
		return nil
	}
	if j.last.Length > 0 && j.last.Kind == kind {
		j.last.Length += to - from
		return nil
	}
	if err := j.flush(); err != nil {
		return err
	}
	j.last = blockstore.Extent{Offset: from, Length: to - from, Kind: kind}
	return nil
}

func (j *joiner) flush() error {
	if j.last.Length == 0 {
		return nil
	}
	return j.fn(j.last)
}
