package blockstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

const (
	// defaultWalkMemory is what each list of a walk keeps in memory before it goes to
	// a scratch file.
	defaultWalkMemory = 8 << 20
	// walkChunk is how many bytes of a list are looked up at once.
	walkChunk = 16 << 20
	// maxBroken is how much content that is missing or damaged is looked for
	// before a walk ends.
	maxBroken = 1000
	// spareScratch is the free space that scratch files leave.
	spareScratch = 256 << 20
)

// walk marks all that points name, in memory that is bounded whatever the
// vault's size. It goes through the maps of all points at once, level by level:
// the IDs of a level are gathered, in a scratch file when they are many, sorted,
// and looked up in the segments in their order; pages are read in the order in
// which they lie in packs. So segments and packs are read from their beginning
// to their end, and no ID costs a read of its own.
//
// Where there is no room for a scratch file, what memory holds is looked up as
// often as memory is full: slower, with the same result.
type walk struct {
	v      *Vault
	m      *marks // readied by weigh
	memory int
	dir    interface {
		Scratch() (*os.File, error)
		CheckSpace(floor, need int64) error
	}

	rest    func(ctx context.Context, began time.Time) // called after each step of work
	readers func() int                                 // how many pages are read at once

	lists [diskmapLevels + 1]walkList // index: level; blocks and blobs at 0

	pagesRead atomic.Int64

	mu     sync.Mutex // held while marking
	sum    int64      // bytes of records that were marked
	broken map[ID]error
}

// diskmapLevels is the height of the tallest tree, that of diskmap.MaxBlocks.
const diskmapLevels = 8

// walkList is the IDs of one level.
type walkList struct {
	mu    sync.Mutex // held while an ID is added, and while the list is emptied because it is full
	spill *spill
}

// walkPageSize is how many bytes tell where a page lies: pack, as its table and its place there, offset,
// length, ID.
const walkPageSize = 4 + 4 + 4 + 4 + content.IDSize

func (v *Vault) newWalk(m *marks, memory int) *walk {
	if memory == 0 {
		memory = defaultWalkMemory
	}
	w := &walk{v: v, m: m, memory: memory, dir: v.dir, broken: map[ID]error{}}
	w.rest, w.readers = func(context.Context, time.Time) {}, func() int { return runtime.GOMAXPROCS(0) }
	for i := range w.lists {
		w.lists[i].spill = w.newSpill(content.IDSize, func(rec []byte) byte { return rec[0] })
	}
	return w
}

func (w *walk) newSpill(size int, part func([]byte) byte) *spill {
	unchecked := int64(1 << 40)
	return &spill{size: size, memory: w.memory, part: part, open: func() (*os.File, error) { return w.dir.Scratch() }, room: func(n int64) error {
		if unchecked += n; unchecked < 64<<20 {
			return nil
		}
		unchecked = 0
		return w.dir.CheckSpace(spareScratch, 128<<20)
	}}
}

func (w *walk) close() error {
	var errs []error
	for i := range w.lists {
		errs = append(errs, w.lists[i].spill.close())
	}
	return errors.Join(errs...)
}

// points marks what some points name. Content that is in no pack that is
// present, or cannot be read, is in broken afterwards.
func (w *walk) points(ctx context.Context, points []*Point) error {
	for _, p := range points {
		for _, d := range p.Disks {
			if blocks := w.v.blocksOf(d.Size); blocks > 0 && !d.Root.IsZero() {
				if err := w.add(ctx, diskmap.Levels(blocks), d.Root); err != nil {
					return err
				}
			}
		}
		for _, c := range p.Config {
			for _, id := range c.Parts {
				if err := w.add(ctx, 0, id); err != nil {
					return err
				}
			}
		}
	}
	for level := diskmapLevels; level >= 0; level-- {
		if err := w.level(ctx, level); err != nil {
			return err
		}
	}
	return nil
}

