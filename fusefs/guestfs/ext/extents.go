package ext

import "fmt"

const (
	extentMagic    = 0xF30A
	extentHeader   = 12
	extentEntry    = 12
	maxExtentDepth = 5
	maxWritten     = 32768 // a longer extent is allocated and not written
)

// extentRoot is where a node of the tree stands: what blocks of the file it may
// speak of, and how far it is from the leaves (any at the root). Nodes that keep
// to their range cannot be shared, so no walk is longer than the tree.
type extentRoot struct {
	low, high uint64
	inner     bool
	depth     int
	block     uint64
}

type extentNode struct {
	b     []byte
	count int
	depth int
}

func openNode(b []byte) extentNode {
	n := extentNode{b: b, count: int(le.Uint16(b[2:])), depth: int(le.Uint16(b[6:]))}
	n.count = min(n.count, (len(b)-extentHeader)/extentEntry)
	return n
}

func (n extentNode) entry(i int) []byte { return n.b[extentHeader+i*extentEntry:][:extentEntry] }

func (n extentNode) first(i int) uint64 { return uint64(le.Uint32(n.entry(i))) }

// find returns the last entry that begins at or before a block, -1 if none does.
func (n extentNode) find(logical uint64) int {
	low, high := 0, n.count
	for low < high {
		mid := (low + high) / 2
		if n.first(mid) <= logical {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

func (n extentNode) child(i int) uint64 {
	e := n.entry(i)
	return uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
}

func (n extentNode) run(i int) run {
	e := n.entry(i)
	r := run{logical: n.first(i), count: uint64(le.Uint16(e[4:])), data: true}
	r.physical = uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32
	if r.count > maxWritten {
		r.count -= maxWritten
		r.data = false
	}
	return r
}

// extentAt walks down the tree to the run that holds a block.
func (v *volume) extentAt(m *mapping, logical uint64) (run, error) {
	n := openNode(m.words[:])
	at := extentRoot{high: maxFileBlocks}
	for {
		i := n.find(logical)
		if i+1 < n.count {
			at.high = min(at.high, n.first(i+1))
		}
		if i < 0 {
			return run{logical: logical, count: at.high - logical}, nil
		}
		if n.depth == 0 {
			return n.leaf(i, logical, at.high), nil
		}
		at = extentRoot{low: n.first(i), high: at.high, inner: true, depth: n.depth - 1, block: n.child(i)}
		var err error
		if n, err = v.extentChild(m, at); err != nil {
			return run{}, err
		}
	}
}

// leaf cuts an extent, or the hole behind it, to what begins with a block and ends
// before the next one.
func (n extentNode) leaf(i int, logical, high uint64) run {
	r := n.run(i)
	if r.end() <= logical {
		return run{logical: logical, count: high - logical}
	}
	r = r.from(logical)
	r.count = min(r.count, high-logical)
	return r
}

// extentChild reads a node, and verifies it when it is new in the cache.
func (v *volume) extentChild(m *mapping, at extentRoot) (extentNode, error) {
	b, mark, err := v.block(at.block)
	if err != nil {
		return extentNode{}, fmt.Errorf("extent tree of inode %d: %w", m.ino, err)
	}
	verified := v.markOf(verdict{markExtents, m.ino, at.low, at.high, at.depth})
	if mark.Load() != verified {
		if err := v.checkExtents(m, b, at); err != nil {
			return extentNode{}, err
		}
		mark.Store(verified)
	}
	n := openNode(b)
	n.depth = at.depth
	return n, nil
}

// checkExtents verifies a node: checksum, depth, order, and that it keeps to the
// range and the volume.
func (v *volume) checkExtents(m *mapping, b []byte, at extentRoot) error {
	bad := func(format string, args ...any) error {
		what := fmt.Sprintf("the extent tree of inode %d", m.ino)
		if !at.inner {
			return damagedInode(m.ino, "its extent tree: "+format, args...)
		}
		return v.damagedAt(at.block, what, format, args...)
	}
	limit := int(le.Uint16(b[4:]))
	switch count := int(le.Uint16(b[2:])); {
	case le.Uint16(b) != extentMagic:
		return bad("no magic number")
	case limit > (len(b)-extentHeader)/extentEntry || count > limit:
		return bad("%d entries of %d", count, limit)
	case le.Uint16(b[6:]) > maxExtentDepth || at.inner && int(le.Uint16(b[6:])) != at.depth:
		return bad("a depth of %d", le.Uint16(b[6:]))
	}
	if tail := extentHeader + limit*extentEntry; at.inner && v.sb.hasCsum() && tail+4 <= len(b) {
		if got, want := crc32c(m.seed, b[:tail]), le.Uint32(b[tail:]); got != want {
			return bad("its checksum is %08x, not %08x", want, got)
		}
	}
	n := openNode(b)
	from := at.low
	for i := range n.count {
		if n.first(i) < from || n.first(i) >= at.high {
			return bad("entry %d begins at block %d, out of order", i, n.first(i))
		}
		if n.depth > 0 {
			from = n.first(i) + 1
			continue
		}
		r := n.run(i)
		if r.count == 0 || r.end() > at.high || r.physical >= v.sb.blocks || r.count > v.sb.blocks-r.physical {
			return bad("entry %d has %d blocks at %d of the file and %d of the volume", i, r.count, r.logical, r.physical)
		}
		from = r.end()
	}
	return nil
}
