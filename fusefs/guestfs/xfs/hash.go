package xfs

import (
	"fmt"
	"math/bits"
	"sort"
)

// Folders with an index and attributes that fill more than a block are trees
// over the hashes of names (xfs_da_btree).
const (
	magicHashNodeV4 = 0xfebe
	magicHashNodeV5 = 0x3ebe
	hashHeaderV4    = 12 // forw, back, magic, pad
	hashHeaderV5    = 56
	maxHashLevels   = 5
	maxHashLeaves   = 1 << 16 // of one name, or of all attributes
)

// hashName is the hash of a name that the trees are ordered by.
func hashName(name string) uint32 {
	var h uint32
	for ; len(name) >= 4; name = name[4:] {
		h = uint32(name[0])<<21 ^ uint32(name[1])<<14 ^ uint32(name[2])<<7 ^ uint32(name[3]) ^ bits.RotateLeft32(h, 28)
	}
	switch len(name) {
	case 3:
		return uint32(name[0])<<14 ^ uint32(name[1])<<7 ^ uint32(name[2]) ^ bits.RotateLeft32(h, 21)
	case 2:
		return uint32(name[0])<<7 ^ uint32(name[1]) ^ bits.RotateLeft32(h, 14)
	case 1:
		return uint32(name[0]) ^ bits.RotateLeft32(h, 7)
	}
	return h
}

// hashBlock is a block of a tree over hashes.
type hashBlock struct {
	piece
	what  string
	magic uint16
	next  uint32 // the leaf after this one, 0: none
	count int    // of its entries
	body  []byte // what follows the part of the header that all kinds share
}

// hashBlock reads a block of such a tree, n bytes at a block of the fork.
func (f *fork) hashBlock(block uint64, n int) (hashBlock, error) {
	p, err := f.meta(block, n)
	if err != nil {
		return hashBlock{}, err
	}
	header := hashHeaderV4
	if f.v.v5 {
		header = hashHeaderV5
	}
	b := hashBlock{piece: p, what: f.what, magic: be.Uint16(p.b[8:]), next: be.Uint32(p.b), body: p.b[header:]}
	b.count = int(be.Uint16(b.body))
	return b, f.v.check(p, stampHash, f.what)
}

// entries are the records of a block of n bytes each, which begin after a header.
func (b hashBlock) entries(header, n int) ([]byte, error) {
	if header+b.count*n > len(b.body) {
		return nil, corrupt(b.what, b.at, fmt.Sprintf("a block of its index has %d entries", b.count))
	}
	return b.body[header : header+b.count*n], nil
}

func (v *volume) isHashNode(b hashBlock) bool {
	return b.magic == magicHashNodeV4 && !v.v5 || b.magic == magicHashNodeV5 && v.v5
}

// hashLeaf goes down a tree from a block of the fork to the first leaf that may
// hold a hash; blocks have n bytes. What kind of leaf it is the caller checks.
// The second result is false where the hash is higher than any in the tree.
func (f *fork) hashLeaf(root uint64, n int, hash uint32) (hashBlock, bool, error) {
	b, err := f.hashBlock(root, n)
	for level := maxHashLevels + 1; err == nil && f.v.isHashNode(b); {
		entries, err := b.entries(f.v.nodeHeader(), 8)
		if err != nil {
			return b, false, err
		}
		if l := int(be.Uint16(b.body[2:])); l < 1 || l >= level || b.count == 0 {
			return b, false, corrupt(f.what, b.at, fmt.Sprintf("a node of its index has level %d and %d entries", l, b.count))
		} else {
			level = l
		}
		i := sort.Search(b.count, func(i int) bool { return be.Uint32(entries[i*8:]) >= hash })
		if i == b.count {
			return b, false, nil
		}
		if b, err = f.hashBlock(uint64(be.Uint32(entries[i*8+4:])), n); err != nil {
			return b, false, err
		}
	}
	return b, err == nil, err
}

// nodeHeader is the length of what a node has of its own before its entries:
// count, level, on version 5 padding.
func (v *volume) nodeHeader() int {
	if v.v5 {
		return 8
	}
	return 4
}

// nextLeaf follows a leaf to its neighbour.
func (f *fork) nextLeaf(b hashBlock, n int, hops *int) (hashBlock, error) {
	if *hops++; *hops > maxHashLeaves {
		return b, corrupt(f.what, b.at, "the leaves of its index do not end")
	}
	next, err := f.hashBlock(uint64(b.next), n)
	if err == nil && next.magic != b.magic {
		err = corrupt(f.what, next.at, "no leaf of its index lies there")
	}
	return next, err
}
