package xfs

import (
	"fmt"
	"sort"
	"sync/atomic"
)

// extent is a run of blocks of a fork and where it lies.
type extent struct {
	off, n    uint64 // blocks of the fork
	start     uint64 // block of the file system
	unwritten bool   // allocated, but reads as zeros
}

func (e extent) end() uint64 { return e.off + e.n }

// fork maps the blocks of one of the two forks of an inode. It may be used from
// several goroutines.
type fork struct {
	v     *volume
	what  string
	at    int64                    // of the inode
	local []byte                   // the content itself, where it is kept in the inode
	list  []extent                 // all of the map, where it is a list
	root  *mapNode                 // the root of its tree otherwise
	leaf  atomic.Pointer[[]extent] // the leaf that answered last, never empty
}

// data is the fork of a file's content, a directory's entries or a link's target.
func (v *volume) data(i *inode) (*fork, error) {
	area, n := i.b[i.core:], uint64(be.Uint32(i.b[76:]))
	if at := int(i.b[82]) * 8; at > len(area) {
		return nil, i.bad("its attributes begin past its end")
	} else if at > 0 {
		area = area[:at]
	}
	if i.flags2&flag2Large != 0 {
		n = be.Uint64(i.b[24:])
	}
	f := &fork{v: v, what: "content of " + inodeName(i.number), at: i.at}
	if to := v.promise[i.number]; to != nil && to.list != nil {
		f.list = to.list
		return f, nil
	}
	return f, f.fill(area, i.b[5], n)
}

// attributes is the fork of extended attributes, nil where there is none.
func (v *volume) attributes(i *inode) (*fork, error) {
	area, at := i.b[i.core:], int(i.b[82])*8
	if at == 0 {
		return nil, nil
	}
	if at > len(area) {
		return nil, i.bad("its attributes begin past its end")
	}
	n := uint64(be.Uint16(i.b[80:]))
	if i.flags2&flag2Large != 0 {
		n = uint64(be.Uint32(i.b[76:]))
	}
	f := &fork{v: v, what: "attributes of " + inodeName(i.number), at: i.at}
	if i.b[83] == formatExtents && n == 0 {
		return nil, nil
	}
	return f, f.fill(area[at:], i.b[83], n)
}

// fill takes over what the inode holds of a fork.
func (f *fork) fill(area []byte, format byte, n uint64) (err error) {
	switch format {
	case formatLocal:
		f.local = area
	case formatExtents:
		if n > uint64(len(area)/extentSize) {
			return corrupt(f.what, f.at, fmt.Sprintf("%d extents do not fit into the inode", n))
		}
		f.list, err = f.extents(area[:n*extentSize], f.at)
	case formatTree:
		f.root, err = f.mapRoot(area)
	default:
		return corrupt(f.what, f.at, fmt.Sprintf("it is kept in a way that is not known (%d)", format))
	}
	return err
}

const extentSize = 16

// extents decodes a list of extents: ascending, not overlapping, within the volume.
// Bits: unwritten 1, offset 54, start 52, length 21 (xfs_bmbt_rec).
func (f *fork) extents(b []byte, at int64) ([]extent, error) {
	list := make([]extent, 0, len(b)/extentSize)
	for ; len(b) >= extentSize; b = b[extentSize:] {
		high, low := be.Uint64(b), be.Uint64(b[8:])
		e := extent{off: high << 1 >> 10, start: high&0x1ff<<43 | low>>21, n: low & (1<<21 - 1), unwritten: high>>63 != 0}
		if e.n == 0 || len(list) > 0 && list[len(list)-1].end() > e.off {
			return nil, corrupt(f.what, at, fmt.Sprintf("extent %d of its map overlaps another or is empty", len(list)))
		}
		list = append(list, e)
	}
	return list, nil
}

// find returns the extent that holds a block, or the next one after it; false
// where there is none.
func (f *fork) find(block uint64) (extent, bool, error) {
	if f.root == nil {
		e, ok := search(f.list, block)
		return e, ok, nil
	}
	if leaf := f.leaf.Load(); leaf != nil && block >= (*leaf)[0].off {
		if e, ok := search(*leaf, block); ok {
			return e, ok, nil
		}
	}
	return f.descend(f.root, block)
}

func search(list []extent, block uint64) (extent, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].end() > block })
	if i == len(list) {
		return extent{}, false
	}
	return list[i], true
}

// meta returns n bytes of metadata at a block of the fork, which holds no holes.
func (f *fork) meta(block uint64, n int) (piece, error) {
	var all piece
	for {
		e, ok, err := f.find(block)
		if err != nil {
			return piece{}, err
		}
		if !ok || e.off > block || e.unwritten {
			return piece{}, corrupt(f.what, f.at, fmt.Sprintf("its block %d is missing", block))
		}
		run := min(e.end()-block, uint64((n-len(all.b))/f.v.block))
		at, ok := f.v.address(e.start+block-e.off, run)
		if !ok {
			return piece{}, f.outside(e)
		}
		p, err := f.v.meta(at, int(run)*f.v.block)
		if err != nil {
			return piece{}, fmt.Errorf("read %s: %w", f.what, err)
		}
		if all.b == nil && len(p.b) == n {
			return p, nil
		}
		if all.b == nil {
			all.at = at
		}
		all.b, all.replayed = append(all.b, p.b...), all.replayed || p.replayed
		if len(all.b) == n {
			return all, nil
		}
		block += run
	}
}

func (f *fork) outside(e extent) error {
	return corrupt(f.what, f.at, fmt.Sprintf("%d blocks at block %d do not lie in one group of the volume", e.n, e.start))
}
