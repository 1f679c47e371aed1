package restore

import (
	"cmp"
	"slices"
	"sync"
)

// rangeSet gathers ranges: ascending, disjoint, neighbours merged. It is safe
// for concurrent use.
type rangeSet struct {
	mu     sync.Mutex
	ranges []Range // guarded by mu
}

func (s *rangeSet) add(r Range) {
	if r.Length <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// lo is the first range that touches or follows r, hi the first beyond it.
	lo, _ := slices.BinarySearchFunc(s.ranges, r.Offset, func(x Range, off int64) int { return cmp.Compare(x.end(), off) })
	hi := lo
	for hi < len(s.ranges) && s.ranges[hi].Offset <= r.end() {
		hi++
	}
	if lo < hi {
		first, last := s.ranges[lo], s.ranges[hi-1]
		end := max(r.end(), last.end())
		if first.Offset <= r.Offset {
			r.Offset, r.Cause = first.Offset, first.Cause
		}
		r.Length = end - r.Offset
	}
	s.ranges = slices.Replace(s.ranges, lo, hi, r)
}

// within calls fn for the parts of the set that lie in [off, end).
func (s *rangeSet) within(off, end int64, fn func(off, end int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.ranges, off+1, func(x Range, off int64) int { return cmp.Compare(x.end(), off) })
	for ; i < len(s.ranges) && s.ranges[i].Offset < end; i++ {
		fn(max(off, s.ranges[i].Offset), min(end, s.ranges[i].end()))
	}
}

func (s *rangeSet) list() []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

// without returns the parts of ranges that are not in the set.
func without(ranges []Range, s *rangeSet) []Range {
	var left []Range
	for _, r := range ranges {
		pos := r.Offset
		keep := func(end int64) {
			if end > pos {
				left = append(left, Range{Offset: pos, Length: end - pos, Cause: r.Cause})
			}
		}
		s.within(r.Offset, r.end(), func(off, end int64) {
			keep(off)
			pos = end
		})
		keep(r.end())
	}
	return left
}
