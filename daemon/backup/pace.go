package backup

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// paced makes of a source one that is read no faster than pace, which several share, allows.
func paced(ctx context.Context, src blockstore.Source, pace *blockstore.Pace) blockstore.Source {
	if pace == nil {
		return src
	}
	return &pacedSource{src, ctx, pace}
}

type pacedSource struct {
	blockstore.Source
	ctx  context.Context // of the backup, which ReadAt is part of
	pace *blockstore.Pace
}

func (s *pacedSource) ReadAt(p []byte, off int64) (int, error) {
	if err := s.pace.Take(s.ctx, int64(len(p))); err != nil {
		return 0, err
	}
	return s.Source.ReadAt(p, off)
}
