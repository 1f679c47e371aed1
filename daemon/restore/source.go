package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// source reads one disk and deals with what is damaged in it: an error, or
// zeros and a note of where.
type source struct {
	disk    Disk
	size    int64
	only    []span    // the parts that extents yields; nil: all
	skip    bool      // zeros for what is damaged
	damaged *rangeSet // what became zeros

	ctx  context.Context  // of the restore, which read is part of
	pace *blockstore.Pace // of reading; nil: none
}

func newSource(ctx context.Context, d Disk, skip bool, pace *blockstore.Pace) (*source, error) {
	size, block := d.Size(), d.BlockSize()
	if size < 0 || block < 1 || block > window || block&(block-1) != 0 {
		return nil, fmt.Errorf("disk %s has %d bytes in blocks of %d, which cannot be", d.Info().Name, size, block)
	}
	return &source{disk: d, size: size, skip: skip, damaged: new(rangeSet), ctx: ctx, pace: pace}, nil
}

// extents calls fn for the runs of data and zeros of the disk, or of the parts that
// are wanted, in order and without gaps within a part, and checks that they are so. Where
// the disk's map is damaged and that is skipped, it yields zeros.
func (s *source) extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	if s.only == nil {
		return s.within(ctx, span{0, s.size}, fn)
	}
	for _, part := range s.only {
		if err := s.within(ctx, part, fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) within(ctx context.Context, part span, fn func(blockstore.Extent) error) error {
	pos := part.off
	var fnErr error // told apart from the disk's own errors
	emit := func(e blockstore.Extent) error {
		if e.Offset != pos || e.Length <= 0 || e.Length > part.end-pos || e.Kind > blockstore.Zero {
			return fmt.Errorf("the map yields %s of %d bytes at %d, but %d comes next of %d", e.Kind, e.Length, e.Offset, pos, part.end)
		}
		if fnErr = fn(e); fnErr != nil {
			return fnErr
		}
		pos = e.End()
		return nil
	}
	for pos < part.end {
		err := s.disk.Extents(ctx, pos, part.end-pos, emit)
		if err == nil && pos < part.end {
			err = fmt.Errorf("the map ends at %d of %d bytes", pos, part.end)
		}
		if err == nil {
			break
		}
		var damage *blockstore.CorruptError
		if fnErr != nil || !s.skip || !errors.As(err, &damage) {
			return err
		}
		if err := s.passDamage(ctx, damage, &pos, part.end, emit); err != nil {
			return err
		}
	}
	return nil
}

// passDamage goes on behind a damaged part of the map: what lies before it is
// yielded, it itself as zeros.
func (s *source) passDamage(ctx context.Context, damage *blockstore.CorruptError, pos *int64, last int64, emit func(blockstore.Extent) error) error {
	end := min(damage.Offset+damage.Length, last)
	if damage.Offset < 0 || damage.Length <= 0 || end <= *pos {
		return damage // it does not say what is behind it
	}
	if damage.Offset > *pos {
		err := s.disk.Extents(ctx, *pos, damage.Offset-*pos, emit)
		var again *blockstore.CorruptError
		if err != nil && !errors.As(err, &again) {
			return err
		}
	}
	off := *pos
	s.damaged.add(Range{Offset: off, Length: end - off, Cause: damage})
	return emit(blockstore.Extent{Offset: off, Length: end - off, Kind: blockstore.Zero})
}

// read fills p with the disk's bytes at off; what is damaged and skipped becomes
// zeros and is noted in found.
func (s *source) read(p []byte, off int64, found *rangeSet) error {
	if err := s.pace.Take(s.ctx, int64(len(p))); err != nil {
		return err
	}
	err := readFull(s.disk, p, off)
	var damage *blockstore.CorruptError
	if err == nil || !s.skip || !errors.As(err, &damage) {
		return err
	}
	block := int64(s.disk.BlockSize())
	for len(p) > 0 {
		n := min(int64(len(p)), block-off%block)
		err := readFull(s.disk, p[:n], off)
		switch {
		case err == nil:
		case errors.As(err, &damage):
			clear(p[:n])
			found.add(Range{Offset: off, Length: n, Cause: err})
		default:
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readFull reads all of p: a reader may say io.EOF with the last byte.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}
