package btrfs

import (
	"bytes"
	"fmt"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	pointerSize = 33 // of a child: key, address, generation
	headSize    = 25 // of an item: key, offset, length
)

// nodePointer is what is known of a block of a tree before it is read.
type nodePointer struct {
	at         uint64 // logical
	generation uint64
	level      int
}

// node is a block of a tree whose structure was checked. Nothing of it changes.
type node struct {
	nodePointer
	n int
	b []byte // behind the header: children or items
}

// readNode returns a block of a tree, from the cache where it is there.
func (v *volume) readNode(p nodePointer) (*node, error) {
	if n, ok := v.nodes.Get(p.at); ok {
		if n.nodePointer != p {
			return nil, v.badNode(p, "it is of generation %d and level %d, and %d and %d are wanted", n.generation, n.level, p.generation, p.level)
		}
		return n, nil
	}
	b := make([]byte, v.node)
	var n *node
	err := v.anyCopy(b, p.at, func() (err error) {
		n, err = v.parseNode(b, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	v.nodes.Put(p.at, n, int64(len(b)))
	return n, nil
}

func (v *volume) badNode(p nodePointer, format string, args ...any) error {
	return &tree.CorruptError{What: fmt.Sprintf("the tree block at logical address %d", p.at), Why: fmt.Sprintf(format, args...), At: v.locate(p.at)}
}

// parseNode checks a block. Layout: btrfs_header, then btrfs_key_ptr or btrfs_item.
func (v *volume) parseNode(b []byte, p nodePointer) (*node, error) {
	n := &node{nodePointer: nodePointer{le.Uint64(b[48:]), le.Uint64(b[80:]), int(b[100])}, n: int(min(le.Uint32(b[96:]), 1<<20)), b: b[nodeHeader:]}
	size := pointerSize
	if n.level == 0 {
		size = headSize
	}
	switch {
	case !v.sum.blockHolds(b):
		return nil, v.badNode(p, "its checksum (%s) is wrong", sums[v.sum].name)
	case n.at != p.at:
		return nil, v.badNode(p, "it says that it belongs at %d", n.at)
	case !bytes.Equal(b[32:48], v.metaUUID[:]):
		return nil, v.badNode(p, "it belongs to another file system, %s", uuidText([16]byte(b[32:48])))
	case n.nodePointer != p:
		return nil, v.badNode(p, "it is of generation %d and level %d, and %d and %d are wanted", n.generation, n.level, p.generation, p.level)
	case n.n*size > len(n.b) || n.n == 0 && n.level > 0:
		return nil, v.badNode(p, "it has %d entries", n.n)
	}
	for i := range n.n {
		if i > 0 && n.key(i-1).compare(n.key(i)) >= 0 {
			return nil, v.badNode(p, "its keys %v and %v are not in order", n.key(i-1), n.key(i))
		}
		if n.level == 0 {
			if off, size := n.place(i); off < n.n*headSize || off+size > len(n.b) {
				return nil, v.badNode(p, "item %v lies at %d with %d bytes", n.key(i), off, size)
			}
		}
	}
	return n, nil
}

// place is where the bytes of an item lie.
func (n *node) place(i int) (off, size int) {
	p := n.b[i*headSize+keySize:]
	return int(le.Uint32(p)), int(le.Uint32(p[4:]))
}

func (n *node) entry() int {
	if n.level == 0 {
		return headSize
	}
	return pointerSize
}

func (n *node) key(i int) key { return parseKey(n.b[i*n.entry():]) }

// item is an entry of a leaf, child one of another block.
func (n *node) item(i int) item {
	off, size := n.place(i)
	return item{n.key(i), n.b[off : off+size : off+size], n.at}
}

func (n *node) child(i int) nodePointer {
	p := n.b[i*pointerSize+keySize:]
	return nodePointer{le.Uint64(p), le.Uint64(p[8:]), n.level - 1}
}

// search returns the first entry whose key is at least k.
func (n *node) search(k key) int {
	return sort.Search(n.n, func(i int) bool { return n.key(i).compare(k) >= 0 })
}

// upTo returns the last entry whose key is at most k, -1 if there is none.
func (n *node) upTo(k key) int {
	i := n.search(k)
	if i < n.n && n.key(i) == k {
		return i
	}
	return i - 1
}
