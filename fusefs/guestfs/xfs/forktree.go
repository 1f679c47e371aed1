package xfs

import (
	"fmt"
	"sort"
)

const (
	magicMapV4   = 0x424d4150 // "BMAP"
	magicMapV5   = 0x424d4133 // "BMA3"
	mapHeaderV4  = 24
	mapHeaderV5  = 72
	maxMapLevels = 9
	noSibling    = ^uint64(0)
)

// mapNode is an inner node of the tree of a fork's map: child i holds the
// extents from keys[i] on.
type mapNode struct {
	level    int // above the leaves, at least 1
	keys     []uint64
	children []uint64
}

// mapRoot decodes the root that lies in the inode (xfs_bmdr_block): level, number
// of records, then room for as many keys as fit, then the pointers.
func (f *fork) mapRoot(area []byte) (*mapNode, error) {
	if len(area) < 4 {
		return nil, corrupt(f.what, f.at, "its tree has no room for a root")
	}
	return f.mapNode(area[4:], int(be.Uint16(area)), int(be.Uint16(area[2:])), f.at)
}

func (f *fork) mapNode(b []byte, level, n int, at int64) (*mapNode, error) {
	room := len(b) / 16
	if level < 1 || level > maxMapLevels || n < 1 || n > room {
		return nil, corrupt(f.what, at, fmt.Sprintf("a node of its tree has level %d and %d records", level, n))
	}
	node := &mapNode{level: level, keys: make([]uint64, n), children: make([]uint64, n)}
	for i := range n {
		node.keys[i], node.children[i] = be.Uint64(b[i*8:]), be.Uint64(b[room*8+i*8:])
		if i > 0 && node.keys[i] <= node.keys[i-1] {
			return nil, corrupt(f.what, at, "the keys of a node of its tree do not ascend")
		}
	}
	return node, nil
}

// descend finds the extent that holds a block, or the next one, below a node. It
// goes down one way, and one step beside it where the block lies behind the last
// extent of that way.
func (f *fork) descend(n *mapNode, block uint64) (extent, bool, error) {
	i := max(sort.Search(len(n.keys), func(i int) bool { return n.keys[i] > block })-1, 0)
	for last := min(i+2, len(n.keys)); i < last; i++ {
		e, ok, err := f.below(n, i, block)
		if ok || err != nil {
			return e, ok, err
		}
	}
	return extent{}, false, nil
}

// below looks into one child of a node. That its extents lie between the keys
// beside it makes each search a step forward, whatever the pointers say.
func (f *fork) below(n *mapNode, i int, block uint64) (extent, bool, error) {
	at, ok := f.v.address(n.children[i], 1)
	if !ok {
		return extent{}, false, corrupt(f.what, f.at, fmt.Sprintf("its tree points to block %d, outside of the volume", n.children[i]))
	}
	level, records, body, err := f.mapBlock(at)
	if err != nil {
		return extent{}, false, err
	}
	bad := func(why string) (extent, bool, error) { return extent{}, false, corrupt(f.what, at, why) }
	if level != n.level-1 {
		return bad(fmt.Sprintf("a block of its tree has level %d in place of %d", level, n.level-1))
	}
	low, high := n.keys[i], ^uint64(0)
	if i+1 < len(n.keys) {
		high = n.keys[i+1]
	}
	if level > 0 {
		child, err := f.mapNode(body, level, records, at)
		if err != nil {
			return extent{}, false, err
		}
		if child.keys[0] < low || child.keys[len(child.keys)-1] >= high {
			return bad("the keys of its tree contradict each other")
		}
		return f.descend(child, block)
	}
	if records < 1 || records > len(body)/extentSize {
		return bad(fmt.Sprintf("a leaf of its tree has %d records", records))
	}
	list, err := f.extents(body[:records*extentSize], at)
	if err != nil {
		return extent{}, false, err
	}
	if list[0].off < low || list[len(list)-1].end() > high {
		return bad("a leaf of its tree reaches past its keys")
	}
	f.leaf.Store(&list)
	e, ok := search(list, block)
	return e, ok, nil
}

// mapBlock reads a block of the tree and checks what it says of itself. Layout:
// xfs_btree_block with long pointers.
func (f *fork) mapBlock(at int64) (level, records int, body []byte, err error) {
	p, err := f.v.meta(at, f.v.block)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("read the tree of %s: %w", f.what, err)
	}
	magic, header := uint32(magicMapV4), mapHeaderV4
	if f.v.v5 {
		magic, header = magicMapV5, mapHeaderV5
	}
	if be.Uint32(p.b) != magic {
		return 0, 0, nil, corrupt(f.what, at, "no block of its tree lies there")
	}
	if err := f.v.check(p, stampMap, f.what); err != nil {
		return 0, 0, nil, err
	}
	return int(be.Uint16(p.b[4:])), int(be.Uint16(p.b[6:])), p.b[header:], nil
}