// add gathers an ID. A list that is full, and has no file, is dealt with first.
func (w *walk) add(ctx context.Context, level int, ids ...ID) error {
	l := &w.lists[level]
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range ids {
		if ids[i].IsZero() {
			continue
		}
		err := l.spill.add(ids[i][:])
		if err == errNoSpill {
			if err = w.empty(ctx, level); err == nil {
				err = l.spill.add(ids[i][:])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) level(ctx context.Context, level int) error {
	w.lists[level].mu.Lock()
	defer w.lists[level].mu.Unlock()
	return w.empty(ctx, level)
}

// empty marks what was gathered of a level and reads it, if it is pages, whose
// IDs are gathered one level below. The caller holds the list.
func (w *walk) empty(ctx context.Context, level int) error {
	pages := w.newSpill(walkPageSize, walkPart)
	defer pages.close() // nothing in it is needed any more
	var ids []ID
	err := w.lists[level].spill.each(walkChunk, func(recs []byte) error {
		began := time.Now()
		ids = ids[:0]
		for ; len(recs) > 0; recs = recs[content.IDSize:] {
			ids = append(ids, ID(recs))
		}
		slices.SortFunc(ids, compareIDs)
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := w.locate(slices.Compact(ids), level > 0)
		w.rest(ctx, began)
		for ; err == nil && len(found) > 0; found = found[walkPageSize:] {
			err = pages.add(found[:walkPageSize])
			if err == errNoSpill {
				if err = w.readPages(ctx, level, pages); err == nil {
					err = pages.add(found[:walkPageSize])
				}
			}
		}
		return err
	})
	if err != nil || level == 0 {
		return err
	}
	return w.readPages(ctx, level, pages)
}

func compareIDs(a, b ID) int {
	x, y := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:])
	if x < y {
		return -1
	}
	if x > y {
		return 1
	}
	return bytes.Compare(a[8:], b[8:])
}

// walkPage appends where a page lies, so that what is encoded sorts as pages
// lie.
func walkPage(rec []byte, table int, e *segment.Entry) []byte {
	rec = binary.BigEndian.AppendUint32(rec, uint32(table))
	rec = binary.BigEndian.AppendUint32(rec, e.Pack)
	rec = binary.BigEndian.AppendUint32(rec, e.Offset)
	rec = binary.BigEndian.AppendUint32(rec, e.Length)
	return append(rec, e.ID[:]...)
}

// walkPart puts whole packs into a part.
func walkPart(rec []byte) byte { return rec[7] }

func (w *walk) placeOf(rec []byte) (place, ID) {
	t := w.m.set.tables[binary.BigEndian.Uint32(rec)]
	at := pack.Location{Offset: binary.BigEndian.Uint32(rec[8:]), Length: binary.BigEndian.Uint32(rec[12:])}
	return place{writerID(t.Writer), t.Packs[binary.BigEndian.Uint32(rec[4:])].ID, at}, ID(rec[16:])
}

// locate marks IDs, which ascend, and returns where those of pages lie that were
// not marked before.
func (w *walk) locate(ids []ID, pages bool) (found []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing, err := w.m.addAll(ids, func(table int, e *segment.Entry) {
		w.sum += int64(e.Length)
		if pages {
			found = walkPage(found, table, e)
		}
	})
	for _, id := range missing {
		w.broken[id] = fmt.Errorf("%s: %w", id.Short(), errMissing)
	}
	if err == nil && len(w.broken) > maxBroken {
		err = errTooBroken
	}
	return found, err
}

// errTooBroken ends a walk that found enough that is broken.
var errTooBroken = errors.New("too much is missing or damaged")

// readPages reads pages in the order in which they lie in packs and gathers the
// IDs that they hold.
func (w *walk) readPages(ctx context.Context, level int, pages *spill) error {
	return pages.each(walkChunk, func(recs []byte) error {
		list := make([][]byte, 0, len(recs)/walkPageSize)
		for ; len(recs) > 0; recs = recs[walkPageSize:] {
			list = append(list, recs[:walkPageSize])
		}
		slices.SortFunc(list, bytes.Compare)
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(w.readers())
		const batch = 256
		for part := range slices.Chunk(list, batch) {
			g.Go(func() error {
				began := time.Now()
				defer func() { w.rest(ctx, began) }()
				for _, rec := range part {
					if err := ctx.Err(); err != nil {
						return err
					}
					if err := w.readPage(ctx, level, rec); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return g.Wait()
	})
}

func (w *walk) readPage(ctx context.Context, level int, rec []byte) error {
	w.pagesRead.Add(1)
	at, id := w.placeOf(rec)
	page, err := w.v.pageAt(at, id, level)
	if err != nil { // that copy is damaged: another, or the same at a second try
		page, err = w.v.loadPage(id, level)
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.broken[id] = err
		if len(w.broken) > maxBroken {
			return errTooBroken
		}
		return nil
	}
	return w.add(ctx, level-1, page.IDs[:]...)
}

// pageAt reads one copy of a page, past the cache of pages.
func (v *Vault) pageAt(at place, id ID, level int) (page *diskmap.Page, err error) {
	err = v.readPlace(at, func(o *pack.Opener, rec []byte) error {
		_, n, err := pack.Describe(rec)
		if err != nil {
			return err
		}
		if n > diskmap.MaxPage {
			return fmt.Errorf("page of %d bytes: %w", n, diskmap.ErrDamaged)
		}
		var plain [diskmap.MaxPage]byte
		if err := o.Decode(content.Page, id, rec, plain[:n]); err != nil {
			return err
		}
		page, err = diskmap.Decode(plain[:n], level)
		return err
	})
	return page, err
}
