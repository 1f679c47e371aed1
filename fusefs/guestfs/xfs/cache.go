package xfs

import (
	"container/list"
	"sync"
)

// chunkSize is how much is read at once where metadata is asked for: an inode
// cluster of the default size, so that a walk reads each cluster once.
const chunkSize = 16 << 10

// cache keeps the chunks of the volume that metadata was last read from.
type cache struct {
	mu    sync.Mutex // guards what follows; never held while reading
	limit int        // chunks
	used  *list.List // of *chunk, the most recently used first
	byAt  map[int64]*list.Element
}

type chunk struct {
	at int64
	b  []byte // never changed
}

// newCache makes a cache of at most so many bytes, and of at least a few chunks.
func newCache(size int64) *cache {
	return &cache{limit: int(max(size/(chunkSize+256), 8)), used: list.New(), byAt: map[int64]*list.Element{}}
}

func (c *cache) get(at int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byAt[at]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*chunk).b
}

func (c *cache) put(at int64, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAt[at] != nil {
		return
	}
	c.byAt[at] = c.used.PushFront(&chunk{at, b})
	for c.used.Len() > c.limit {
		oldest := c.used.Back()
		delete(c.byAt, oldest.Value.(*chunk).at)
		c.used.Remove(oldest)
	}
}
