package mdraid

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Fields of version 0.90, words of 32 bits in the byte order of the machine that wrote
// them; only little endian is read.
const (
	v0Block     = 4096
	v0Minor     = 2
	v0UUID      = 5
	v0Level     = 7
	v0Size      = 8 // KiB
	v0Disks     = 10
	v0Number    = 11
	v0MoreUUID  = 13
	v0State     = 33
	v0Sum       = 38
	v0Events    = 39 // low, then high
	v0Layout    = 64
	v0Chunk     = 65 // bytes
	v0Members   = 128
	v0Member    = 32 // words of each
	v0Count     = 27
	v0This      = 992
	v0Reshaping = 91 // its minor version while an array is reshaped

	v0Faulty, v0Active, v0Sync = 1 << 0, 1 << 1, 1 << 2
	v0Clean                    = 1 << 0
)

func read090(r io.ReaderAt, size int64) (*Super, error) {
	const reserved = 64 << 10
	off := size&^(reserved-1) - reserved
	b, err := readBlock(r, size, off, v0Block)
	if err != nil {
		return nil, err
	}
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	if word(1) != 0 || sum(b, 4*v0Sum) != word(v0Sum) {
		return nil, ErrNotMember
	}
	s := &Super{
		Version: "0.90", Name: fmt.Sprintf("md%d", word(v0Number)), Level: int(int32(word(v0Level))), Disks: int(word(v0Disks)),
		UUID:   fmt.Sprintf("%08x:%08x:%08x:%08x", word(v0UUID), word(v0MoreUUID), word(v0MoreUUID+1), word(v0MoreUUID+2)),
		Events: uint64(word(v0Events+1))<<32 | uint64(word(v0Events)), layout: int(word(v0Layout)), chunk: int64(word(v0Chunk)),
		size: int64(word(v0Size)) << 10, dataLen: off, device: int(word(v0This)), filledTo: -1,
		reshaping: word(v0Minor) >= v0Reshaping, clean: word(v0State)&v0Clean != 0,
	}
	for i := range v0Count {
		d := v0Members + i*v0Member
		role, state := word(d+3), word(d+4)
		switch {
		case state&v0Faulty != 0:
			s.roles = append(s.roles, roleFaulty)
		case state&(v0Active|v0Sync) != v0Active|v0Sync || role >= v0Count:
			s.roles = append(s.roles, roleSpare)
		default:
			s.roles = append(s.roles, int(role))
		}
	}
	return s, nil
}
