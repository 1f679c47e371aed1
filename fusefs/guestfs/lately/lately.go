// Package lately keeps what a reader of a file system read lately, within a
// budget of bytes: what was used least lately goes first.
package lately

import (
	"container/list"
	"sync"
)

// Cache maps keys to values that are not changed any more. It may be used from
// several goroutines.
type Cache[K comparable, V any] struct {
	mu     sync.Mutex
	budget int64
	used   int64      // the sum of the costs of all in order
	order  *list.List // of *entry[K, V], the one used last in front
	items  map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

// overhead is what an entry takes beside its value: the list's element, the
// map's slot, the entry itself.
const overhead = 200

// New returns an empty cache that keeps at most budget bytes.
func New[K comparable, V any](budget int64) *Cache[K, V] {
	return &Cache[K, V]{budget: budget, order: list.New(), items: map[K]*list.Element{}}
}

// Get returns what is kept under a key.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put keeps a value of so many bytes, in place of what the key had. One that is
// larger than the whole budget is not kept.
func (c *Cache[K, V]) Put(key K, value V, cost int64) {
	cost += overhead
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.drop(e)
	}
	if cost > c.budget {
		return
	}
	for c.used+cost > c.budget {
		c.drop(c.order.Back())
	}
	c.items[key] = c.order.PushFront(&entry[K, V]{key, value, cost})
	c.used += cost
}

func (c *Cache[K, V]) drop(e *list.Element) {
	gone := c.order.Remove(e).(*entry[K, V])
	delete(c.items, gone.key)
	c.used -= gone.cost
}
