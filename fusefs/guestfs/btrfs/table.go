package btrfs

import "iter"

// table is a tree with what a log changed of it: the items of a subvolume, or of
// another tree.
type table struct {
	v    *volume
	root nodePointer
	over *overlay // nil: nothing was changed
	bare bool     // there is no tree: all lies in over
}

// below is the scan of the tree itself.
func (t *table) below(from, to key) iter.Seq2[item, error] {
	if t.bare {
		return func(func(item, error) bool) {}
	}
	return t.v.scan(t.root, from, to)
}

// beneath is the last item of the tree itself whose key is at most k.
func (t *table) beneath(k key) (item, bool, error) {
	if t.bare {
		return item{}, false, nil
	}
	return t.v.floor(t.root, k)
}

// scan yields the items from one key to another, both included, in order. An error is
// the last that it yields.
func (t *table) scan(from, to key) iter.Seq2[item, error] {
	if t.over == nil {
		return t.below(from, to)
	}
	return func(yield func(item, error) bool) {
		next, stop := iter.Pull(t.over.from(from))
		defer stop()
		changed, more := next()
		upTo := func(k key) bool { // yields what was changed below k
			for more && changed.compare(k) < 0 && changed.compare(to) <= 0 {
				if changed.b != nil && !yield(changed, nil) {
					return false
				}
				changed, more = next()
			}
			return true
		}
		for i, err := range t.below(from, to) {
			if err != nil {
				yield(i, err)
				return
			}
			if !upTo(i.key) {
				return
			}
			if more && changed.key == i.key {
				i = changed
				changed, more = next()
			}
			if i.b != nil && !yield(i, nil) {
				return
			}
		}
		if end, ok := to.next(); upTo(end) && !ok && more && changed.key == to && changed.b != nil {
			yield(changed, nil)
		}
	}
}

// get returns one item; false: there is none.
func (t *table) get(k key) (item, bool, error) {
	if i, ok := t.over.get(k); ok {
		return i, i.b != nil, nil
	}
	i, ok, err := t.beneath(k)
	if err != nil || !ok || i.key != k {
		return item{}, false, err
	}
	return i, true, nil
}

// floor returns the last item whose key is at most k, and not below low.
func (t *table) floor(k, low key) (item, bool, error) {
	i, ok, err := t.beneath(k)
	if err != nil {
		return i, false, err
	}
	for {
		changed, have := t.over.floor(k)
		if !have || ok && changed.compare(i.key) < 0 {
			break
		}
		if changed.b != nil {
			i, ok = changed, true
			break
		}
		if changed.compare(low) <= 0 {
			return item{}, false, nil
		}
		k, _ = changed.key.previous()
		if ok && i.compare(k) > 0 {
			if i, ok, err = t.beneath(k); err != nil {
				return i, false, err
			}
		}
	}
	return i, ok && i.compare(low) >= 0, nil
}
