package xfs

import (
	"fmt"
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// A directory's blocks lie in three parts of its own addresses, 32 GiB each:
// entries, the index by hash, and the list of free space.
const dirIndexAt = 32 << 30

const (
	magicDirBlockV4 = 0x58443242 // "XD2B": entries and index in one block
	magicDirBlockV5 = 0x58444233 // "XDB3"
	magicDirDataV4  = 0x58443244 // "XD2D": entries alone
	magicDirDataV5  = 0x58444433 // "XDD3"

	dirHeaderV4 = 16
	dirHeaderV5 = 64

	dirUnused = 0xffff // in place of the first two bytes of an entry
	dirAlign  = 8

	maxBadBlocks = 1000 // of a folder, after which no more of it is read
)

// entryTypes are the types that directories hold, by their number.
var entryTypes = [...]uint32{0, typeRegular, typeDir, typeChar, typeBlock, typeFIFO, typeSocket, typeLink, typeChar}

// directory is a folder that is being read.
type directory struct {
	*fork
	v   *volume
	ino *inode
}

func (v *volume) directory(ino uint64) (*directory, error) {
	i, err := v.inode(ino)
	if err != nil {
		return nil, err
	}
	if !i.is(typeDir) {
		return nil, &tree.UnsupportedError{What: inodeName(ino), Why: "it is not a folder"}
	}
	f, err := v.data(i)
	if err != nil {
		return nil, err
	}
	f.what = "folder " + inodeName(ino)
	return &directory{f, v, i}, nil
}

// ReadDir implements tree.FileSystem. A damaged block of a folder does not hide
// those after it: what went wrong first is told at the end.
func (v *volume) ReadDir(ino uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		d, err := v.directory(ino)
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		give := func(e dirEntry) bool {
			if e.name == "." || e.name == ".." {
				if d.local == nil {
					return true
				}
			} else if e.name != "" && !strings.ContainsAny(e.name, "/\x00") {
				return yield(e.entry(), nil)
			}
			return yield(e.entry(), corrupt(d.what, d.at, fmt.Sprintf("it has an entry with the name %q, which none can have", e.name)))
		}
		var first error
		if d.local != nil {
			_, first = d.short(give)
		} else {
			first = d.blocks(give)
		}
		if first != nil && first != errEnough {
			yield(tree.Entry{}, first)
		}
	}
}

// dirEntry is an entry as it lies in a folder.
type dirEntry struct {
	name string
	ino  uint64
	kind byte
}

func (e dirEntry) entry() tree.Entry {
	out := tree.Entry{Name: e.name, Ino: e.ino}
	if int(e.kind) < len(entryTypes) {
		out.Type = entryTypes[e.kind]
	}
	return out
}

// errEnough says that whoever asked for entries wants no more.
var errEnough = fmt.Errorf("no more entries are wanted")

// blocks gives the entries of a folder that is kept in blocks, in order.
func (d *directory) blocks(give func(dirEntry) bool) error {
	var first error
	bad := 0
	unit := uint64(d.v.dirBlock / d.v.block)
	most := uint64(d.v.size/int64(d.v.block)) + unit
	limit := min(dirIndexAt, uint64(d.ino.size)) / uint64(d.v.block)
	seen := uint64(0)
	for at := uint64(0); at < limit; at += unit {
		e, ok, err := d.find(at)
		if err != nil {
			if first == nil {
				first = err
			}
			break
		}
		if !ok || e.off >= limit {
			break
		}
		at = max(at, e.off/unit*unit)
		if seen += unit; seen > most {
			return corrupt(d.what, d.at, "it has more blocks than the volume")
		}
		b, err := d.block(at)
		if err == nil {
			err = b.each(give)
		}
		if err == errEnough {
			return err
		}
		if err != nil && first == nil {
			first = err
		}
		if err != nil {
			if bad++; bad == maxBadBlocks {
				break
			}
		}
	}
	return first
}

// dirBlock is a block of entries, its header and index left out.
type dirBlock struct {
	d     *directory
	p     piece
	index []byte // of a folder of one block: its entries by hash, else nil
	from  int    // where entries begin and end
	to    int
}

