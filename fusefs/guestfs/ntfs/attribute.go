package ntfs

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// kind is the type of an attribute.
type kind uint32

const (
	kindStandard   kind = 0x10
	kindList       kind = 0x20
	kindFileName   kind = 0x30
	kindVolumeName kind = 0x60
	kindVolumeInfo kind = 0x70
	kindData       kind = 0x80
	kindIndexRoot  kind = 0x90
	kindIndex      kind = 0xA0
	kindBitmap     kind = 0xB0
	kindReparse    kind = 0xC0
	kindEA         kind = 0xE0
	kindEnd        kind = 0xFFFFFFFF
)

const (
	flagCompressed = 0x0001 // with any other bit of flagMethod: a method that nobody documented
	flagMethod     = 0x00FF
	flagEncrypted  = 0x4000
	flagSparse     = 0x8000

	residentHeader    = 24
	nonResidentHeader = 64
)

// attribute is one attribute of a record. Its slices are parts of the record.
type attribute struct {
	kind     kind
	name     string
	flags    uint16
	id       uint16
	resident bool
	value    []byte // of a resident one

	// Of one that is not resident:
	first, last        int64  // clusters of it that the pairs are for
	pairs              []byte // where they lie
	unit               byte   // clusters of a compression unit, as a power of two; 0 for none
	alloc, size, valid int64  // bytes, in the first part only
	total              int64  // bytes that it takes up, when compressed or sparse
}

// parseAttributes reads the attributes of a record from an offset on.
func parseAttributes(b []byte, at int) ([]attribute, error) {
	var all []attribute
	for at+8 <= len(b) {
		k, n := kind(le.Uint32(b[at:])), int64(le.Uint32(b[at+4:]))
		if k == kindEnd {
			return all, nil
		}
		if n < residentHeader || n%8 != 0 || n > int64(len(b)-at) {
			return nil, fmt.Errorf("the attribute at %d of it has %d bytes", at, n)
		}
		a, err := parseAttribute(b[at : at+int(n)])
		if err != nil {
			return nil, fmt.Errorf("the attribute at %d of it (type %#x) %w", at, k, err)
		}
		all = append(all, a)
		at += int(n)
	}
	return all, nil
}

func parseAttribute(b []byte) (attribute, error) {
	a := attribute{kind: kind(le.Uint32(b)), resident: b[8] == 0, flags: le.Uint16(b[12:]), id: le.Uint16(b[14:])}
	if n, at := 2*int(b[9]), int(le.Uint16(b[10:])); n > 0 {
		if at+n > len(b) {
			return a, fmt.Errorf("has its name at %d to %d of %d", at, at+n, len(b))
		}
		a.name = wtf8.Decode(b[at : at+n])
	}
	if a.resident {
		n, at := int64(le.Uint32(b[16:])), int64(le.Uint16(b[20:]))
		if at+n > int64(len(b)) {
			return a, fmt.Errorf("has its value at %d to %d of %d", at, at+n, len(b))
		}
		a.value = b[at : at+n : at+n]
		return a, nil
	}
	return a, a.parseNonResident(b)
}

func (a *attribute) parseNonResident(b []byte) error {
	if len(b) < nonResidentHeader {
		return fmt.Errorf("has a header of %d bytes", len(b))
	}
	a.first, a.last = int64(le.Uint64(b[16:])), int64(le.Uint64(b[24:]))
	pairs := int(le.Uint16(b[32:]))
	if a.first < 0 || a.last < a.first-1 || a.last > maxVCN || pairs < nonResidentHeader || pairs > len(b) {
		return fmt.Errorf("is for clusters %d to %d of its content, its runs are at %d", a.first, a.last, pairs)
	}
	a.pairs, a.unit = b[pairs:], b[34]
	if a.first > 0 {
		return nil // sizes are in the first part
	}
	a.alloc, a.size, a.valid = int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:])), int64(le.Uint64(b[56:]))
	if a.size < 0 || a.valid < 0 || a.alloc < 0 || a.valid > a.size && a.valid > a.alloc {
		return fmt.Errorf("has %d bytes, %d valid, in %d", a.size, a.valid, a.alloc)
	}
	a.total = a.alloc
	if a.flags&(flagMethod|flagSparse) != 0 && pairs >= nonResidentHeader+8 {
		a.total = max(int64(le.Uint64(b[64:])), 0)
	}
	return nil
}
