package bitlocker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var le = binary.LittleEndian

// Fields of the first sector.
const (
	bootSize     = 512
	bootMagic    = 3
	bootSector   = 11 // bytes of a sector; 0 where the volume was exFAT
	bootVista    = 56 // cluster of the metadata, of Vista only
	bootGUID     = 160
	bootGUIDToGo = 424 // three offsets of metadata follow either

	magicFixed = "-FVE-FS-"
	magicToGo  = "MSWIN4.1"

	copies = 3
)

// What kind of volume it is, as GUIDs lie on the disk.
const (
	guidNormal = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	guidEOW    = "\x3b\x4d\xa8\x92\x80\xdd\x0e\x4d\x9e\x4e\xb1\xe3\x28\x4e\xae\xd8"
)

// Header is what a volume says of itself. It holds no secret.
type Header struct {
	ToGo        bool   // BitLocker To Go around a FAT
	GUID        string // of the volume, as cryptsetup prints it
	Description string // computer, volume and date, as Windows wrote it; "" for none
	Cipher      string // AES-XTS-128, AES-CBC-256 + diffuser, ...

	// Protectors say what opens it, for people: "TPM", "recovery password".
	Protectors []string

	// Suspended: the key lies open on the volume.
	Suspended bool

	// Notes say what was found out of order and did no harm.
	Notes []string

	r       io.ReaderAt
	size    int64 // of the volume, bytes
	sector  int64 // bytes
	meta    [copies]int64
	backup  extent // where the volume's first bytes were moved to
	sealed  int64  // how much of the volume is encrypted: as much as is shown
	method  uint16
	keys    []protector
	fvek    box
	refused error // why the data cannot be read, nil if it can
}

// extent is a part of the volume, bytes.
type extent struct{ off, len int64 }

// inside tells whether it lies in a volume of that size.
func (e extent) inside(size int64) bool {
	return e.off >= 0 && e.len >= 0 && e.off <= size && e.len <= size-e.off
}

// Probe tells whether a volume begins as one of BitLocker, of Vista or later.
func Probe(r io.ReaderAt) bool {
	b := make([]byte, bootSize)
	if n, _ := r.ReadAt(b, 0); n < len(b) {
		return false
	}
	switch string(b[bootMagic : bootMagic+8]) {
	case magicFixed:
		return true
	case magicToGo:
		guid := string(b[bootGUIDToGo : bootGUIDToGo+16])
		return guid == guidNormal || guid == guidEOW
	}
	return false
}

// ReadHeader reads the header and metadata of a volume of so many bytes. Errors:
// ErrNotBitLocker, a *CorruptError, an *UnsupportedError, those of r.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	if !Probe(r) {
		return nil, ErrNotBitLocker
	}
	b := make([]byte, bootSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read the BitLocker header: %w", orEOF(err))
	}
	h := &Header{r: r, size: size, ToGo: string(b[bootMagic:bootMagic+8]) == magicToGo, sector: int64(le.Uint16(b[bootSector:]))}
	at := bootGUID
	if h.ToGo {
		at = bootGUIDToGo
	}
	switch guid := string(b[at : at+16]); {
	case !h.ToGo && guid != guidNormal && guid != guidEOW && le.Uint64(b[bootVista:]) != 0:
		return nil, unsupported("it was encrypted by Windows Vista")
	case guid == guidEOW:
		return nil, unsupported("it is being encrypted as it is written to (EOW), so that only Windows knows which parts are")
	case guid != guidNormal:
		return nil, corrupt(int64(at), "it is of an unknown kind (%s)", guidText([]byte(guid)))
	}
	if h.sector == 0 {
		h.sector = 512
	}
	if h.sector < 512 || h.sector > 4096 || h.sector&(h.sector-1) != 0 {
		return nil, corrupt(bootSector, "a sector of %d bytes is not possible", h.sector)
	}
	for i := range h.meta {
		h.meta[i] = int64(le.Uint64(b[at+16+8*i:]))
	}
	return h, h.readCopies()
}

// Refused says why the volume cannot be read here whatever the key is, an
// *UnsupportedError; nil where it can.
func (h *Header) Refused() error { return h.refused }

// readCopies takes the first copy of the metadata that is whole.
func (h *Header) readCopies() error {
	var errs []error
	for i, off := range h.meta {
		b, err := readCopy(h.r, off, h.size)
		if err == nil {
			if err = h.decode(b, off); err == nil {
				break
			}
			if errors.As(err, new(*UnsupportedError)) {
				return err
			}
		}
		if !errors.As(err, new(*CorruptError)) {
			return err
		}
		if errs = append(errs, err); i == copies-1 {
			return errs[0]
		}
	}
	for _, err := range errs {
		h.Notes = append(h.Notes, fmt.Sprintf("%v; another copy of them is read", err))
	}
	return nil
}

// about says what opens the volume.
func (h *Header) about() string {
	if len(h.Protectors) == 0 {
		return "nothing"
	}
	names := slices.Clone(h.Protectors)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// guidText prints a GUID as it is written.
func guidText(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
