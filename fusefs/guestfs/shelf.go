package guestfs

import (
	"sync"
	"sync/atomic"
)

// Shelf bounds how many volumes of several guests are open at once: when one more is opened, that which
// was not asked anything for longest is dropped. Safe from several goroutines.
type Shelf struct {
	most  int
	clock atomic.Int64

	mu   sync.Mutex // guards what follows
	open map[*Volume]struct{}
}

// NewShelf makes a shelf for so many open volumes.
func NewShelf(most int) *Shelf { return &Shelf{most: max(1, most), open: map[*Volume]struct{}{}} }

// asked notes that a volume is in use; opened: that it was opened just now.
func (s *Shelf) asked(v *Volume, opened bool) {
	v.asked.Store(s.clock.Add(1))
	if !opened {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[v] = struct{}{}
	tried := map[*Volume]bool{v: true}
	for len(s.open) > s.most {
		var oldest *Volume
		for o := range s.open {
			if !tried[o] && (oldest == nil || o.asked.Load() < oldest.asked.Load()) {
				oldest = o
			}
		}
		if oldest == nil {
			return
		}
		tried[oldest] = true
		if !oldest.mu.TryLock() {
			continue // it is being opened: that may take a while
		}
		oldest.fs = nil
		oldest.mu.Unlock()
		delete(s.open, oldest)
	}
}

// Forget lets go of the volumes of a guest that nobody asks any more.
func (s *Shelf) Forget(g *Guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.open {
		if v.g == g {
			delete(s.open, v)
		}
	}
}

// Open is how many volumes are open, as far as the shelf knows.
func (s *Shelf) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
