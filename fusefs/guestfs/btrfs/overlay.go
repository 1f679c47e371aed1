package btrfs

import (
	"iter"
	"slices"
	"sort"
)

// overlay holds items in memory, sorted: those that a log changed. An item whose bytes
// are nil is gone. It is filled while the volume is opened and not changed after.
type overlay struct {
	parts  [][]item // each sorted, none empty, in order
	memory int64    // bytes that it takes
}

const (
	partItems   = 256 // after which a part is split
	overlayCost = 64  // bytes of an item beside its own
)

// part returns the part that k belongs into.
func (o *overlay) part(k key) int {
	return max(sort.Search(len(o.parts), func(i int) bool { return o.parts[i][0].compare(k) > 0 })-1, 0)
}

func within(part []item, k key) (int, bool) {
	return slices.BinarySearchFunc(part, k, func(i item, k key) int { return i.compare(k) })
}

// set puts an item in place of what stood under its key; nil bytes: it is gone.
func (o *overlay) set(k key, b []byte) {
	o.memory += int64(len(b)) + overlayCost
	if len(o.parts) == 0 {
		o.parts = [][]item{{{key: k, b: b}}}
		return
	}
	p := o.part(k)
	i, ok := within(o.parts[p], k)
	if ok {
		o.memory -= int64(len(o.parts[p][i].b)) + overlayCost
		o.parts[p][i].b = b
		return
	}
	o.parts[p] = slices.Insert(o.parts[p], i, item{key: k, b: b})
	if part := o.parts[p]; len(part) > partItems {
		half := slices.Clone(part[partItems/2:])
		o.parts[p] = part[:partItems/2]
		o.parts = slices.Insert(o.parts, p+1, half)
	}
}

// get returns what is kept under a key.
func (o *overlay) get(k key) (item, bool) {
	if o == nil || len(o.parts) == 0 {
		return item{}, false
	}
	part := o.parts[o.part(k)]
	if i, ok := within(part, k); ok {
		return part[i], true
	}
	return item{}, false
}

// from yields the items from a key on, those that are gone included.
func (o *overlay) from(k key) iter.Seq[item] {
	return func(yield func(item) bool) {
		if o == nil || len(o.parts) == 0 {
			return
		}
		p := o.part(k)
		for i, _ := within(o.parts[p], k); p < len(o.parts); p, i = p+1, 0 {
			for ; i < len(o.parts[p]); i++ {
				if !yield(o.parts[p][i]) {
					return
				}
			}
		}
	}
}

// floor returns the last item whose key is at most k, gone or not.
func (o *overlay) floor(k key) (item, bool) {
	if o == nil || len(o.parts) == 0 {
		return item{}, false
	}
	part := o.parts[o.part(k)]
	i, ok := within(part, k)
	if ok {
		return part[i], true
	}
	if i == 0 {
		return item{}, false
	}
	return part[i-1], true
}
