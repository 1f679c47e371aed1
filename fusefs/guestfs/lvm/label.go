package lvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Places and bounds on a physical volume, in bytes.
const (
	labelSectors = 4 // the label lies in one of the first four sectors of 512 bytes
	sectorSize   = 512
	maxText      = 8 << 20 // of metadata; lvm's areas are 1 MiB unless made larger
	maxAreas     = 8
)

// ErrNotPV says that there is no label of LVM2.
var ErrNotPV = errors.New("it is not a physical volume of LVM2")

// PV is one physical volume by its label and metadata.
type PV struct {
	UUID string

	// Notes say what was wrong with its copies of the metadata.
	Notes []string

	group *groupMeta // newest copy on this volume, nil if it holds none
}

// Group is the name of the volume group by the metadata on this volume, "" if it
// holds none: the others of the group may.
func (p *PV) Group() string {
	if p.group == nil {
		return ""
	}
	return p.group.name
}

// ReadPV reads the label and the newest whole metadata that r holds. ErrNotPV: it
// bears no label; other errors are those of r. Metadata that is damaged is a note,
// since another volume of the group may have it.
func ReadPV(r io.ReaderAt) (*PV, error) {
	b := make([]byte, labelSectors*sectorSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrNotPV
		}
		return nil, fmt.Errorf("read the label of LVM2: %w", err)
	}
	for ; len(b) > 0; b = b[sectorSize:] {
		if p, areas, ok := parseLabel(b[:sectorSize]); ok {
			for _, a := range areas {
				if err := p.readArea(r, a); err != nil {
					p.Notes = append(p.Notes, fmt.Sprintf("the metadata at %d of physical volume %s: %v", a.off, p.UUID, err))
				}
			}
			return p, nil
		}
	}
	return nil, ErrNotPV
}

type area struct{ off, size uint64 }

// parseLabel reads the sector of the label: 32 bytes of label header, then the
// header of the physical volume (id, size) and two lists of areas, of data and of
// metadata, each ended by an entry of zeros.
func parseLabel(b []byte) (*PV, []area, bool) {
	le := binary.LittleEndian
	if string(b[:8]) != "LABELONE" || string(b[24:32]) != "LVM2 001" || checksum(b[20:]) != le.Uint32(b[16:]) {
		return nil, nil, false
	}
	at := int(le.Uint32(b[20:]))
	if at < 32 || at > sectorSize-72 {
		return nil, nil, false
	}
	p := &PV{UUID: dashed(string(b[at : at+32]))}
	var areas []area
	metadata := false
	for at += 40; at+16 <= sectorSize && len(areas) < maxAreas; at += 16 {
		a := area{le.Uint64(b[at:]), le.Uint64(b[at+8:])}
		switch {
		case a.off == 0 && metadata:
			return p, areas, true
		case a.off == 0:
			metadata = true
		case metadata:
			areas = append(areas, a)
		}
	}
	return p, areas, true
}

// readArea reads the committed text of a metadata area, a ring behind its header, and
// keeps it when it is newer than what is known.
func (p *PV) readArea(r io.ReaderAt, a area) error {
	b := make([]byte, sectorSize)
	if a.off > 1<<62 || a.size > 1<<40 {
		return errors.New("it lies beyond any disk")
	}
	if n, err := r.ReadAt(b, int64(a.off)); n < len(b) {
		return fmt.Errorf("cannot be read: %w", orEOF(err))
	}
	le := binary.LittleEndian
	if string(b[4:20]) != " LVM2 x[5A%r0N*>" || checksum(b[4:]) != le.Uint32(b) {
		return errors.New("its header is damaged")
	}
	off, length, sum, flags := le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint32(b[56:]), le.Uint32(b[60:])
	const ignored = 1
	if length == 0 || flags&ignored != 0 {
		return nil // the group keeps its metadata elsewhere
	}
	if size := le.Uint64(b[32:]); length > maxText || a.size < sectorSize || size != a.size || off < sectorSize || off >= size || length > size-sectorSize {
		return errors.New("its header does not fit its area")
	}
	text := make([]byte, length)
	front := text[:min(length, a.size-off)]
	if n, err := r.ReadAt(front, int64(a.off+off)); n < len(front) {
		return fmt.Errorf("cannot be read: %w", orEOF(err))
	}
	if back := text[len(front):]; len(back) > 0 {
		if n, err := r.ReadAt(back, int64(a.off+sectorSize)); n < len(back) {
			return fmt.Errorf("cannot be read: %w", orEOF(err))
		}
	}
	if checksum(text) != sum {
		return errors.New("its text does not match its checksum")
	}
	g, err := parseGroup(string(text))
	if err != nil {
		return fmt.Errorf("its text: %w", err)
	}
	if p.group == nil || g.seqno > p.group.seqno {
		p.group = g
	}
	return nil
}

func orEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checksum is the CRC-32 of LVM2: another start value, nothing inverted at the end.
func checksum(b []byte) uint32 { return ^crc32.Update(^uint32(0xf597a6cf), crc32.IEEETable, b) }

// dashed is an id of 32 characters as LVM prints it.
func dashed(s string) string {
	return s[:6] + "-" + s[6:10] + "-" + s[10:14] + "-" + s[14:18] + "-" + s[18:22] + "-" + s[22:26] + "-" + s[26:]
}
