package diskmap

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Builder writes the tree of a disk, from its first block to its last. It
// belongs to one goroutine.
type Builder struct {
	blocks int64
	parent *Map // nil: none
	put    func(page []byte, level int, index int64) (content.ID, error)

	next int64  // the next block
	open []Page // index: level-1; the page of each level that is being filled
	root content.ID
	buf  []byte
}

// NewBuilder begins the tree of a disk of so many blocks. Parent, which may be
// nil, is the map that [Builder.AppendSame] takes from. Put stores a page,
// whose place among the pages of its level is index, and names it; page is valid only during the call.
func NewBuilder(blocks int64, parent *Map, put func(page []byte, level int, index int64) (content.ID, error)) *Builder {
	b := &Builder{blocks: blocks, parent: parent, put: put, open: make([]Page, Levels(blocks))}
	for i := range b.open {
		b.open[i].Level = uint8(i + 1)
	}
	return b
}

// Append maps the next blocks.
func (b *Builder) Append(ids []content.ID) error {
	if b.next+int64(len(ids)) > b.blocks {
		return b.tooMany(int64(len(ids)))
	}
	for _, id := range ids {
		if err := b.place(1, id); err != nil {
			return err
		}
	}
	return nil
}

// AppendZero maps the next n blocks to zeros.
func (b *Builder) AppendZero(n int64) error {
	return b.run(n, true, func(int, int64) (content.ID, error) { return content.ID{}, nil })
}

// AppendSame maps the next n blocks to what the parent maps them to.
func (b *Builder) AppendSame(n int64) error {
	if b.parent == nil || b.next+n > b.parent.Blocks {
		return fmt.Errorf("blocks %d to %d cannot be those of the parent, which has not so many", b.next, b.next+n-1)
	}
	return b.run(n, b.parent.Blocks == b.blocks, b.parent.Node)
}

// run maps the next n blocks to nodes of another tree, by the largest whole
// subtrees. The last subtree of a disk is cut short by its end, and is the
// other tree's only if both end there.
func (b *Builder) run(n int64, sameEnd bool, node func(level int, index int64) (content.ID, error)) error {
	if b.next+n > b.blocks {
		return b.tooMany(n)
	}
	for end := b.next + n; b.next < end; {
		level := 0
		for level+1 < len(b.open) && b.next%Span(level+1) == 0 &&
			(b.next+Span(level+1) <= end || end == b.blocks && sameEnd) {
			level++
		}
		id, err := node(level, b.next/Span(level))
		if err != nil {
			return err
		}
		if err := b.place(level+1, id); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) tooMany(n int64) error {
	return fmt.Errorf("blocks %d to %d of a disk of %d", b.next, b.next+n-1, b.blocks)
}

// place puts a node into the open page of a level, and closes each page that
// is full, or the last one, upwards.
func (b *Builder) place(level int, id content.ID) error {
	at := b.next / Span(level-1)
	b.next = min(b.next+Span(level-1), b.blocks)
	for ; ; level++ {
		p := &b.open[level-1]
		p.IDs[at%Fanout] = id
		if at%Fanout != Fanout-1 && b.next != b.blocks {
			return nil
		}
		at /= Fanout
		var err error
		if id, err = b.close(p, at); err != nil {
			return err
		}
		if level == len(b.open) {
			b.root = id
			return nil
		}
	}
}

// close stores the open page of a level, the index-th there, and empties it.
func (b *Builder) close(p *Page, index int64) (content.ID, error) {
	if p.isZero() {
		return content.ID{}, nil
	}
	b.buf = p.Encode(b.buf[:0])
	id, err := b.put(b.buf, int(p.Level), index)
	clear(p.IDs[:])
	return id, err
}

// Finish returns the tree's root once all blocks are mapped.
func (b *Builder) Finish() (content.ID, error) {
	if b.next != b.blocks {
		return content.ID{}, fmt.Errorf("%d of %d blocks are mapped", b.next, b.blocks)
	}
	return b.root, nil
}
