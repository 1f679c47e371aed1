package udf

import (
	"encoding/binary"
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

var le = binary.LittleEndian

// Kinds of descriptors: ECMA-167 3/7.2.1 and 4/7.2.1.
const (
	tagPrimary     = 1
	tagAnchor      = 2
	tagPointer     = 3
	tagPartition   = 5
	tagLogical     = 6
	tagTerminator  = 8
	tagIntegrity   = 9
	tagFileSet     = 256
	tagIdentifier  = 257
	tagExtents     = 258
	tagIndirect    = 259
	tagEntry       = 261
	tagAttributes  = 262
	tagExtendEntry = 266
)

const tagSize = 16

// crcTable is of x^16 + x^12 + x^5 + 1, the highest bit first.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc(b []byte) (c uint16) {
	for _, x := range b {
		c = c<<8 ^ crcTable[byte(c>>8)^x]
	}
	return c
}

// checkTag tells whether b begins with a whole descriptor that says that it is of that
// kind and lies in that block. Zero accepts any kind.
func checkTag(b []byte, kind uint16, block uint32) error {
	if len(b) < tagSize {
		return fmt.Errorf("%d bytes are left for its tag", len(b))
	}
	sum := byte(0)
	for i, c := range b[:tagSize] {
		if i != 4 {
			sum += c
		}
	}
	got, length := le.Uint16(b), int(le.Uint16(b[10:]))
	switch {
	case sum != b[4]:
		return fmt.Errorf("the checksum of its tag is %#x, not %#x", sum, b[4])
	case kind != 0 && got != kind:
		return fmt.Errorf("its tag is %d, not %d", got, kind)
	case le.Uint32(b[12:]) != block:
		return fmt.Errorf("its tag is of block %d, not %d", le.Uint32(b[12:]), block)
	case tagSize+length > len(b):
		return fmt.Errorf("its CRC is of %d bytes, of which %d are there", length, len(b)-tagSize)
	case crc(b[tagSize:tagSize+length]) != le.Uint16(b[8:]):
		return fmt.Errorf("its CRC is %#x, not %#x", crc(b[tagSize:tagSize+length]), le.Uint16(b[8:]))
	}
	return nil
}

// corrupt is the error of a structure at a byte of the volume.
func corrupt(what string, at int64, why string, args ...any) error {
	return &tree.CorruptError{What: what, Why: fmt.Sprintf(why, args...), At: at}
}
