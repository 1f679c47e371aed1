package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// ErrForgotten reports a point that was in the vault and was dropped.
var ErrForgotten = errors.New("it was in this vault before, and was dropped")

// Import copies a point of another vault into this one, where it keeps its id,
// machine, number, time and all that it says of the machine; commit, writer,
// and what was read and stored are of the copy. Locks and notes are copied, deletion is
// not. Between vaults of one secret and block size (see CreateOptions.Like)
// records are verified and taken over as they are; between others all that changed since the point
// of the machine that was copied before is read and stored as a backup does.
//
// A point that is there already is ErrExists, one that was dropped is ErrForgotten, and
// one that cannot be read is a *CorruptError; nothing is left of it then but what the
// next run finds. Progress, which may be nil, is told the bytes of the disks dealt with.
func (o *Owner) Import(ctx context.Context, src *Vault, p *Point, progress func(done int64)) (*Point, error) {
	q, err := o.importPoint(ctx, src, p, progress)
	if err != nil {
		return nil, fmt.Errorf("copy point %s@%s: %w", p.MachineName, p.ID, err)
	}
	return q, o.importAttributes(src, p, q)
}

func (o *Owner) importPoint(ctx context.Context, src *Vault, p *Point, progress func(done int64)) (*Point, error) {
	if err := o.differs(src); err != nil {
		return nil, err
	}
	m, err := o.importMachine(ctx, src, p)
	if err != nil {
		return nil, err
	}
	if !o.setRunning(m.Name) {
		return nil, fmt.Errorf("machine %s: %w", m.Name, ErrRunning)
	}
	if !o.setRunning(runningID(m.ID)) {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.running, m.Name)
		return nil, fmt.Errorf("machine %s, which was called otherwise when that began: %w", m.Name, ErrRunning)
	}
	b := &Backup{o: o, machine: m, workers: o.workers(0), counts: map[*openPack]bool{}}
	defer b.Abort()
	if b.parent, err = o.pinBase(p); err != nil {
		return nil, err
	}
	b.point = *p
	b.point.Writer, b.point.Disks, b.point.Config, b.point.Sizes = o.claim.owner.Writer, nil, nil, Sizes{}
	im := &importing{b: b, src: src, p: p, progress: progress}
	if progress == nil {
		im.progress = func(int64) {}
	}
	if src.secret == o.secret && src.head.BlockSize == o.head.BlockSize {
		err = im.takeOver(ctx)
	} else {
		err = im.storeAgain(ctx)
	}
	if err != nil {
		return nil, err
	}
	return b.Commit(ctx)
}

// importing is one point on its way from another vault.
type importing struct {
	b        *Backup
	src      *Vault
	p        *Point
	progress func(done int64)
	done     atomic.Int64 // bytes of the disks
}

func (im *importing) dealtWith(n int64) { im.progress(im.done.Add(n)) }

// takeOver copies, from a vault of the same keys, what this one does not hold.
func (im *importing) takeOver(ctx context.Context) error {
	for _, info := range im.p.Disks {
		d, err := im.src.OpenDisk(im.p, info.Name)
		if err != nil {
			return err
		}
		if info.Sizes.Stored, info.Sizes.Read, err = im.disk(ctx, d); err != nil {
			return d.corrupt(err)
		}
		if err := im.b.addDisk(info); err != nil {
			return err
		}
	}
	c := copier{im: im}
	for _, f := range im.p.Config {
		for i, id := range f.Parts {
			if err := c.copy(content.Blob, id); err != nil {
				return corruptBy(err, CorruptError{Machine: im.p.MachineName, Point: im.p.ID, Disk: "config/" + f.Name,
					Offset: int64(i) * maxBlob, Length: min(maxBlob, f.Size-int64(i)*maxBlob)})
			}
		}
	}
	im.b.point.Config = im.p.Config
	im.b.point.Sizes.Stored += c.stored
	return nil
}

// wanted is content of the disk that is copied.
type wanted struct {
	kind  content.Kind
	id    ID
	first int64 // block
}

