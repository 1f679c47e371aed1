package ext

import (
	"encoding/binary"
	"hash/crc32"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian // the journal

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// crc32c continues a checksum as ext4 keeps it: CRC-32C without the inversions
// before and after, beginning with all ones.
func crc32c(crc uint32, p []byte) uint32 { return ^crc32.Update(^crc, castagnoli, p) }

// crc32cWord continues it with four bytes. (A slice of them would be allocated.)
func crc32cWord(crc, word uint32) uint32 {
	crc ^= word
	for range 4 {
		crc = crc>>8 ^ castagnoli[byte(crc)]
	}
	return crc
}

// zeros stand for a checksum in what it is computed of.
var zeros = make([]byte, 4)

const allOnes = ^uint32(0)

// crc16 is CRC-16/ARC continued, which uninit_bg keeps in group descriptors.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// bigTable is of CRC-32 with its highest bit first (polynomial 04C11DB7), which
// the first kind of journal checksums uses.
var bigTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&0x80000000 != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc32be(crc uint32, p []byte) uint32 {
	for _, b := range p {
		crc = crc<<8 ^ bigTable[byte(crc>>24)^b]
	}
	return crc
}
