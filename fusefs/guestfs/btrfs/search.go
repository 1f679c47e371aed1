package btrfs

import "iter"

// bounds are the keys that a block may have: low is its first, all are below high
// unless it is the last of its level.
type bounds struct {
	low, high key
	first     bool // low is not known
	last      bool // high is not known
}

// childOf reads a child and checks it against what its parent says of it, so that no
// block can be met twice in one walk.
func (v *volume) childOf(n *node, i int, in bounds) (*node, bounds, error) {
	b := bounds{low: n.key(i), high: in.high, last: in.last}
	if i+1 < n.n {
		b.high, b.last = n.key(i+1), false
	}
	c, err := v.readNode(n.child(i))
	switch {
	case err != nil:
		return nil, b, err
	case c.n == 0:
		return nil, b, v.badNode(c.nodePointer, "it is empty")
	case c.key(0) != b.low:
		return nil, b, v.badNode(c.nodePointer, "its first key is %v, and its parent says %v", c.key(0), b.low)
	case !b.last && c.key(c.n-1).compare(b.high) >= 0:
		return nil, b, v.badNode(c.nodePointer, "its last key %v reaches into its neighbour's at %v", c.key(c.n-1), b.high)
	}
	return c, b, nil
}

var wholeTree = bounds{first: true, last: true}

// scan yields the items of a tree from one key to another, both included, in order.
// An error is the last that it yields.
func (v *volume) scan(root nodePointer, from, to key) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		n, err := v.readNode(root)
		if err != nil {
			yield(item{}, err)
			return
		}
		v.scanNode(n, wholeTree, from, to, yield)
	}
}

// scanNode is scan below one block; false: enough.
func (v *volume) scanNode(n *node, in bounds, from, to key, yield func(item, error) bool) bool {
	if n.level == 0 {
		for i := n.search(from); i < n.n; i++ {
			if n.key(i).compare(to) > 0 {
				return false
			}
			if !yield(n.item(i), nil) {
				return false
			}
		}
		return true
	}
	for i := max(n.upTo(from), 0); i < n.n && n.key(i).compare(to) <= 0; i++ {
		c, b, err := v.childOf(n, i, in)
		if err != nil {
			yield(item{}, err)
			return false
		}
		if !v.scanNode(c, b, from, to, yield) {
			return false
		}
	}
	return true
}

// floor returns the last item whose key is at most k.
func (v *volume) floor(root nodePointer, k key) (item, bool, error) {
	n, err := v.readNode(root)
	in := wholeTree
	for err == nil {
		i := n.upTo(k)
		if i < 0 {
			return item{}, false, nil
		}
		if n.level == 0 {
			return n.item(i), true, nil
		}
		n, in, err = v.childOf(n, i, in)
	}
	return item{}, false, err
}
