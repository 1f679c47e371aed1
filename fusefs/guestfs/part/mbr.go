package part

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	mbrSize    = 512
	mbrSector  = 512 // MBR tables of disks with larger sectors count in those; see below
	mbrEntries = 446
	entrySize  = 16

	typeProtective = 0xee

	// maxLogical is how many logical partitions are followed. Linux shows no more
	// than 251.
	maxLogical = 256
)

// bootRecord is an MBR, or an EBR, which looks the same.
type bootRecord struct {
	id      uint32
	entries [4]mbrEntry
}

type mbrEntry struct {
	kind         byte
	first, count uint32 // sectors
}

func (e mbrEntry) used() bool     { return e.kind != 0 && e.count != 0 }
func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// parseMBR tells whether b holds partitions. Boot sectors of file systems bear the
// same signature; their code or zeros in the place of the table give them away.
func parseMBR(b []byte) (m bootRecord, valid bool) {
	if b[510] != 0x55 || b[511] != 0xaa {
		return m, false
	}
	m.id = binary.LittleEndian.Uint32(b[440:])
	for i := range m.entries {
		e := b[mbrEntries+i*entrySize:]
		if e[0] != 0 && e[0] != 0x80 {
			return m, false
		}
		m.entries[i] = mbrEntry{e[4], binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])}
		valid = valid || m.entries[i].used()
	}
	return m, valid
}

func (m *bootRecord) protective() bool {
	for _, e := range m.entries {
		if e.kind == typeProtective {
			return true
		}
	}
	return false
}

// readMBR reads the logical partitions, too. MBRs count in 512 bytes here: that
// is what virtual disks have, but for those whose sectors are said to be larger,
// which are partitioned with GPT.
func readMBR(r io.ReaderAt, size int64, m bootRecord) (*Table, error) {
	t := &Table{Scheme: MBR, ID: fmt.Sprintf("%08x", m.id), Sector: mbrSector}
	extended := mbrEntry{}
	for i, e := range m.entries {
		switch {
		case !e.used():
		case e.extended() && extended.used():
			t.note("partition %d is a second extended one: it is left out", i+1)
		case e.extended():
			extended = e
		default:
			t.addMBR(i+1, e, int64(e.first), size)
		}
	}
	if extended.used() {
		if err := t.readLogical(r, size, extended); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Table) addMBR(number int, e mbrEntry, first, size int64) {
	t.add(Partition{
		Number: number, Off: first * mbrSector, Len: int64(e.count) * mbrSector,
		Type: fmt.Sprintf("%02x", e.kind), UUID: fmt.Sprintf("%s-%02x", t.ID, number),
	}, size)
}

// readLogical follows the chain of EBRs. The first entry of each is a partition,
// from the EBR on; the second the next EBR, from the extended partition on. A chain
// that leaves the partition, comes back or does not end is cut, with a note.
func (t *Table) readLogical(r io.ReaderAt, size int64, ext mbrEntry) error {
	base, end := int64(ext.first), int64(ext.first)+int64(ext.count)
	seen := map[int64]bool{}
	number := 5
	for at := base; ; {
		if at < base || at >= end || (at+1)*mbrSector > size || seen[at] || len(seen) == maxLogical {
			t.note("the chain of logical partitions is broken after %d", number-1)
			return nil
		}
		seen[at] = true
		sector := make([]byte, mbrSize)
		if err := readFull(r, sector, at*mbrSector); err != nil {
			return fmt.Errorf("read the extended partition's record at %d: %w", at*mbrSector, err)
		}
		ebr, _ := parseMBR(sector)
		if sector[510] != 0x55 || sector[511] != 0xaa {
			t.note("the chain of logical partitions is broken after %d", number-1)
			return nil
		}
		next := mbrEntry{}
		for _, e := range ebr.entries {
			switch {
			case !e.used():
			case e.extended():
				if !next.used() {
					next = e
				}
			default:
				t.addMBR(number, e, at+int64(e.first), size)
				number++
			}
		}
		if !next.used() {
			return nil
		}
		at = base + int64(next.first)
	}
}
