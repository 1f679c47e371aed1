package blockstore

import (
	"context"
)

// storeAgain reads a point of a vault of other keys and stores it as a backup
// does.
func (im *importing) storeAgain(ctx context.Context) error {
	for _, info := range im.p.Disks {
		d, err := im.src.OpenDisk(im.p, info.Name)
		if err != nil {
			return err
		}
		before := im.done.Load()
		err = im.b.AddDisk(ctx, info, im.source(d), func(_ Sizes, done int64) { im.done.Store(before + done); im.progress(before + done) })
		if err != nil {
			return err
		}
		im.done.Store(before + info.Size)
	}
	for _, f := range im.p.Config {
		data, err := im.src.ReadConfig(ctx, im.p, f.Name)
		if err != nil {
			return err
		}
		if err := im.b.AddConfig(f.Name, data); err != nil {
			return err
		}
	}
	return nil
}

// source is a disk of the other vault. What it has in common with the base is
// not read, where the other vault holds that, too.
func (im *importing) source(d *Disk) Source {
	s := importSource{Disk: d}
	if base := im.b.parent; base != nil {
		p, err := im.src.point(pointPath(base.Machine, base.Seq, base.ID))
		if err != nil || p == nil {
			return s
		}
		here, err := base.Disk(d.info.Name)
		there, e := im.src.OpenDisk(p, d.info.Name)
		if err == nil && e == nil && here.Size == d.Size() && there.Size() == d.Size() {
			s.base = there
		}
	}
	return s
}

type importSource struct {
	*Disk
	base *Disk // nil: none
}

// Extents implements [Source].
func (s importSource) Extents(ctx context.Context, fn func(Extent) error) error {
	if s.base == nil {
		return s.Disk.Extents(ctx, 0, s.Size(), fn)
	}
	at := int64(0)
	same := func(to int64) error {
		if to <= at {
			return nil
		}
		e := Extent{Offset: at, Length: to - at, Kind: Same}
		at = to
		return fn(e)
	}
	err := Diff(ctx, s.base, s.Disk, func(off, length int64) error {
		if err := same(off); err != nil {
			return err
		}
		at = off + length
		return s.Disk.Extents(ctx, off, length, fn)
	})
	if err != nil {
		return s.corrupt(err)
	}
	return same(s.Size())
}
