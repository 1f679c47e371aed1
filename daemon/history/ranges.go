package history

import (
	"cmp"
	"slices"
	"sync"
)

// maxRanges bounds what is remembered of one disk. More would take longer to compare
// than to read again.
const maxRanges = 1 << 16

// ranges are parts of a disk in bytes, in any order until they are taken. They may be
// added to from several goroutines.
type ranges struct {
	mu   sync.Mutex // guards what follows
	list []part
	lost bool // there were too many
}

type part struct{ off, end int64 }

func (r *ranges) add(off, n int64) {
	if n <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.list) - 1; last >= 0 && off <= r.list[last].end && off >= r.list[last].off {
		r.list[last].end = max(r.list[last].end, off+n)
		return
	}
	if len(r.list) >= 2*maxRanges {
		r.merge()
		r.lost = r.lost || len(r.list) > maxRanges
		if r.lost {
			r.list = r.list[:0]
		}
	}
	r.list = append(r.list, part{off, off + n})
}

// merge sorts, and joins what touches. r.mu is held.
func (r *ranges) merge() {
	slices.SortFunc(r.list, func(a, b part) int { return cmp.Compare(a.off, b.off) })
	kept := r.list[:0]
	for _, p := range r.list {
		if last := len(kept) - 1; last >= 0 && p.off <= kept[last].end {
			kept[last].end = max(kept[last].end, p.end)
			continue
		}
		kept = append(kept, p)
	}
	r.list = kept
}

// take returns what was added, ascending and apart; false: that is not all.
func (r *ranges) take() ([]part, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.merge()
	return slices.Clone(r.list), !r.lost
}
