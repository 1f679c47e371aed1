package udf

import (
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// virtual is the partition of write-once media: what is rewritten gets a new place, and
// a table at the end of the disc says where each block is now (UDF 2.60 2.2.11, and 1.50
// for the older form).
type virtual struct {
	on    partition
	table []byte // of places in on, 4 bytes each
}

const (
	virtualSearch = 4 << 20    // bytes at the end of the volume in which the table is looked for
	noBlock       = 0xFFFFFFFF // of an entry that is not used
	oldTableEnd   = 36         // bytes of the older form behind its entries
	newTableHead  = 152        // bytes of the newer before them, at least
)

// virtual looks for the table's file entry from the end of the volume backwards, since
// images may have something behind the last block that was written.
func (v *volume) virtual(on uint16, disc physical) (partition, error) {
	end := v.size / v.block
	first := max(end-virtualSearch/v.block, int64(disc.start))
	const step = 64
	for to := end; to > first; to -= step {
		from := max(to-step, first)
		b := make([]byte, (to-from)*v.block)
		if err := tree.ReadFull(v.r, b, from*v.block); err != nil {
			return nil, fmt.Errorf("blocks at %d, for the virtual allocation table: %w", from*v.block, err)
		}
		for at := to - 1; at >= from; at-- {
			one := b[(at-from)*v.block:][:v.block]
			block := uint32(at - int64(disc.start))
			if checkTag(one, tagEntry, block) != nil && checkTag(one, tagExtendEntry, block) != nil {
				continue
			}
			e, err := v.parseEntry(one, on, block, at*v.block)
			if err != nil || e.kind != typeVirtual && e.kind != typeNone {
				continue
			}
			if table, ok := v.virtualTable(e); ok {
				return &virtual{v.parts[on], table}, nil
			}
		}
	}
	return nil, corrupt("the virtual partition", -1, "its allocation table is not at the end of the volume (is the disk whole?)")
}

// virtualTable reads what e may be the table of.
func (v *volume) virtualTable(e *entry) ([]byte, bool) {
	if e.size < oldTableEnd || e.size > v.memory/4 {
		return nil, false
	}
	f, err := v.content(e)
	if err != nil {
		return nil, false
	}
	b := make([]byte, e.size)
	if n, _ := f.ReadAt(b, 0); n < len(b) {
		return nil, false
	}
	if e.kind == typeVirtual {
		head := int(le.Uint16(b))
		return b[min(head, len(b)):], head >= newTableHead && head <= len(b)
	}
	b, end := b[:len(b)-oldTableEnd], b[len(b)-oldTableEnd:]
	return b, strings.HasPrefix(string(end[1:]), "*UDF Virtual Alloc Tbl")
}

func (p *virtual) locate(block, _ uint32) (int64, uint32, error) {
	if int64(block) >= int64(len(p.table)/4) {
		return 0, 0, corrupt("the virtual allocation table", -1, "block %d is asked of its %d", block, len(p.table)/4)
	}
	to := le.Uint32(p.table[4*block:])
	if to == noBlock {
		return 0, 0, corrupt("the virtual allocation table", -1, "block %d is not in use", block)
	}
	return p.on.locate(to, 1)
}
