package diskmap

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Map reads the tree of one disk.
type Map struct {
	Root   content.ID
	Blocks int64
	// Load returns the page of an ID that is not zero, at a level. What it returns is not
	// changed by anyone.
	Load func(id content.ID, level int) (*Page, error)
}

// PageError reports a page that could not be read, and the blocks that nobody
// can find without it.
type PageError struct {
	ID            content.ID
	First, Blocks int64
	Err           error
}

func (e *PageError) Error() string {
	return fmt.Sprintf("page %s, which maps blocks %d to %d: %v", e.ID.Short(), e.First, e.First+e.Blocks-1, e.Err)
}

func (e *PageError) Unwrap() error { return e.Err }

func (m *Map) load(id content.ID, level int, first int64) (*Page, error) {
	p, err := m.Load(id, level)
	if err != nil {
		return nil, &PageError{id, first, min(Span(level), m.Blocks-first), err}
	}
	return p, nil
}

// Node returns the ID at a level of the tree: of a block at level 0, of a page
// above. Index counts the nodes of the level from the left. Outside the tree
// all is zero.
func (m *Map) Node(level int, index int64) (content.ID, error) {
	top := Levels(m.Blocks)
	if level > top || index > (m.Blocks-1)/Span(level) {
		return content.ID{}, nil
	}
	id := m.Root
	for l := top; l > level && !id.IsZero(); l-- {
		under := index >> (fanBits * (l - 1 - level)) // the node's ancestor at level l-1
		p, err := m.load(id, l, under/Fanout*Span(l))
		if err != nil {
			return id, err
		}
		id = p.IDs[under%Fanout]
	}
	return id, nil
}

// Visitor is called by [Map.Visit].
type Visitor struct {
	// Page decides whether the page of id, at level and from block first on,
	// is looked into. May be nil: all are.
	Page func(id content.ID, level int, first int64) (bool, error)
	// Blocks gets the IDs of blocks from first on, one leaf at a time. May be
	// nil.
	Blocks func(first int64, ids []content.ID) error
	// Zero gets ranges that the map has no page or no block for. May be nil.
	Zero func(first, blocks int64) error
	// Broken decides what becomes of a page that cannot be read: nil passes
	// over it. May be nil: the walk ends with the error.
	Broken func(*PageError) error
}

// Visit walks blocks first to first+n-1, in order.
func (m *Map) Visit(ctx context.Context, first, n int64, v Visitor) error {
	w := walk{ctx, m, v, first, min(first+n, m.Blocks)}
	if w.from >= w.to {
		return nil
	}
	return w.node(m.Root, Levels(m.Blocks), 0)
}

type walk struct {
	ctx      context.Context
	m        *Map
	v        Visitor
	from, to int64
}

// node walks what the page of id maps, from block first on.
func (w *walk) node(id content.ID, level int, first int64) error {
	if id.IsZero() {
		return w.zero(first, Span(level))
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.v.Page != nil {
		if look, err := w.v.Page(id, level, first); err != nil || !look {
			return err
		}
	}
	p, err := w.m.load(id, level, first)
	if err != nil {
		if broken, ok := err.(*PageError); ok && w.v.Broken != nil {
			return w.v.Broken(broken)
		}
		return err
	}
	if level == 1 {
		return w.leaf(p, first)
	}
	step := Span(level - 1)
	i := max(0, (w.from-first)/step)
	for at := first + i*step; i < Fanout && at < w.to; i, at = i+1, at+step {
		if err := w.node(p.IDs[i], level-1, at); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) zero(first, n int64) error {
	from, to := max(first, w.from), min(first+n, w.to)
	if w.v.Zero == nil || from >= to {
		return nil
	}
	return w.v.Zero(from, to-from)
}

// leaf hands on the part of a leaf that is asked for, its zero blocks among the
// others.
func (w *walk) leaf(p *Page, first int64) error {
	from, to := max(first, w.from), min(first+Fanout, w.to)
	if w.v.Blocks == nil || from >= to {
		return nil
	}
	return w.v.Blocks(from, p.IDs[from-first:to-first])
}
