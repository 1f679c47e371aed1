package part

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

const (
	gptHeaderSize = 92

	// maxEntries and maxEntry bound the array of entries to 4 MiB. Tools write
	// 128 entries of 128 bytes.
	maxEntries  = 4096
	minEntry    = 128
	maxEntry    = 1024
	noPartition = "00000000-0000-0000-0000-000000000000"
)

// gptHeader is one copy of the header, its checksums checked.
type gptHeader struct {
	disk    string
	sector  int64
	backup  int64 // where the header says that its other copy lies, in sectors
	entries []byte
	size    int // of an entry
}

// readGPT returns nil when no copy is whole. The copy at the front is believed
// first, then the one that it names, then the one at the disk's end.
func readGPT(r io.ReaderAt, size int64, sector int) (*Table, error) {
	sectors := []int64{512, 4096}
	if sector == 4096 {
		slices.Reverse(sectors)
	}
	for _, s := range sectors {
		h, err := readHeader(r, size, s, 1)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if err == nil {
			return h.table(size), nil
		}
		// A header whose own checksum holds while that of its entries does not
		// still knows where the other copy is.
		for _, at := range []int64{h.backup, size/s - 1} {
			if at <= 1 {
				continue
			}
			b, err := readHeader(r, size, s, at)
			if err != nil && !errors.Is(err, ErrDamaged) {
				return nil, err
			}
			if err == nil {
				t := b.table(size)
				t.note("the GPT at the front of the disk is damaged; its backup copy is read")
				return t, nil
			}
		}
	}
	return nil, nil
}

// readHeader reads the copy in sector at. ErrDamaged: there is none that is whole.
func readHeader(r io.ReaderAt, size, sector, at int64) (gptHeader, error) {
	h := gptHeader{sector: sector}
	if at <= 0 || at >= size/sector {
		return h, ErrDamaged
	}
	b := make([]byte, sector)
	if err := readFull(r, b, at*sector); err != nil {
		return h, fmt.Errorf("read the GPT at %d: %w", at*sector, err)
	}
	le := binary.LittleEndian
	length := le.Uint32(b[12:])
	if !bytes.Equal(b[:8], []byte("EFI PART")) || le.Uint32(b[8:]) != 1<<16 ||
		length < gptHeaderSize || int64(length) > sector {
		return h, ErrDamaged
	}
	sum := le.Uint32(b[16:])
	clear(b[16:20])
	if crc32.ChecksumIEEE(b[:length]) != sum || le.Uint64(b[24:]) != uint64(at) {
		return h, ErrDamaged
	}
	h.disk = guid(b[56:])
	h.backup = int64(min(le.Uint64(b[32:]), uint64(size/sector)))
	count, entry := le.Uint32(b[80:]), le.Uint32(b[84:])
	first := le.Uint64(b[72:])
	if entry < minEntry || entry > maxEntry || count > maxEntries || first >= uint64(size/sector) {
		return h, ErrDamaged
	}
	h.size = int(entry)
	h.entries = make([]byte, int(count)*h.size)
	if off := int64(first) * sector; int64(len(h.entries)) > size-off {
		return h, ErrDamaged
	} else if err := readFull(r, h.entries, off); err != nil {
		return h, fmt.Errorf("read the entries of the GPT at %d: %w", off, err)
	}
	if crc32.ChecksumIEEE(h.entries) != le.Uint32(b[88:]) {
		return h, ErrDamaged
	}
	return h, nil
}

func (h gptHeader) table(size int64) *Table {
	t := &Table{Scheme: GPT, ID: h.disk, Sector: int(h.sector)}
	le := binary.LittleEndian
	last := uint64(size / h.sector)
	for i := 0; i*h.size < len(h.entries); i++ {
		e := h.entries[i*h.size:]
		p := Partition{Number: i + 1, Type: guid(e), UUID: guid(e[16:]), Label: label(e[56:128])}
		if p.Type == noPartition {
			continue
		}
		from, to := le.Uint64(e[32:]), le.Uint64(e[40:])
		if from > last || to < from {
			t.note("partition %d is left out: it begins beyond the end of the disk, or ends before it begins", p.Number)
			continue
		}
		count := min(to-from, last) + 1 // sectors; add cuts what is too long
		p.Off, p.Len = int64(from)*h.sector, int64(count)*h.sector
		t.add(p, size)
	}
	return t
}

// guid prints a UUID as GPT stores it: the first three fields little endian.
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

func label(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
