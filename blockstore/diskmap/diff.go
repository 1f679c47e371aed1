package diskmap

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Diff calls fn for each range of blocks that a and b map differently, in
// ascending order and as long as they are. Where the trees share a page, it is
// not read.
func Diff(ctx context.Context, a, b *Map, fn func(first, blocks int64) error) error {
	top := max(Levels(a.Blocks), Levels(b.Blocks))
	d := differ{ctx: ctx, a: a, b: b, fn: fn}
	x := subtree{a.Root, top - Levels(a.Blocks)}
	y := subtree{b.Root, top - Levels(b.Blocks)}
	if err := d.walk(x, y, top, 0); err != nil {
		return err
	}
	return d.flush()
}

// subtree is a node; above the root of the lower tree lie pages that do not
// exist, whose first place leads on to it.
type subtree struct {
	id    content.ID
	above int // how many such pages lie above the root; 0 in the tree
}

func (s subtree) isZero() bool { return s.id.IsZero() }

type differ struct {
	ctx      context.Context
	a, b     *Map
	fn       func(first, blocks int64) error
	from, to int64 // the range found last, not yet handed on
}

func (d *differ) walk(x, y subtree, level int, first int64) error {
	if x == y || x.isZero() && y.isZero() {
		return nil
	}
	if level == 0 {
		return d.found(first)
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	xs, err := children(d.a, x, level, first)
	if err != nil {
		return err
	}
	ys, err := children(d.b, y, level, first)
	if err != nil {
		return err
	}
	for i := range Fanout {
		if err := d.walk(child(xs, x, i), child(ys, y, i), level-1, first+int64(i)*Span(level-1)); err != nil {
			return err
		}
	}
	return nil
}

// children returns the page of a subtree, or nil where it is all zero or lies
// above the root.
func children(m *Map, s subtree, level int, first int64) (*Page, error) {
	if s.above > 0 || s.isZero() {
		return nil, nil
	}
	return m.load(s.id, level, first)
}

func child(p *Page, s subtree, i int) subtree {
	switch {
	case s.above > 0 && i == 0:
		return subtree{s.id, s.above - 1}
	case p == nil:
		return subtree{}
	}
	return subtree{id: p.IDs[i]}
}

func (d *differ) found(block int64) error {
	if block == d.to && d.to > d.from {
		d.to++
		return nil
	}
	if err := d.flush(); err != nil {
		return err
	}
	d.from, d.to = block, block+1
	return nil
}

func (d *differ) flush() error {
	if d.from == d.to {
		return nil
	}
	return d.fn(d.from, d.to-d.from)
}
