package far

import (
	"container/list"
	"sync"
)

// piece is the unit of the cache, in bytes.
const piece = 64 << 10

// pieceKey is a piece of a disk.
type pieceKey struct {
	disk  *Disk
	index int64
}

// cache keeps pieces that were used lately.
type cache struct {
	mu   sync.Mutex
	most int
	by   map[pieceKey]*list.Element
	used list.List // of *held, the last used first
}

type held struct {
	key  pieceKey
	data []byte // not changed any more
}

func newCache(bytes int64) *cache {
	return &cache{most: int(max(bytes/piece, 16)), by: map[pieceKey]*list.Element{}}
}

func (c *cache) get(key pieceKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[key]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*held).data
}

func (c *cache) put(key pieceKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[key] != nil {
		return
	}
	for c.used.Len() >= c.most {
		last := c.used.Back()
		c.used.Remove(last)
		delete(c.by, last.Value.(*held).key)
	}
	c.by[key] = c.used.PushFront(&held{key, data})
}
