package service

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

const (
	mapPiece = 64 << 30        // of a disk, whose map is walked at a time
	mapTime  = 2 * time.Second // after which an answer ends
)

var errEnough = errors.New("these are enough")

// MapDisk tells which ranges of a disk hold data, from an offset on: at most so many, and only as
// far as is found in a few seconds. Where the map is damaged it goes up to there, and is an error from there on.
func MapDisk(ctx context.Context, d *blockstore.Disk, offset int64, most int) (api.DiskRanges, error) {
	m := api.DiskRanges{Size: d.Size(), BlockSize: d.BlockSize(), Ranges: []api.Range{}, Until: min(offset, d.Size())}
	if offset > m.Size {
		return m, &Invalid{Text: "the disk ends before that"}
	}
	for began := time.Now(); m.Until < m.Size && time.Since(began) < mapTime; {
		err := d.Extents(ctx, m.Until, min(mapPiece, m.Size-m.Until), func(e blockstore.Extent) error {
			last := len(m.Ranges) - 1
			switch {
			case e.Kind == blockstore.Zero:
			case last >= 0 && m.Ranges[last].Offset+m.Ranges[last].Length == e.Offset:
				m.Ranges[last].Length += e.Length
			case last+1 >= most:
				return errEnough
			default:
				m.Ranges = append(m.Ranges, api.Range{Offset: e.Offset, Length: e.Length})
			}
			m.Until = e.End()
			return nil
		})
		switch {
		case errors.Is(err, errEnough):
			return m, nil
		case err != nil && m.Until > offset && ctx.Err() == nil:
			return m, nil // who asks again from there on is told
		case err != nil:
			return m, err
		}
	}
	return m, nil
}
