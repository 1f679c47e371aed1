package ext

import (
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// pageSize is what one miss reads: 64 inodes of the usual size. A volume whose
// blocks are larger has pages of one block.
const pageSize = 16 << 10

const minPages = 8

// cache keeps metadata blocks, the least recently used page leaving first. Pages
// are never written to, so what it returned stays good when the page has left.
type cache struct {
	dev   io.ReaderAt
	block int64 // size of a block
	per   uint64
	max   int

	mu    sync.Mutex // guards all below; not held while reading
	pages map[uint64]*page
	ring  page // next is the most recently used
}

type page struct {
	number     uint64
	data       []byte
	marks      [pageSize / 1024]atomic.Uint64 // per block, what it was verified as
	next, prev *page
}

func newCache(dev io.ReaderAt, block, memory int64) *cache {
	size := max(pageSize, block)
	c := &cache{dev: dev, block: block, per: uint64(size / block), max: max(minPages, int(memory/size))}
	c.clear()
	return c
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = map[uint64]*page{}
	c.ring.next, c.ring.prev = &c.ring, &c.ring
}

// get returns a block and its mark: whoever verifies the block stores there what
// it was verified as, so that it is done once. The block is not to be written to.
func (c *cache) get(b uint64) ([]byte, *atomic.Uint64, error) {
	n, i := b/c.per, b%c.per
	p := c.find(n)
	if p == nil {
		data := make([]byte, int64(c.per)*c.block)
		if tree.ReadFull(c.dev, data, int64(n*c.per)*c.block) != nil {
			return c.alone(b)
		}
		p = c.add(&page{number: n, data: data})
	}
	from := int64(i) * c.block
	return p.data[from : from+c.block : from+c.block], &p.marks[i], nil
}

// drop forgets the page of a block that has changed.
func (c *cache) drop(b uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pages[b/c.per]; p != nil {
		p.unlink()
		delete(c.pages, p.number)
	}
}

// alone reads one block of a page that cannot be read as a whole: the last of the
// volume, or one with a bad place.
func (c *cache) alone(b uint64) ([]byte, *atomic.Uint64, error) {
	data := make([]byte, c.block)
	err := tree.ReadFull(c.dev, data, int64(b)*c.block)
	return data, new(atomic.Uint64), err
}

func (c *cache) find(n uint64) *page {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pages[n]
	if p != nil && c.ring.next != p {
		p.unlink()
		p.linkAfter(&c.ring)
	}
	return p
}

// add keeps a page unless another reader was quicker.
func (c *cache) add(p *page) *page {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.pages[p.number]; q != nil {
		return q
	}
	if len(c.pages) >= c.max {
		last := c.ring.prev
		last.unlink()
		delete(c.pages, last.number)
	}
	c.pages[p.number] = p
	p.linkAfter(&c.ring)
	return p
}

func (p *page) unlink() { p.prev.next, p.next.prev = p.next, p.prev }

func (p *page) linkAfter(q *page) {
	p.prev, p.next = q, q.next
	q.next.prev, q.next = p, p
}

// block returns a metadata block of the volume.
func (v *volume) block(b uint64) ([]byte, *atomic.Uint64, error) {
	if b >= v.sb.blocks {
		return nil, nil, damagedBlock(b, v.sb.blocks)
	}
	data, mark, err := v.cache.get(b)
	if err != nil {
		return nil, nil, readError(b, v.sb.blockSize, err)
	}
	return data, mark, nil
}

// What a block in the cache was verified as.
const (
	markExtents = iota + 1
	markFolder
	markXattrs
)

// verdict is what a block was found to be: for whom, and for which part of it.
type verdict struct {
	kind      int
	ino       uint32
	low, high uint64
	depth     int
}

// markOf is the verdict as a number that no image can be made to guess.
func (v *volume) markOf(d verdict) uint64 { return maphash.Comparable(v.secret, d) | 1 }
