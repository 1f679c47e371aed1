package restore

import (
	"context"
	"errors"
	"fmt"
)

// change writes what differs, and makes it durable.
func (t *placeTask) change(ctx context.Context, r *placeRun) (err error) {
	if t.nothing() {
		return t.compareAll(ctx, r)
	}
	p := t.job.Place
	if p.kind() == Raw && p.size < t.src.size {
		t.dirty = true
		if err := p.held.File().Truncate(t.src.size); err != nil {
			return fmt.Errorf("make it larger: %w", err)
		}
	}
	if p.held != nil && p.mark != nil { // it may have been being written when something died
		if err := p.held.Mend(ctx); err != nil {
			return err
		}
	}
	e, err := p.editor(ctx)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, e.Close())
		}
	}()
	if ctx.Err() != nil { // the last moment at which nothing is changed
		return context.Cause(ctx)
	}
	t.dirty = true
	if p.isFile() {
		err = t.write(ctx, r, e, span{0, t.src.size})
	} else {
		err = t.writeMarked(ctx, r, e)
	}
	if err != nil {
		return err
	}
	closed = true
	if err := e.Close(); err != nil {
		return err
	}
	return t.compareAll(ctx, r)
}

// write writes what differs within limits, and the zeros behind the disk.
func (t *placeTask) write(ctx context.Context, r *placeRun, e changes, limits span) error {
	part := *t.src
	part.only = []span{}
	for _, p := range t.parts {
		p.off, p.end = max(p.off, limits.off), min(p.end, limits.end)
		if p.len() > 0 {
			part.only = append(part.only, p)
		}
	}
	if err := fill(ctx, &part, placeTarget{e}, r.workers, &r.prog); err != nil {
		return err
	}
	if t.tail > 0 {
		if err := e.Zero(t.src.size, t.tail); err != nil {
			return err
		}
	}
	return settle(e)
}

// writeMarked writes to a place that cannot be hidden: the mark first, what it stands on
// last.
func (t *placeTask) writeMarked(ctx context.Context, r *placeRun, e changes) error {
	size := t.src.size
	head := span{0, min(markEdge, size)}
	tail := span{max(head.end, size-markEdge), size}
	// What is to stand there is read before anything is lost.
	first, last := make([]byte, head.len()), make([]byte, tail.len())
	if err := t.src.read(first, head.off, t.src.damaged); err != nil {
		return err
	}
	if err := t.src.read(last, tail.off, t.src.damaged); err != nil {
		return err
	}
	m := t.mark()
	block, err := markBlock(&m)
	if err != nil {
		return err
	}
	if int64(len(block)) > size {
		return fmt.Errorf("a disk of %d bytes is too small to be marked", size)
	}
	t.begun = true
	if _, err := e.WriteAt(block, 0); err != nil {
		return err
	}
	if n := head.len() - int64(len(block)); n > 0 {
		if err := e.Zero(int64(len(block)), n); err != nil {
			return err
		}
	}
	if err := settle(e); err != nil { // the mark is there before anything else is lost
		return err
	}
	if err := e.Zero(tail.off, tail.len()); err != nil && tail.len() > 0 {
		return err
	}
	if err := t.write(ctx, r, e, span{head.end, tail.off}); err != nil {
		return err
	}
	for _, edge := range []struct {
		p   []byte
		off int64
	}{{last, tail.off}, {first, head.off}} {
		if _, err := e.WriteAt(edge.p, edge.off); err != nil {
			return err
		}
		if err := settle(e); err != nil {
			return err
		}
	}
	for _, part := range t.parts { // those that were not written in the middle
		r.prog.add(max(0, min(part.end, head.end)-part.off) + max(0, part.end-max(part.off, tail.off)))
	}
	t.begun, t.dirty, t.job.Place.mark = false, false, nil
	return nil
}

// settle makes changes durable.
func settle(e changes) error {
	if err := e.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// compareAll reads the whole place when it is to be verified.
func (t *placeTask) compareAll(ctx context.Context, r *placeRun) error {
	if !r.opt.Verify {
		return nil
	}
	p := t.job.Place
	if p.held != nil {
		if err := dropCache(p.held.File()); err != nil {
			return err
		}
	}
	now, err := p.reader(ctx)
	if err != nil {
		return err
	}
	defer now.Close() // it was only read
	err = compare(ctx, t.src, now, r.workers, func(off, length int64) error {
		known := false
		t.src.damaged.within(off, off+length, func(from, to int64) { known = true })
		if known {
			return nil // zeros were put there
		}
		return &MismatchError{Disk: t.result.Disk.Name, Target: t.result.Target, Offset: off}
	}, &r.prog)
	t.result.Verified = err == nil
	return err
}

// placeTarget is what fill writes to.
type placeTarget struct{ changes }

func (placeTarget) Blank() bool   { return false }
func (placeTarget) Commit() error { return nil }
func (placeTarget) Abort() error  { return nil }
