package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

const (
	// chunkBytes is how much one worker reads and stores at a time.
	chunkBytes = 1 << 20
	// recordSpace is what a worker needs besides, at most.
	recordSpace = MaxBlockSize + 4096
)

// AddDisk reads src to its end and adds it to the point. The root of its map and
// its sizes are computed; info gives the rest. Progress, which may be nil, is told
// the sizes so far and the bytes of the disk dealt with; it must be quick.
func (b *Backup) AddDisk(ctx context.Context, info DiskInfo, src Source, progress func(s Sizes, done int64)) error {
	if err := CheckDiskName(info.Name); err != nil {
		return err
	}
	info.Size = src.Size()
	return unlessHung(ctx, b.o.dir, func(ctx context.Context) error {
		in := newIngest(b, info, src, progress)
		root, err := in.run(ctx)
		if err != nil {
			return fmt.Errorf("disk %s: %w", info.Name, err)
		}
		info.Root, info.Sizes = root, in.sizes
		return b.addDisk(info)
	})
}

// ingest reads one disk. A producer cuts it into chunks, workers read, hash
// and store them, and a collector maps them in the disk's order:
//
//	extents -> producer -> work  -> workers
//	                   \-> order ----------> collector -> map
//
// Order holds a few chunks for each worker, which bounds what is under way.
type ingest struct {
	b        *Backup
	src      Source
	size     int64
	bs       int64
	progress func(Sizes, int64)

	parent     *diskmap.Map // nil: none
	parentDisk *DiskInfo    // of parent
	builder    *diskmap.Builder
	pages      *recorder // the collector's

	work, order chan *chunk

	// The collector's:
	sizes       Sizes
	sameBlocks  bool  // some blocks were taken over unread
	parentSeen  int64 // bytes that are not zero in the parent, where blocks were not taken over
	newlyMapped int64 // the same of this disk
}

// chunk is a run of blocks on its way.
type chunk struct {
	first, n int64
	kind     ExtentKind
	parent   []ID // of data: what the parent has there; nil: none, or unknown
	unknown  bool // the parent's map cannot be read there

	done  chan struct{} // closed when ids and sizes are there, or err
	ids   []ID
	sizes Sizes // Changed, Stored and Read
	err   error
}

func newIngest(b *Backup, info DiskInfo, src Source, progress func(Sizes, int64)) *ingest {
	v := b.o.Vault
	in := &ingest{
		b: b, src: src, size: info.Size, bs: int64(v.head.BlockSize), progress: progress, pages: b.o.encoder(),
		work: make(chan *chunk, b.workers), order: make(chan *chunk, 4*b.workers),
	}
	if in.progress == nil {
		in.progress = func(Sizes, int64) {}
	}
	in.sizes.Logical = info.Size
	if d := b.ParentDisk(info); d != nil {
		in.parentDisk, in.parent = d, v.diskMap(d)
	}
	in.builder = diskmap.NewBuilder(v.blocksOf(info.Size), in.parent, in.putPage)
	return in
}

func (in *ingest) run(ctx context.Context) (ID, error) {
	if in.size < 0 {
		return ID{}, fmt.Errorf("a size of %d bytes", in.size)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(in.order)
		defer close(in.work)
		return in.produce(ctx)
	})
	for range in.b.workers {
		g.Go(func() error { return in.worker(ctx) })
	}
	g.Go(func() error { return in.collect(ctx) })
	if err := g.Wait(); err != nil {
		return ID{}, err
	}
	if err := in.finishSizes(ctx); err != nil {
		return ID{}, err
	}
	return in.builder.Finish()
}

// produce cuts the source's extents into chunks.
func (in *ingest) produce(ctx context.Context) error {
	r := runs{bs: in.bs, size: in.size, fn: func(first, n int64, kind ExtentKind) error {
		switch kind {
		case Data:
			return in.sendData(ctx, first, n)
		case Same:
			return in.sendSame(ctx, first, n)
		}
		return in.send(ctx, &chunk{first: first, n: n, kind: kind})
	}}
	if err := in.src.Extents(ctx, r.add); err != nil {
		return err
	}
	return r.finish()
}

