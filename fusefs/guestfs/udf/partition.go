package udf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// partition is a space of blocks that file entries and extents name.
type partition interface {
	// locate returns where a block of the partition lies on the volume, in blocks, and
	// how many of the n from it on lie there in one piece, at least one.
	locate(block, n uint32) (at int64, run uint32, err error)
}

func (p physical) locate(block, n uint32) (int64, uint32, error) {
	if block >= p.blocks {
		return 0, 0, corrupt(fmt.Sprintf("partition %d", p.number), -1, "block %d is asked of its %d", block, p.blocks)
	}
	return int64(p.start) + int64(block), min(n, p.blocks-block), nil
}

// absent stands for a partition that cannot be used; the others can.
type absent struct{ err error }

func (p absent) locate(uint32, uint32) (int64, uint32, error) { return 0, 0, p.err }

// addPartitions reads the logical volume's map: partitions by number, then those that
// lie on another, which is named by the number that it has on the disc.
func (v *volume) addPartitions(d descriptors) error {
	length, count := int(le.Uint32(d.logical[264:])), int(le.Uint32(d.logical[268:]))
	if count < 1 || count > maxMaps || length > len(d.logical)-440 {
		return corrupt("the logical volume descriptor", d.logicalAt, "it maps %d partitions in %d bytes", count, length)
	}
	var maps [][]byte
	for b := d.logical[440 : 440+length]; len(maps) < count; {
		if len(b) < 2 || b[1] < 6 || int(b[1]) > len(b) {
			return corrupt("the logical volume descriptor", d.logicalAt, "partition map %d is cut short", len(maps))
		}
		maps = append(maps, b[:b[1]])
		b = b[b[1]:]
	}
	v.parts = make([]partition, count)
	var later []int
	for i, m := range maps {
		kind := mapKind(m)
		number := uint16(0)
		switch {
		case kind == mapPhysical:
			number = le.Uint16(m[4:])
		case kind != "":
			number = le.Uint16(m[38:])
		default:
			v.parts[i] = absent{&tree.UnsupportedError{What: fmt.Sprintf("partition %d of the volume", i), Why: "its kind is not known"}}
			continue
		}
		on, have := d.physical[number]
		switch {
		case !have:
			v.parts[i] = absent{corrupt("the logical volume descriptor", d.logicalAt, "it maps partition %d, of which there is no descriptor", number)}
		case kind == mapPhysical:
			v.parts[i] = on
		case kind == mapSparable:
			v.parts[i] = v.sparable(m, on)
		default:
			later = append(later, i)
		}
	}
	for _, i := range later {
		number := le.Uint16(maps[i][38:])
		on := slices.IndexFunc(maps, func(m []byte) bool {
			return mapKind(m) == mapPhysical && le.Uint16(m[4:]) == number || mapKind(m) == mapSparable && le.Uint16(m[38:]) == number
		})
		var err error = corrupt("the logical volume descriptor", d.logicalAt, "it does not map partition %d, on which another lies", number)
		if on >= 0 && mapKind(maps[i]) == mapVirtual {
			v.parts[i], err = v.virtual(uint16(on), d.physical[number])
		} else if on >= 0 {
			v.parts[i], err = v.metadata(maps[i], uint16(on))
		}
		if err != nil {
			v.parts[i] = absent{err}
		}
	}
	return nil
}

// Kinds of partition maps: ECMA-167 3/10.7, UDF 2.60 2.2.8 to 2.2.10.
const (
	mapPhysical = "physical"
	mapVirtual  = "*UDF Virtual Partition"
	mapSparable = "*UDF Sparable Partition"
	mapMetadata = "*UDF Metadata Partition"
)

// mapKind is "" of a kind that is not known.
func mapKind(m []byte) string {
	switch {
	case m[0] == 1 && len(m) == 6:
		return mapPhysical
	case m[0] == 2 && len(m) == 64:
		id := strings.TrimRight(string(m[5:28]), "\x00")
		if id == mapVirtual || id == mapSparable || id == mapMetadata {
			return id
		}
	}
	return ""
}

