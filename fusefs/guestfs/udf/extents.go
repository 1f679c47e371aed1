package udf

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Forms of the extents of an entry: ECMA-167 4/14.6.8.
const (
	formShort  = 0 // 8 bytes, in the partition of the entry
	formLong   = 1 // 16 bytes
	formInline = 3 // the content itself
)

// Kinds of an extent, the upper two bits of its length: ECMA-167 4/14.14.1.1.
const (
	extentRecorded = 0
	extentMore     = 3 // further extents lie there; 1 and 2 are holes
)

const (
	runCost     = 32 // bytes of memory
	extentsHead = 24 // of a block of further extents
	maxBlocksOf = 1 << 20
)

// run is an extent at its place in a file.
type run struct {
	off, length int64
	hole        bool
	ref         uint16
	block       uint32
}

// runs reads the extents of a file up to its size, through all blocks that hold some.
// What lies behind the size (reserved by the guest) is left out.
func (v *volume) runs(e *entry) ([]run, error) {
	what := fmt.Sprintf("the list of extents of file entry %d", inoOf(e.ref, e.block))
	width := 8
	if e.flags&flagsForm == formLong {
		width = 16
	}
	var all []run
	seen := map[uint64]bool{}
	b, off, limit := e.extents, int64(0), v.memory/8/runCost
	for off < e.size && len(b) >= width {
		x := longForm(b[:width], e.ref)
		b = b[width:]
		kind, length := x.length>>30, int64(x.length&(1<<30-1))
		if length == 0 {
			break
		}
		if kind == extentMore {
			id := inoOf(x.ref, x.block)
			if seen[id] || len(seen) == maxBlocksOf {
				return nil, corrupt(what, e.at, "it goes in circles")
			}
			seen[id] = true
			more, at, err := v.readBlock(x.ref, x.block)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
			n := int64(le.Uint32(more[20:]))
			if bad := checkTag(more, tagExtents, x.block); bad != nil || n > int64(len(more))-extentsHead {
				return nil, corrupt(what, at, "a block of it holds %d bytes: %v", n, bad)
			}
			b = more[extentsHead : extentsHead+n]
			continue
		}
		switch {
		case int64(len(all)) >= limit:
			return nil, &tree.UnsupportedError{What: what, Why: fmt.Sprintf("it has more than %d", limit)}
		case off%v.block != 0:
			return nil, corrupt(what, e.at, "an extent that is not the last ends within a block")
		}
		all = append(all, run{off, min(length, e.size-off), kind != extentRecorded, x.ref, x.block})
		off += length
	}
	return all, nil
}

// longForm reads an extent of either width.
func longForm(b []byte, ref uint16) long {
	if len(b) == 8 {
		return long{le.Uint32(b), le.Uint32(b[4:]), ref}
	}
	return longOf(b)
}
