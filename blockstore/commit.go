package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// Commit makes the point durable and visible: when it returns nil, the point
// survives power loss.
func (b *Backup) Commit(ctx context.Context) (*Point, error) {
	var point *Point
	err := unlessHung(ctx, b.o.dir, func(ctx context.Context) (err error) {
		point, err = b.makePoint(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return point, nil
}

func (b *Backup) makePoint(ctx context.Context) (*Point, error) {
	defer b.abort()
	o := b.o
	b.mu.Lock()
	ended := b.ended
	b.mu.Unlock()
	if ended {
		return nil, fmt.Errorf("commit point of %s: the backup has ended", b.machine.Name)
	}
	if err := b.seal(); err != nil {
		return nil, fmt.Errorf("commit point of %s: %w", b.machine.Name, err)
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	point, err := b.commit()
	if err != nil {
		o.spoilt.Store(true)
		return nil, fmt.Errorf("commit point of %s: %w", b.machine.Name, err)
	}
	// The point is safe; segments that are not merged only cost time.
	if err := o.mergeSegments(context.WithoutCancel(ctx)); err != nil {
		o.warn(err.Error())
	}
	return point, nil
}

// seal makes every pack durable that the point counts on.
func (b *Backup) seal() error {
	b.mu.Lock()
	packs := make([]*openPack, 0, len(b.counts))
	for p := range b.counts {
		packs = append(packs, p)
	}
	b.mu.Unlock()
	for _, p := range packs {
		b.o.seal(p)
	}
	// All of them are waited for, so that a backup that is tried again at once
	// does not count on one whose failure is not known yet.
	var errs []error
	for _, p := range packs {
		<-p.done
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// commit writes segment and point. The caller holds committing.
func (b *Backup) commit() (*Point, error) {
	o := b.o
	if err := o.stillOwner(o.claim); err != nil {
		return nil, err
	}
	point := b.point
	o.history.stamp(&point)
	slices.SortFunc(point.Disks, func(a, b DiskInfo) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	if err := point.check(); err != nil {
		return nil, err // it could not be read back
	}
	name := pointPath(point.Machine, point.Seq, point.ID)
	record, err := encodeRecord(o.keys, o.isSealed(), pointKind, name, point)
	if err != nil {
		return nil, err
	}
	if err := o.writeSegment([]segment.Point{{Event: segment.Committed, Path: name, Record: record}}); err != nil {
		return nil, err
	}
	if err := o.writePoint(name, record); err != nil {
		return nil, err
	}
	o.opts.Event("point.committed")
	o.history.add(&point)
	return &point, nil
}

// writePoint makes a point's record durable and visible. If that fails, what is
// left of it is removed, and the next segment tells that there is no such
// point, since one tells already that there is. The caller holds committing.
func (o *Owner) writePoint(name string, record []byte) error {
	err := o.writeNew(name, record, "point.written")
	if err == nil {
		return nil
	}
	o.dir.Remove(name) // what counts is whether it is gone
	if _, e := o.dir.Size(name); !isNotExist(e) {
		return errors.Join(err, e)
	}
	o.undone = append(o.undone, segment.Point{Event: segment.Dropped, Path: name})
	return err
}

// writeNew writes a file; event is told when its content is durable and its
// name is not.
func (o *Owner) writeNew(name string, data []byte, event string) error {
	f, err := o.dir.Create(name)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	o.opts.Event(event)
	return f.Commit()
}
