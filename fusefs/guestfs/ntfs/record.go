package ntfs

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Record numbers that NTFS gives to its own files.
const (
	mftRecord     = 0
	logRecord     = 2
	volumeRecord  = 3
	rootRecord    = 5
	bitmapRecord  = 6
	upcaseRecord  = 10
	firstUserFile = 16
)

const (
	recordInUse  = 1
	recordFolder = 2

	recordHeaderSize = 42
	numberMask       = 1<<48 - 1 // of a reference; its sequence number is above
)

// record is one FILE record whose update sequence is undone.
type record struct {
	number   uint64
	at       int64 // of the volume
	sequence uint16
	links    uint16
	flags    uint16
	base     uint64 // reference of the record that this one continues, or 0
	attrs    []attribute
}

// parseRecord undoes the update sequence of b in place and decodes it. The
// attributes are not read of a record that is not in use.
func parseRecord(b []byte, number uint64, at int64) (*record, error) {
	bad := func(why string, args ...any) error {
		return &tree.CorruptError{What: fmt.Sprintf("record %d", number), Why: fmt.Sprintf(why, args...), At: at}
	}
	if why := fixup(b, "FILE"); why != "" {
		return nil, bad("%s", why)
	}
	r := &record{number: number, at: at, sequence: le.Uint16(b[16:]), links: le.Uint16(b[18:]),
		flags: le.Uint16(b[22:]), base: le.Uint64(b[32:])}
	if r.flags&recordInUse == 0 {
		return r, nil
	}
	first, used := int(le.Uint16(b[20:])), int64(le.Uint32(b[24:]))
	if first < recordHeaderSize || first%4 != 0 || used > int64(len(b)) || int64(first) > used {
		return nil, bad("its attributes are at %d to %d", first, used)
	}
	var err error
	if r.attrs, err = parseAttributes(b[:used], first); err != nil {
		return nil, bad("%v", err)
	}
	return r, nil
}
