package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// A bitmap is named for the point from which it counts. A backup of a VM that is on begins a
// new one; one of a VM that is off writes nothing to an image, and leaves the bitmap in it
// counting from the older point. What such a bitmap does not mark is as it was in that older
// point, whatever became of the image in between. So it is the same as in the newest
// point only where the maps of the two points agree.

// countsFrom is the point from which the bitmap of a disk counts that covers the time
// since p; "" where there is none.
func countsFrom(p *blockstore.Point, d *blockstore.DiskInfo) blockstore.PointID {
	switch {
	case d.Mode == "":
		return ""
	case d.Since != "":
		return d.Since
	}
	return p.ID
}

// since is the point from which the bitmaps of a machine's disks count that cover the
// time since p, its newest point; "" where there are none.
func since(p *blockstore.Point) blockstore.PointID {
	for i := range p.Disks {
		if id := countsFrom(p, &p.Disks[i]); id != "" {
			return id
		}
	}
	return ""
}

// BitmapSince is the name of the bitmap, in a VM, that covers the time since p, the newest point
// of its machine; "" where there is none. p may be nil.
func BitmapSince(vault blockstore.VaultID, p *blockstore.Point) string {
	if p == nil {
		return ""
	}
	id := since(p)
	if id == "" {
		return ""
	}
	return bitmapName(vault, id)
}

// span is a range of a disk, in bytes.
type span struct{ off, end int64 }

// maxMoved bounds the memory that differences between two points may take: 16 bytes each.
const maxMoved = 1 << 20

// movedSince finds where the parent's disk differs from that of the point from which its bitmap
// counts; doubt says why that cannot be told.
func movedSince(ctx context.Context, owner *blockstore.Owner, parent *blockstore.Point, then *blockstore.DiskInfo) (moved []span, doubt string) {
	from := countsFrom(parent, then)
	if from == parent.ID {
		return nil, ""
	}
	points, err := owner.Points(ctx)
	for _, p := range points {
		if p.ID != from || p.Machine != parent.Machine {
			continue
		}
		moved, err = differences(ctx, owner, p, parent, then)
		if err != nil {
			return nil, fmt.Sprintf("its bitmap counts from point %s: %v", from, err)
		}
		return moved, ""
	}
	if err != nil {
		return nil, fmt.Sprintf("its bitmap counts from point %s, and the points cannot be listed: %v", from, err)
	}
	return nil, fmt.Sprintf("its bitmap counts from point %s, which is gone", from)
}

func differences(ctx context.Context, owner *blockstore.Owner, p, parent *blockstore.Point, then *blockstore.DiskInfo) (moved []span, err error) {
	was, err := p.Disk(then.Name)
	if err != nil {
		return nil, err
	}
	if was.Size != then.Size || was.Source != then.Source || was.Mode == "" {
		return nil, errors.New("its disk is another one")
	}
	a, err := owner.OpenDisk(p, was.Name)
	if err != nil {
		return nil, err
	}
	b, err := owner.OpenDisk(parent, then.Name)
	if err != nil {
		return nil, err
	}
	err = blockstore.Diff(ctx, a, b, func(off, length int64) error {
		if n := len(moved); n > 0 && moved[n-1].end == off {
			moved[n-1].end += length
			return nil
		}
		if len(moved) == maxMoved {
			return errors.New("too much differs")
		}
		moved = append(moved, span{off, off + length})
		return nil
	})
	return moved, err
}

// sameAsParent makes of a source that tells what is as it was in an older point one that
// tells what is as it is in the parent, which differs from that point where moved says.
func sameAsParent(src blockstore.Source, moved []span) blockstore.Source {
	if len(moved) == 0 {
		return src
	}
	return &movedSource{src, moved}
}

type movedSource struct {
	blockstore.Source
	moved []span // ascending, apart
}

// Extents is that of the source, with data where the older point and the parent differ.
func (s *movedSource) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	moved := s.moved
	return s.Source.Extents(ctx, func(e blockstore.Extent) error {
		if e.Kind != blockstore.Same {
			return fn(e)
		}
		for at := e.Offset; at < e.End(); {
			for len(moved) > 0 && moved[0].end <= at {
				moved = moved[1:]
			}
			part := blockstore.Extent{Offset: at, Length: e.End() - at, Kind: blockstore.Same}
			if len(moved) > 0 && moved[0].off <= at {
				part.Kind, part.Length = blockstore.Data, min(e.End(), moved[0].end)-at
			} else if len(moved) > 0 {
				part.Length = min(e.End(), moved[0].off) - at
			}
			if err := fn(part); err != nil {
				return err
			}
			at = part.End()
		}
		return nil
	})
}
