package blockstore

import (
	"math"
	"runtime/debug"
	"sync"
)

// Memory in bytes that the runtime is asked to stay below while something goes
// on, as far as what is in use allows. Without being asked it lets garbage grow to as
// much again as what is in use, and Badger's compactions of a large index make
// a GiB of it.
const (
	ownerMemory   = 48 << 20 // beside the budget of buffers
	rebuildMemory = 384 << 20
	sweepMemory   = math.MaxInt64 // its marks are in use, not garbage
)

// processMemory is the limit of this process, of which the runtime has one alone.
var processMemory memoryLimit

// memoryLimit is what those wish for that are at work; the largest wish holds.
type memoryLimit struct {
	mu     sync.Mutex
	wishes map[*int64]struct{}
	before int64 // the limit when there were none
}

// apply sets the limit, unless somebody else set one; mu is held.
func (m *memoryLimit) apply() {
	if m.before != math.MaxInt64 {
		return
	}
	limit := int64(0)
	for w := range m.wishes {
		limit = max(limit, *w)
	}
	if len(m.wishes) == 0 {
		limit = m.before
	}
	debug.SetMemoryLimit(limit)
}

// limitMemory holds a limit until the function that it returns is called, once.
// A limit that somebody else set is left as it is.
func limitMemory(bytes int64) (undo func()) { return processMemory.wish(bytes) }

func (m *memoryLimit) wish(bytes int64) (undo func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.wishes) == 0 {
		m.wishes, m.before = map[*int64]struct{}{}, debug.SetMemoryLimit(-1)
	}
	wish := &bytes
	m.wishes[wish] = struct{}{}
	m.apply()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.wishes, wish)
		m.apply()
	}
}