func (in *ingest) sendData(ctx context.Context, first, n int64) error {
	step := max(1, chunkBytes/in.bs)
	for ; n > 0; first, n = first+min(n, step), n-min(n, step) {
		c := &chunk{first: first, n: min(n, step), kind: Data, done: make(chan struct{})}
		c.parent, c.unknown = in.parentIDs(ctx, c.first, c.n)
		if err := in.send(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (in *ingest) send(ctx context.Context, c *chunk) error {
	select {
	case in.order <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.kind != Data {
		return nil
	}
	select {
	case in.work <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parentIDs returns what the parent has at some blocks, or nil where it has
// none or its map cannot be read, which is unknown: then only the index saves work.
func (in *ingest) parentIDs(ctx context.Context, first, n int64) (ids []ID, unknown bool) {
	if in.parent == nil || first >= in.parent.Blocks {
		return nil, false
	}
	ids = make([]ID, n)
	err := in.parent.Visit(ctx, first, n, diskmap.Visitor{Blocks: func(at int64, found []ID) error {
		copy(ids[at-first:], found)
		return nil
	}})
	if err != nil {
		return nil, true
	}
	return ids, false
}

// worker reads, hashes and stores chunks. Its buffers last as long as it and
// are paid for from the budget chunk by chunk.
func (in *ingest) worker(ctx context.Context) error {
	w := &worker{in: in, rec: in.b.o.encoder()}
	const cost = chunkBytes + recordSpace
	for c := range in.work {
		if err := in.b.o.opts.Budget.take(ctx, cost); err != nil {
			return err
		}
		w.take()
		c.err = w.process(c)
		w.give()
		in.b.o.opts.Budget.give(cost)
		err, stored := c.err, c.sizes.Stored
		close(c.done)
		if err != nil {
			return err
		}
		if err := in.b.pace.Take(ctx, stored); err != nil {
			return err
		}
	}
	return nil
}

type worker struct {
	in  *ingest
	rec *recorder
	buf *[]byte // only while a chunk is processed
}

var chunkBuffers = sync.Pool{New: func() any { b := make([]byte, chunkBytes); return &b }}

func (w *worker) take() { w.buf = chunkBuffers.Get().(*[]byte) }
func (w *worker) give() { chunkBuffers.Put(w.buf); w.buf = nil }

func (w *worker) process(c *chunk) error {
	in := w.in
	data := (*w.buf)[:c.n*in.bs]
	at := c.first * in.bs
	want := min(int64(len(data)), in.size-at)
	if n, err := in.src.ReadAt(data[:want], at); int64(n) < want {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d: %w", want, at, err)
	}
	clear(data[want:])
	c.sizes.Read = want
	c.ids = make([]ID, c.n)
	for i := range c.ids {
		if err := w.block(c, i, data[int64(i)*in.bs:int64(i+1)*in.bs]); err != nil {
			return err
		}
	}
	return nil
}

var zeros [MaxBlockSize]byte

// block names the i-th block of a chunk and stores it if it is new.
func (w *worker) block(c *chunk, i int, data []byte) error {
	in, o := w.in, w.in.b.o
	if !bytes.Equal(data, zeros[:len(data)]) {
		c.ids[i] = o.keys.ID(content.Block, data)
	}
	id := c.ids[i]
	same := c.parent != nil && c.parent[i] == id
	if same && !o.damage.isLost(id) {
		return nil
	}
	if !same && (c.parent != nil || !id.IsZero()) {
		c.sizes.Changed += in.bytesOf(c.first+int64(i), 1)
	}
	if id.IsZero() {
		return nil
	}
	stored, err := in.b.store(w.rec, content.Block, id, data)
	c.sizes.Stored += stored
	return err
}

// bytesOf is the length of n blocks from first on, the last one of the disk cut
// at its end.
func (in *ingest) bytesOf(first, n int64) int64 { return min(n*in.bs, in.size-first*in.bs) }

// collect maps chunks in the disk's order.
func (in *ingest) collect(ctx context.Context) error {
	for c := range in.order {
		if c.kind == Data {
			select {
			case <-c.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if c.err != nil {
				return c.err
			}
		}
		if err := in.mapChunk(ctx, c); err != nil {
			return err
		}
		in.progress(in.sizes, c.first*in.bs+in.bytesOf(c.first, c.n))
	}
	return ctx.Err()
}

func (in *ingest) mapChunk(ctx context.Context, c *chunk) error {
	switch c.kind {
	case Same:
		in.sameBlocks = true
		return in.builder.AppendSame(c.n)
	case Zero:
		gone, err := in.parentBytes(ctx, c.first, c.n)
		if err != nil {
			return err
		}
		in.sizes.Changed += gone
		in.parentSeen += gone
		return in.builder.AppendZero(c.n)
	}
	in.sizes.Read += c.sizes.Read
	in.sizes.Changed += c.sizes.Changed
	in.sizes.Stored += c.sizes.Stored
	for i, id := range c.ids {
		if !id.IsZero() {
			in.newlyMapped += in.bytesOf(c.first+int64(i), 1)
			if c.unknown { // the best guess is that it had as much there
				in.parentSeen += in.bytesOf(c.first+int64(i), 1)
			}
		}
		if c.parent != nil && !c.parent[i].IsZero() {
			in.parentSeen += in.bytesOf(c.first+int64(i), 1)
		}
	}
	return in.builder.Append(c.ids)
}

// parentBytes counts what is not zero in a range of the parent.
func (in *ingest) parentBytes(ctx context.Context, first, n int64) (sum int64, err error) {
	if in.parent == nil {
		return 0, nil
	}
	err = in.parent.Visit(ctx, first, n, diskmap.Visitor{
		Blocks: func(at int64, ids []ID) error {
			for i, id := range ids {
				if !id.IsZero() {
					sum += min(in.bs, in.parentDisk.Size-(at+int64(i))*in.bs)
				}
			}
			return nil
		},
		Broken: func(*diskmap.PageError) error { return nil },
	})
	return sum, err
}

// finishSizes computes the protected size: what was mapped anew, and of what was
// taken over all that the parent has except where blocks were read.
func (in *ingest) finishSizes(ctx context.Context) error {
	in.sizes.Protected = in.newlyMapped
	if !in.sameBlocks {
		return nil
	}
	beyond, err := in.parentBytes(ctx, in.b.o.blocksOf(in.size), in.parent.Blocks)
	if err != nil {
		return err
	}
	in.sizes.Protected += in.parentDisk.Sizes.Protected - in.parentSeen - beyond
	return nil
}

// putPage stores a page of the map, unless the parent has it at the same
// place. A parent whose map cannot be read there is not relied on at all: the page is stored anew.
func (in *ingest) putPage(page []byte, level int, index int64) (ID, error) {
	id := in.b.o.keys.ID(content.Page, page)
	var stored int64
	var err error
	if in.parent != nil {
		had, broken := in.parent.Node(level, index)
		switch {
		case broken != nil:
			stored, err = in.b.storeAnew(in.pages, content.Page, id, page)
			in.sizes.Stored += stored
			return id, err
		case had == id && !in.b.o.damage.isLost(id):
			return id, nil
		}
	}
	stored, err = in.b.store(in.pages, content.Page, id, page)
	in.sizes.Stored += stored
	return id, err
}
