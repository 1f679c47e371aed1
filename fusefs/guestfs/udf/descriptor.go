package udf

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxDescriptors = 1024
	maxFileSets    = 64
	maxMaps        = 256
)

// physical is a part of the disc that has a number.
type physical struct {
	sequence      uint32
	number        uint16
	start, blocks uint32
}

// descriptors are those of the volume that prevail, nil where there is none.
type descriptors struct {
	primary, logical []byte
	logicalAt        int64
	physical         map[uint16]physical
	reserve          bool // they are from the second sequence
}

// describe reads the main sequence or, if that is not whole, the reserve.
func (v *volume) describe(a anchor) (descriptors, error) {
	d, err := v.sequence(a.main)
	if err == nil {
		return d, nil
	}
	d, err2 := v.sequence(a.reserve)
	if err2 != nil {
		return d, fmt.Errorf("both sequences of volume descriptors: %w; %w", err, err2)
	}
	d.reserve = true
	return d, nil
}

// sequence reads volume descriptors; of several of one kind that with the highest number
// counts. A block that is none ends it.
func (v *volume) sequence(e extent) (d descriptors, err error) {
	d.physical = map[uint16]physical{}
	at, end := int64(e.block), int64(e.block)+int64(e.length)/v.block
	for n := 0; at < end && n < maxDescriptors; n++ {
		b := make([]byte, v.block)
		if err := tree.ReadFull(v.r, b, at*v.block); err != nil {
			return d, fmt.Errorf("volume descriptor at %d: %w", at*v.block, err)
		}
		if checkTag(b, 0, uint32(at)) != nil || le.Uint16(b) == tagTerminator {
			break
		}
		switch sequence := le.Uint32(b[16:]); le.Uint16(b) {
		case tagPointer:
			next := extentOf(b[20:])
			at, end = int64(next.block), int64(next.block)+int64(next.length)/v.block
			continue
		case tagPrimary:
			if d.primary == nil || sequence >= le.Uint32(d.primary[16:]) {
				d.primary = b
			}
		case tagLogical:
			if d.logical == nil || sequence >= le.Uint32(d.logical[16:]) {
				d.logical, d.logicalAt = b, at*v.block
			}
		case tagPartition:
			p := physical{sequence, le.Uint16(b[22:]), le.Uint32(b[188:]), le.Uint32(b[192:])}
			if old, have := d.physical[p.number]; !have || sequence >= old.sequence {
				d.physical[p.number] = p
			}
		}
		at++
	}
	if d.logical == nil || len(d.physical) == 0 {
		return d, corrupt("the sequence of volume descriptors", int64(e.block)*v.block, "it names no logical volume or no partition")
	}
	if bs := le.Uint32(d.logical[212:]); int64(bs) != v.block {
		return d, corrupt("the logical volume descriptor", d.logicalAt, "it has blocks of %d bytes on sectors of %d", bs, v.block)
	}
	return d, nil
}

// findRoot reads the file set that prevails: the last of its chain, as write-once media
// have it.
func (v *volume) findRoot(d descriptors) error {
	where := longOf(d.logical[248:])
	var set []byte
	for n := 0; where.length > 0 && n < maxFileSets; n++ {
		b, at, err := v.readBlock(where.ref, where.block)
		if err == nil {
			if bad := checkTag(b, tagFileSet, where.block); bad != nil {
				err = corrupt("the file set descriptor", at, "%v", bad)
			}
		}
		if err != nil && set == nil {
			return err
		}
		if err != nil {
			break
		}
		set, where = b, longOf(b[448:])
	}
	if set == nil {
		return corrupt("the logical volume descriptor", d.logicalAt, "it names no file set")
	}
	root := longOf(set[400:])
	v.root = inoOf(root.ref, root.block)
	e, err := v.entry(v.root)
	if err == nil && !e.folder() {
		err = corrupt("the root", e.at, "it is no folder")
	}
	return err
}

// inform says what the volume is. Its space is as of the last time that it was closed.
func (v *volume) inform(d descriptors) {
	v.info = tree.Info{Type: "udf", Label: dstring(d.logical[84:212]), Size: v.size, Used: -1, BlockSize: int(v.block), Journal: tree.NoJournal}
	if d.primary != nil {
		v.info.UUID = uuidOf(d.primary[72:200])
	}
	note := func(text string) { v.info.Notes = append(v.info.Notes, text) }
	if d.reserve {
		note("its main volume descriptors are damaged: the reserve ones are used")
	}
	where := extentOf(d.logical[432:])
	b := make([]byte, v.block)
	var last []byte
	for n := 0; where.length > 0 && n < maxDescriptors; n++ {
		if tree.ReadFull(v.r, b, int64(where.block)*v.block) != nil || checkTag(b, tagIntegrity, where.block) != nil {
			break
		}
		last = append(last[:0], b...)
		if next := extentOf(b[32:]); next.length > 0 {
			where = next
		} else {
			where = extent{where.length - uint32(min(v.block, int64(where.length))), where.block + 1}
		}
	}
	if last == nil {
		return
	}
	if le.Uint32(last[28:]) == 0 {
		note("it was not closed (in use, or the guest stopped): what the guest had not written yet is missing")
	}
	v.countUsed(last, d)
	for _, p := range v.parts {
		if m, ok := p.(*metadata); ok && m.note != "" {
			note(m.note)
		}
	}
}

// countUsed takes what the integrity descriptor says of the free blocks of each partition.
func (v *volume) countUsed(b []byte, d descriptors) {
	parts := int(le.Uint32(b[72:]))
	if parts < 1 || parts > maxMaps || 80+8*parts > len(b) {
		return
	}
	used := int64(0)
	for i := range parts {
		free, blocks := le.Uint32(b[80+4*i:]), le.Uint32(b[80+4*(parts+i):])
		if free == 1<<32-1 || blocks == 1<<32-1 || free > blocks {
			continue // not known, or of no meaning there
		}
		used += int64(blocks-free) * v.block
	}
	if used > 0 && used <= v.size {
		v.info.Used = used
	}
}