// block reads a block of entries (xfs_dir2_data_hdr, xfs_dir3_data_hdr).
func (d *directory) block(at uint64) (dirBlock, error) {
	p, err := d.meta(at, d.v.dirBlock)
	if err != nil {
		return dirBlock{}, err
	}
	b := dirBlock{d: d, p: p, from: dirHeaderV4, to: len(p.b)}
	magic := be.Uint32(p.b)
	switch {
	case d.v.v5 && (magic == magicDirBlockV5 || magic == magicDirDataV5):
		b.from = dirHeaderV5
		if err := d.v.check(p, stampDir, d.what); err != nil {
			return dirBlock{}, err
		}
	case !d.v.v5 && (magic == magicDirBlockV4 || magic == magicDirDataV4):
	default:
		return dirBlock{}, corrupt(d.what, p.at, "no block of a folder lies there")
	}
	if magic == magicDirBlockV4 || magic == magicDirBlockV5 {
		n := int64(be.Uint32(p.b[len(p.b)-8:]))
		start := int64(len(p.b)) - 8 - n*8
		if start < int64(b.from) {
			return dirBlock{}, corrupt(d.what, p.at, fmt.Sprintf("its index has %d entries", n))
		}
		b.index, b.to = p.b[start:len(p.b)-8], int(start)
	}
	return b, nil
}

// each gives the entries of a block in order.
func (b dirBlock) each(give func(dirEntry) bool) error {
	for at := b.from; at < b.to; {
		if at+dirAlign <= b.to && be.Uint16(b.p.b[at:]) == dirUnused {
			n := int(be.Uint16(b.p.b[at+2:]))
			if n < dirAlign || n%dirAlign != 0 {
				return corrupt(b.d.what, b.p.at, fmt.Sprintf("the free space at %d of a block of it is %d bytes", at, n))
			}
			at += n
			continue
		}
		e, n, err := b.entry(at)
		if err != nil {
			return err
		}
		if at += n; e.name == "." || e.name == ".." {
			continue
		}
		if !give(e) {
			return errEnough
		}
	}
	return nil
}

// entry decodes the entry at an offset of the block (xfs_dir2_data_entry): inode
// number, length of the name, name, type where the file system has it, offset.
func (b dirBlock) entry(at int) (e dirEntry, size int, err error) {
	types := 0
	if b.d.v.fileTypes {
		types = 1
	}
	if at >= b.from && at+12 <= b.to {
		n := int(b.p.b[at+8])
		size = (9 + n + types + 2 + dirAlign - 1) &^ (dirAlign - 1)
		if n > 0 && at+size <= b.to {
			e = dirEntry{name: string(b.p.b[at+9 : at+9+n]), ino: be.Uint64(b.p.b[at:])}
			if types > 0 {
				e.kind = b.p.b[at+9+n]
			}
			return e, size, nil
		}
	}
	return e, 0, corrupt(b.d.what, b.p.at, fmt.Sprintf("the entry at %d of a block of it does not fit", at))
}

// short gives the entries of a folder that is kept in its inode
// (xfs_dir2_sf_hdr): their count, how many inode numbers need eight bytes, the
// parent, then for each length, offset, name, type, inode number.
func (d *directory) short(give func(dirEntry) bool) (parent uint64, err error) {
	b, wide, types := d.local, 4, 0
	bad := func() (uint64, error) { return 0, corrupt(d.what, d.at, "its entries do not fit into the inode") }
	if d.v.fileTypes {
		types = 1
	}
	if len(b) < 2 {
		return bad()
	}
	count := int(b[0])
	if b[1] != 0 {
		wide = 8
	}
	number := func(b []byte) uint64 {
		if wide == 8 {
			return be.Uint64(b)
		}
		return uint64(be.Uint32(b))
	}
	if len(b) < 2+wide {
		return bad()
	}
	parent, b = number(b[2:]), b[2+wide:]
	for ; count > 0; count-- {
		if len(b) < 3 {
			return bad()
		}
		n := int(b[0])
		size := 3 + n + types + wide
		if n == 0 || len(b) < size {
			return bad()
		}
		e := dirEntry{name: string(b[3 : 3+n]), ino: number(b[3+n+types:])}
		if types > 0 {
			e.kind = b[3+n]
		}
		if !give(e) {
			return parent, errEnough
		}
		b = b[size:]
	}
	return parent, nil
}
