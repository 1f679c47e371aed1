package btrfs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
)

var le = binary.LittleEndian

// Types of items.
const (
	typeInode      = 1
	typeInodeRef   = 12
	typeInodeExt   = 13 // references of an inode that has too many in one folder
	typeXattr      = 24
	typeLogRange   = 72 // in a log: the part of a folder's index that it tells whole
	typeDirItem    = 84
	typeDirIndex   = 96
	typeExtentData = 108
	typeSums       = 128
	typeRoot       = 132
	typeRootRef    = 156
	typeChunk      = 228
)

// Ids of trees and of objects in them.
const (
	topLevel     = 5
	sumTree      = 7
	firstFree    = 256 // the first id of subvolumes, and the inode of their root folders
	emptyFolder  = 2   // the inode that Linux shows where a nested subvolume is none
	lastFree     = math.MaxUint64 - 255
	logObject    = math.MaxUint64 - 5 // of roots in the log's tree
	sumObject    = math.MaxUint64 - 9
	keySize      = 17
	maxNameBytes = 255
)

// key names an item: trees are sorted by it.
type key struct {
	id   uint64
	kind uint8
	off  uint64
}

var lastKey = key{math.MaxUint64, math.MaxUint8, math.MaxUint64}

// parseKey reads a key from the first 17 bytes of b.
func parseKey(b []byte) key { return key{le.Uint64(b), b[8], le.Uint64(b[9:])} }

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.id, o.id), cmp.Compare(k.kind, o.kind), cmp.Compare(k.off, o.off))
}

// next is the smallest key above k, false for the last one.
func (k key) next() (key, bool) {
	switch {
	case k.off < math.MaxUint64:
		return key{k.id, k.kind, k.off + 1}, true
	case k.kind < math.MaxUint8:
		return key{k.id, k.kind + 1, 0}, true
	case k.id < math.MaxUint64:
		return key{k.id + 1, 0, 0}, true
	}
	return k, false
}

// previous is the largest key below k, false for the first one.
func (k key) previous() (key, bool) {
	switch {
	case k.off > 0:
		return key{k.id, k.kind, k.off - 1}, true
	case k.kind > 0:
		return key{k.id, k.kind - 1, math.MaxUint64}, true
	case k.id > 0:
		return key{k.id - 1, math.MaxUint8, math.MaxUint64}, true
	}
	return k, false
}

func (k key) String() string { return fmt.Sprintf("(%d %d %d)", k.id, k.kind, k.off) }

// item is a key and what stands under it.
type item struct {
	key
	b  []byte // not to be changed
	at uint64 // the logical address of the block that holds it, 0 of one in memory
}