// sparable is a partition some of whose packets lie elsewhere.
type sparable struct {
	physical
	packet uint32            // blocks
	moved  map[uint32]uint32 // blocks of the volume, by the first block of a packet
}

const maxSpared = 1 << 16 // packets, as many as the table can count

func (v *volume) sparable(m []byte, on physical) partition {
	p := &sparable{physical: on, packet: uint32(le.Uint16(m[40:]))}
	if p.packet == 0 || p.packet&(p.packet-1) != 0 {
		return absent{corrupt(fmt.Sprintf("partition %d", on.number), -1, "its packets have %d blocks", p.packet)}
	}
	// Of the copies of the table the one that was written last counts.
	newest := uint32(0)
	for i := range min(int(m[42]), 4) {
		at := le.Uint32(m[48+4*i:])
		b := make([]byte, min(int64(le.Uint32(m[44:])), 56+8*maxSpared))
		if tree.ReadFull(v.r, b, int64(at)*v.block) != nil || len(b) < 56 || checkTag(b, 0, at) != nil || !strings.HasPrefix(string(b[17:]), "*UDF Sparing Table") {
			continue
		}
		if n := le.Uint32(b[52:]); p.moved == nil || n > newest {
			newest, p.moved = n, sparedPackets(b[56:], int(le.Uint16(b[48:])))
		}
	}
	if p.moved == nil {
		return absent{corrupt(fmt.Sprintf("partition %d", on.number), -1, "none of its sparing tables is whole")}
	}
	return p
}

func sparedPackets(b []byte, n int) map[uint32]uint32 {
	const unused = 0xFFFFFFF0 // from here on: free or defective
	moved := map[uint32]uint32{}
	for ; n > 0 && len(b) >= 8; n, b = n-1, b[8:] {
		if from := le.Uint32(b); from < unused {
			moved[from] = le.Uint32(b[4:])
		}
	}
	return moved
}

func (p *sparable) locate(block, n uint32) (int64, uint32, error) {
	at, run, err := p.physical.locate(block, n)
	if err != nil || len(p.moved) == 0 {
		return at, run, err
	}
	within := block & (p.packet - 1)
	run = min(run, p.packet-within)
	if to, moved := p.moved[block-within]; moved {
		at = int64(to) + int64(within)
	}
	return at, run, nil
}

// metadata is a partition that is the content of a file, of which there may be a second.
type metadata struct {
	v      *volume
	first  *file
	mirror *file // nil: there is none, or first is it
	note   string
}

func (v *volume) metadata(m []byte, on uint16) (partition, error) {
	main, err := v.metadataFile(on, le.Uint32(m[40:]), typeMetadata)
	mirror, err2 := v.metadataFile(on, le.Uint32(m[44:]), typeMirror)
	switch {
	case err != nil && err2 != nil:
		return nil, fmt.Errorf("the metadata partition: %w; its mirror: %w", err, err2)
	case err != nil:
		return &metadata{v: v, first: mirror, note: "its metadata file is damaged: the mirror is used"}, nil
	}
	return &metadata{v: v, first: main, mirror: mirror}, nil
}

func (v *volume) metadataFile(on uint16, block uint32, kind byte) (*file, error) {
	if v.parts[on] == nil {
		return nil, errors.New("it lies on a partition that is not there")
	}
	e, err := v.readEntry(on, block, 0)
	if err != nil {
		return nil, err
	}
	if e.kind != kind {
		return nil, corrupt("the metadata file", e.at, "it is of kind %d", e.kind)
	}
	f, err := v.content(e)
	if err != nil {
		return nil, err
	}
	if f.inline != nil || slices.ContainsFunc(f.runs, func(r run) bool { return r.ref != on }) {
		return nil, corrupt("the metadata file", e.at, "it does not lie in partition %d", on)
	}
	return f, nil
}

func (p *metadata) locate(block, n uint32) (int64, uint32, error) {
	return p.first.locate(int64(block)*p.v.block, int64(n)*p.v.block)
}