// disk copies what the disk's map names and the base does not have at the same
// place: pages as they are met, and blocks. What is found anywhere else in the vault
// is not read, but all below it is asked for.
func (im *importing) disk(ctx context.Context, d *Disk) (stored, read int64, err error) {
	work := make(chan wanted, 256)
	copiers := make([]copier, im.b.workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(work)
		return im.walk(ctx, d, work)
	})
	for i := range copiers {
		c := &copiers[i]
		c.im = im
		g.Go(func() error { return c.run(ctx, d, work) })
	}
	err = g.Wait()
	for _, c := range copiers {
		stored += c.stored
		read += c.read
	}
	return stored, read, err
}

func (im *importing) walk(ctx context.Context, d *Disk, work chan<- wanted) error {
	bs := int64(d.BlockSize())
	bytesOf := func(first, n int64) int64 { return max(0, min(n*bs, d.Size()-first*bs)) }
	send := func(w wanted) error {
		select {
		case work <- w:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	base := im.baseMap(d.info)
	return d.m.Visit(ctx, 0, d.m.Blocks, diskmap.Visitor{
		Page: func(id ID, level int, first int64) (bool, error) {
			if base != nil {
				if had, err := base.Node(level, first/diskmap.Span(level)); err == nil && had == id {
					im.dealtWith(bytesOf(first, diskmap.Span(level)))
					return false, nil
				}
			}
			return true, send(wanted{content.Page, id, first})
		},
		Blocks: func(first int64, ids []ID) error {
			for i, id := range ids {
				if id.IsZero() {
					continue
				}
				if err := send(wanted{content.Block, id, first + int64(i)}); err != nil {
					return err
				}
			}
			im.dealtWith(bytesOf(first, int64(len(ids))))
			return nil
		},
		Zero: func(first, n int64) error { im.dealtWith(bytesOf(first, n)); return nil },
	})
}

// baseMap is the map of the disk of that name in the base, nil where nothing
// can be taken from it. While something is damaged here, all is asked for, so that it heals.
func (im *importing) baseMap(info DiskInfo) *diskmap.Map {
	if im.b.parent == nil || im.b.o.damage.any() {
		return nil
	}
	base, err := im.b.parent.Disk(info.Name)
	if err != nil || im.b.o.blocksOf(base.Size) != im.b.o.blocksOf(info.Size) {
		return nil
	}
	return im.b.o.diskMap(base)
}

// copier copies records. It belongs to one goroutine.
type copier struct {
	im           *importing
	rec, plain   []byte
	stored, read int64
}

func (c *copier) run(ctx context.Context, d *Disk, work <-chan wanted) error {
	budget, cost := c.im.b.o.opts.Budget, int64(recordSpace+pack.MaxContent)
	bs := int64(d.BlockSize())
	for w := range work {
		if err := budget.take(ctx, cost); err != nil {
			return err
		}
		err := c.copy(w.kind, w.id)
		budget.give(cost)
		if err != nil {
			return corruptBy(err, CorruptError{Offset: w.first * bs, Length: min(bs, d.Size()-w.first*bs)})
		}
	}
	return ctx.Err()
}

// unreadable is an error of reading content that is to be copied.
type unreadable struct{ error }

func (e unreadable) Unwrap() error { return e.error }

// corruptBy makes of an error of reading one that says what is damaged.
func corruptBy(err error, at CorruptError) error {
	var bad unreadable
	if !errors.As(err, &bad) {
		return err
	}
	at.Err = bad.error
	return &at
}

// copy copies a record, verified and without its seal, unless it is there.
func (c *copier) copy(kind content.Kind, id ID) error {
	o := c.im.b.o
	if known, err := o.find(id, c.im.b); known || err != nil {
		return err
	}
	err := c.im.src.read(kind, id, func(op *pack.Opener, rec []byte) error {
		_, n, err := pack.Describe(rec)
		if err != nil {
			return err
		}
		c.plain = slices.Grow(c.plain[:0], n)[:n]
		if err := op.Decode(kind, id, rec, c.plain); err != nil {
			return err
		}
		c.rec, err = op.Unseal(c.rec, rec)
		return err
	})
	if err != nil {
		return unreadable{err}
	}
	c.read += int64(len(c.plain))
	stored, err := o.put(kind, id, c.rec, c.im.b)
	c.stored += stored
	return err
}
