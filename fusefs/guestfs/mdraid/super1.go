package mdraid

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// Fields of version 1, little endian; sizes and offsets in sectors of 512 bytes.
const (
	v1Features  = 8
	v1UUID      = 16
	v1Name      = 32
	v1Level     = 72
	v1Layout    = 76
	v1Size      = 80
	v1Chunk     = 88
	v1Disks     = 92
	v1DataOff   = 128
	v1DataLen   = 136
	v1SuperOff  = 144
	v1FilledTo  = 152
	v1Device    = 160
	v1BadSize   = 186
	v1Events    = 200
	v1Resync    = 208
	v1Sum       = 216
	v1RoleCount = 220
	v1Roles     = 256
	v1Block     = 4096
)

// Features that matter to a reader, and all that are known.
const (
	featureFilling       = 1 << 1
	featureReshape       = 1 << 2
	featureBadBlocks     = 1 << 3
	featureReplacement   = 1 << 4
	featureFillingBitmap = 1 << 7
	featureJournal       = 1 << 9
	featuresKnown        = 1<<13 - 1
)

func read1(r io.ReaderAt, size, off int64, version string) (*Super, error) {
	b, err := readBlock(r, size, off, v1Block)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	u32 := func(at int) int64 { return int64(le.Uint32(b[at:])) }
	count := u32(v1RoleCount)
	if u32(4) != 1 || le.Uint64(b[v1SuperOff:]) != uint64(off/sector) || count > (v1Block-v1Roles)/2 {
		return nil, ErrNotMember
	}
	if sum(b[:v1Roles+2*count], v1Sum) != le.Uint32(b[v1Sum:]) {
		return nil, ErrNotMember
	}
	features := u32(v1Features)
	if features&^featuresKnown != 0 {
		return nil, fmt.Errorf("the superblock of md at %d has features %#x, which are not known", off, features&^featuresKnown)
	}
	s := &Super{
		Version: version, UUID: uuid(b[v1UUID : v1UUID+16]), Name: name1(b[v1Name : v1Name+32]), Level: int(int32(u32(v1Level))),
		Disks: int(u32(v1Disks)), Events: le.Uint64(b[v1Events:]), layout: int(u32(v1Layout)), device: int(u32(v1Device)),
		reshaping: features&featureReshape != 0, journal: features&featureJournal != 0, filledTo: -1,
		standIn: features&featureReplacement != 0, badBlocks: features&featureBadBlocks != 0,
		clean: le.Uint64(b[v1Resync:]) == math.MaxUint64,
	}
	for i := range count {
		s.roles = append(s.roles, role1(le.Uint16(b[v1Roles+2*i:])))
	}
	for _, field := range []struct {
		to *int64
		at int
	}{{&s.size, v1Size}, {&s.dataOff, v1DataOff}, {&s.dataLen, v1DataLen}} {
		n := le.Uint64(b[field.at:])
		if n > maxSectors {
			return nil, fmt.Errorf("the superblock of md at %d has %d sectors at byte %d of it", off, n, field.at)
		}
		*field.to = int64(n) * sector
	}
	s.chunk = u32(v1Chunk) * sector
	if s.dataOff > size || s.dataLen > size-s.dataOff {
		return nil, fmt.Errorf("the superblock of md at %d says that its data lies at %d+%d of %d", off, s.dataOff, s.dataLen, size)
	}
	if features&featureFilling != 0 && !s.reshaping {
		s.filledTo = int64(min(le.Uint64(b[v1FilledTo:]), maxSectors)) * sector
		if features&featureFillingBitmap != 0 {
			s.filledTo = 0
		}
	}
	return s, nil
}

func role1(n uint16) int {
	switch {
	case n == 0xfffe:
		return roleFaulty
	case n == 0xfffd:
		return roleJournal
	case n >= maxMembers:
		return roleSpare
	}
	return int(n)
}

// name1 is the array's name without its host's; numbers are those of devices.
func name1(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	name := string(b)
	if _, rest, ok := strings.Cut(name, ":"); ok {
		name = rest
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		return "md" + name
	}
	return name
}

// uuid as mdadm prints it.
func uuid(b []byte) string {
	return fmt.Sprintf("%x:%x:%x:%x", b[:4], b[4:8], b[8:12], b[12:16])
}
