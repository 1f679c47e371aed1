package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// namedPack is a pack and who wrote it.
type namedPack struct {
	segment.Pack
	writer WriterID
}

// wrongSize notes a pack whose size is not what its segment says. What it ends
// before cannot be read; the fault is that of all of it.
func (c *checker) wrongSize(where string, id pack.ID, size, want int64) {
	f := &Fault{Where: where, What: fmt.Sprintf("it has %d bytes, its segment says %d", size, want)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.short[id] = shortPack{size, f}
	c.unreadable = append(c.unreadable, f)
}

// shortPack is a pack that ends early.
type shortPack struct {
	size  int64
	fault *Fault
}

// listPacks returns every pack that a segment names and, when records are
// read, those that none names: its segment may be lost, or its backup unfinished.
func (c *checker) listPacks() (list []namedPack, err error) {
	seen := map[pack.ID]bool{}
	for _, t := range c.tables.tables {
		for _, p := range t.Packs {
			if !seen[p.ID] {
				seen[p.ID] = true
				list = append(list, namedPack{p, writerID(t.Writer)})
			}
		}
	}
	if !c.o.Data {
		return list, nil
	}
	err = c.v.eachPack(c.v.dir.List, func(w WriterID, id pack.ID) error {
		if seen[id] {
			return nil
		}
		size, err := c.v.dir.Size(packPath(w, id))
		if isNotExist(err) {
			return nil
		}
		list = append(list, namedPack{segment.Pack{ID: id, Size: size}, w})
		return err
	})
	return list, err
}

// choose returns the packs whose records are read, and their bytes. It sorts
// the list so that what was not read for longest comes first.
func (c *checker) choose(list []namedPack) (chosen map[pack.ID]bool, total int64, err error) {
	if !c.o.Data {
		return nil, 0, nil
	}
	if c.readings, err = loadReadings(readingsPath(c.o.StateDir, c.v.head.ID), time.Now()); err != nil {
		return nil, 0, err
	}
	there := map[pack.ID]bool{}
	var all int64
	for _, p := range list {
		there[p.ID] = true
		all += p.Size
	}
	c.readings.keepOnly(there)
	slices.SortFunc(list, func(p, q namedPack) int {
		return cmp.Or(c.readings.last(p.ID).Compare(c.readings.last(q.ID)), slices.Compare(p.ID[:], q.ID[:]))
	})
	want := all
	if c.o.Percent > 0 && c.o.Percent < 100 {
		want = int64(float64(all) * c.o.Percent / 100)
	}
	chosen = map[pack.ID]bool{}
	for _, p := range list {
		if total >= want && len(chosen) > 0 && want < all {
			break
		}
		chosen[p.ID] = true
		total += p.Size
	}
	return chosen, total, nil
}

// readSince returns the time since when all packs that are there were read.
func (c *checker) readSince(list []namedPack) (since time.Time) {
	for _, p := range list {
		if c.gone[p.ID] != nil {
			continue
		}
		at := c.readings.last(p.ID)
		if at.IsZero() {
			return at
		}
		if since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since
}

// pack looks at one pack. An error means that nothing in it can be found; a
// damaged header or footer is a fault and harms nobody, since segments say
// where its records are.
func (c *checker) pack(ctx context.Context, p namedPack, data bool, read func(int64)) error {
	where := packPath(p.writer, p.ID)
	f, err := c.v.dir.Open(where)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := pack.ReadHeader(f)
	switch {
	case err != nil:
		c.torn(where, p.ID, err)
	case h.ID != p.ID && !data:
		return fmt.Errorf("it is pack %s under another name", h.ID)
	case h.ID != p.ID:
		c.fault(where, fmt.Errorf("it is pack %s under another name", h.ID))
	}
	if st.Size() != p.Size {
		c.wrongSize(where, p.ID, st.Size(), p.Size)
	}
	entries, err := pack.ReadFooter(f, st.Size(), p.ID)
	if err != nil {
		c.torn(where, p.ID, err)
		entries = c.tables.entriesOf(p.ID)
	}
	if !data {
		return nil
	}
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what is proven is the disk, as far as it can be
	return c.packData(ctx, f, p, entries, read)
}

// torn reports a pack whose header or footer is damaged.
func (c *checker) torn(where string, id pack.ID, err error) {
	c.fault(where, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.report.Torn, id) {
		c.report.Torn = append(c.report.Torn, id)
	}
}

// packData reads every record of a pack.
func (c *checker) packData(ctx context.Context, f *os.File, p namedPack, entries []pack.Entry, read func(int64)) error {
	where := packPath(p.writer, p.ID)
	plain, opener := make([]byte, pack.MaxContent), c.v.opener(p.ID)
	before := func(n int64) error {
		c.mu.Lock()
		c.report.BytesRead += n
		c.mu.Unlock()
		read(n)
		return c.pace.Take(ctx, n)
	}
	err := eachRecord(ctx, f, entries, before, func(i int, rec []byte, err error) error {
		e, record := entries[i], fmt.Sprintf("%s record %d", where, i)
		if err == nil {
			err = recordData(opener, e, rec, plain)
		}
		switch {
		case err != nil:
			c.damagedCopy(p, e, record, err)
		case pack.CheckSum(rec) != nil:
			c.fault(record, fmt.Errorf("%w; its content is good", pack.CheckSum(rec)))
		case c.notes.has(e.ID, p.ID):
			c.list(p, e)
			c.fault(record, errors.New("noted as damaged, and it can be read as it was stored"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[p.ID] = true
	return nil
}

func recordData(opener *pack.Opener, e pack.Entry, rec, plain []byte) error {
	kind, n, err := pack.Describe(rec)
	if err != nil {
		return err
	}
	if e.Kind != 0 { // segments do not say; footers do
		kind = e.Kind
	}
	return opener.Decode(kind, e.ID, rec, plain[:n])
}

// list lists a record for the owner to look at.
func (c *checker) list(p namedPack, e pack.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Damaged = append(c.report.Damaged, Damaged{p.writer, p.ID, e})
}

// damagedCopy reads a record that is damaged again, past the page cache. Its
// content is lost only when no other copy can be read.
func (c *checker) damagedCopy(p namedPack, e pack.Entry, where string, first error) {
	kind, err := e.Kind, first
	for _, k := range []content.Kind{content.Block, content.Page, content.Blob} {
		if e.Kind != 0 && e.Kind != k {
			continue
		}
		again := c.v.readPlace(place{p.writer, p.ID, e.Location}, func(op *pack.Opener, rec []byte) error { return decodes(op, k, e.ID, rec) })
		if again == nil {
			return // it was read wrongly, and lies there as it was stored
		}
		if e.Kind == k {
			err = again
		}
		if _, other := c.v.readWhole(k, e.ID); other == nil {
			c.fault(where, fmt.Errorf("%w; another copy is good", err))
			kind, first = k, nil
			break
		}
	}
	if kind == 0 { // only its class is known
		kind = map[bool]content.Kind{true: content.Block, false: content.Page}[p.Class == uint8(pack.Blocks)]
	}
	if isDamage(err) {
		e.Kind = kind
		c.list(p, e)
	}
	if first != nil {
		c.lost(e.ID, where, err)
	}
}
