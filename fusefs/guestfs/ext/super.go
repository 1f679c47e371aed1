package ext

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	superOffset = 1024 // of the volume, whatever the size of a block
	superSize   = 1024
	superMagic  = 0xEF53

	maxLogBlock = 6 // 64 KiB

	stateErrors       = 2 // of super.state
	flagUnsignedHash  = 2 // of super.flags
	encodingUTF8      = 1 // of super.encoding
	checksumCRC32C    = 1
	revisionDynamic   = 1
	classicInodeSize  = 128
	classicFirstInode = 11
)

// super is what we use of a superblock.
type super struct {
	inodes, firstIno, inodeSize, inodesPerGroup uint32
	blocks, free                                uint64
	firstData, blocksPerGroup                   uint32
	groups                                      uint32
	blockSize, clusterSize                      int64
	descSize, firstMetaBG                       uint32
	group                                       uint16 // which copy this is
	state                                       uint16
	compat, incompat, ro                        uint32
	uuid                                        [16]byte
	label                                       string
	journalIno, journalDev                      uint32
	journalBlocks                               []byte // i_block and size of the journal's inode, nil if not kept
	hashSeed                                    [4]uint32
	hashVersion                                 byte
	flags                                       uint32
	csumSeed                                    uint32
	backups                                     [2]uint32 // of sparse_super2
	encoding                                    uint16
}

func (s *super) hasCsum() bool { return s.ro&roMetadataCsum != 0 }

func superDamage(at int64, format string, args ...any) error {
	return &tree.CorruptError{What: "the superblock", Why: fmt.Sprintf(format, args...), At: at}
}

// parseSuper decodes the superblock that lies at a place of the volume. Features
// are not judged.
func parseSuper(b []byte, at int64) (super, error) {
	if le.Uint16(b[0x38:]) != superMagic {
		return super{}, superDamage(at, "it has no magic number")
	}
	s := decodeSuper(b)
	if s.hasCsum() {
		if b[0x175] != checksumCRC32C {
			return s, superDamage(at, "its kind of checksum is %d", b[0x175])
		}
		if got, want := crc32c(allOnes, b[:0x3FC]), le.Uint32(b[0x3FC:]); got != want {
			return s, superDamage(at, "its checksum is %08x, not %08x", want, got)
		}
	}
	return s, s.check(b, at)
}

func decodeSuper(b []byte) super {
	s := super{
		inodes: le.Uint32(b), firstData: le.Uint32(b[0x14:]),
		blocks: uint64(le.Uint32(b[4:])), free: uint64(le.Uint32(b[0xC:])),
		blockSize: 1024 << min(le.Uint32(b[0x18:]), 30), clusterSize: 1024 << min(le.Uint32(b[0x1C:]), 50),
		blocksPerGroup: le.Uint32(b[0x20:]), inodesPerGroup: le.Uint32(b[0x28:]),
		state: le.Uint16(b[0x3A:]), firstIno: classicFirstInode, inodeSize: classicInodeSize,
		group: le.Uint16(b[0x5A:]), uuid: [16]byte(b[0x68:]), descSize: 32,
		label:      string(bytes.TrimRight(b[0x78:0x88], "\x00")),
		journalIno: le.Uint32(b[0xE0:]), journalDev: le.Uint32(b[0xE4:]),
		hashVersion: b[0xFC], flags: le.Uint32(b[0x160:]),
	}
	if le.Uint32(b[0x4C:]) >= revisionDynamic {
		s.firstIno, s.inodeSize = le.Uint32(b[0x54:]), uint32(le.Uint16(b[0x58:]))
		s.compat, s.incompat, s.ro = le.Uint32(b[0x5C:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
	}
	for i := range s.hashSeed {
		s.hashSeed[i] = le.Uint32(b[0xEC+4*i:])
	}
	if b[0xFD] == 1 {
		s.journalBlocks = bytes.Clone(b[0x10C : 0x10C+68])
	}
	if s.incompat&incompat64bit != 0 {
		s.descSize = uint32(le.Uint16(b[0xFE:]))
		s.blocks |= uint64(le.Uint32(b[0x150:])) << 32
		s.free |= uint64(le.Uint32(b[0x158:])) << 32
	}
	if s.incompat&incompatMetaBG != 0 {
		s.firstMetaBG = le.Uint32(b[0x104:])
	}
	if s.ro&roBigalloc == 0 {
		s.clusterSize = s.blockSize
	}
	s.backups = [2]uint32{le.Uint32(b[0x24C:]), le.Uint32(b[0x250:])}
	s.encoding = le.Uint16(b[0x27C:])
	if s.csumSeed = crc32c(allOnes, s.uuid[:]); s.incompat&incompatCsumSeed != 0 {
		s.csumSeed = le.Uint32(b[0x270:])
	}
	return s
}

// check bounds every number that others are computed with, and counts the groups.
func (s *super) check(b []byte, at int64) error {
	pow2 := func(n uint32) bool { return bits.OnesCount32(n) == 1 }
	if le.Uint32(b[0x18:]) > maxLogBlock {
		return superDamage(at, "blocks of 2^(10+%d) bytes", le.Uint32(b[0x18:]))
	}
	size := uint32(s.blockSize)
	perBlock := s.clusterSize / s.blockSize
	switch {
	case s.clusterSize < s.blockSize || s.clusterSize > 1<<30:
		return superDamage(at, "clusters of %d bytes", s.clusterSize)
	case !pow2(s.inodeSize) || s.inodeSize < classicInodeSize || s.inodeSize > size:
		return superDamage(at, "inodes of %d bytes", s.inodeSize)
	case !pow2(s.descSize) || s.descSize < 32 || s.descSize > size || s.incompat&incompat64bit != 0 && s.descSize < 64:
		return superDamage(at, "group descriptors of %d bytes", s.descSize)
	case s.blocksPerGroup == 0 || int64(s.blocksPerGroup) > 8*s.blockSize*perBlock:
		return superDamage(at, "%d blocks in a group", s.blocksPerGroup)
	case s.inodesPerGroup == 0 || int64(s.inodesPerGroup) > 8*s.blockSize:
		return superDamage(at, "%d inodes in a group", s.inodesPerGroup)
	case s.blocks > 1<<62/uint64(s.blockSize) || s.blocks >= 1<<48 || uint64(s.firstData) >= s.blocks || s.firstData > 1:
		return superDamage(at, "%d blocks, the first at %d", s.blocks, s.firstData)
	}
	groups := (s.blocks - uint64(s.firstData) + uint64(s.blocksPerGroup) - 1) / uint64(s.blocksPerGroup)
	if groups >= 1<<32 || groups*uint64(s.inodesPerGroup) != uint64(s.inodes) {
		return superDamage(at, "%d inodes in %d groups of %d", s.inodes, groups, s.inodesPerGroup)
	}
	s.groups = uint32(groups)
	return nil
}

// readSuper finds a superblock that holds: the first, else a backup copy, with
// the damage of the first as second result.
func readSuper(r io.ReaderAt, size int64) (s super, damage, err error) {
	b := make([]byte, superSize)
	err = tree.ReadFull(r, b, superOffset)
	if err == nil {
		if s, err = parseSuper(b, superOffset); err == nil {
			return s, nil, nil
		}
	}
	if s, ok := findBackup(r, size, b, 1, 3, 5, 7, 9); ok {
		return s, err, nil
	}
	return super{}, nil, err
}

// findBackup looks where mke2fs puts copies, at the beginning of groups 1, 3, 5, 7
// and 9, for each size of blocks. Groups are as large as a bitmap block allows, or,
// with bigalloc, sixteen times that; or as large as the damaged superblock b says.
func findBackup(r io.ReaderAt, size int64, b []byte, groups ...int64) (super, bool) {
	hint := decodeSuper(b)
	if le.Uint32(b[0x18:]) <= maxLogBlock && hint.blocksPerGroup != 0 {
		if s, ok := findCopy(r, size, hint.blockSize, int64(hint.blocksPerGroup)*hint.blockSize, groups); ok {
			return s, true
		}
	}
	for log := range maxLogBlock + 1 {
		block := int64(1024) << log
		for _, clusters := range []int64{1, 16} {
			if s, ok := findCopy(r, size, block, 8*block*block*clusters, groups); ok {
				return s, true
			}
		}
	}
	return super{}, false
}

func findCopy(r io.ReaderAt, size, block, group int64, groups []int64) (super, bool) {
	b := make([]byte, superSize)
	for _, n := range groups {
		at := n * group
		if at+superSize > size || tree.ReadFull(r, b, at) != nil {
			break
		}
		s, err := parseSuper(b, at)
		if err != nil && block == 1024 && tree.ReadFull(r, b, at+block) == nil {
			s, err = parseSuper(b, at+block) // its first group begins with block 1
		}
		if err == nil && s.blockSize == block && int64(s.group) == n && s.blocks <= uint64(size/block) {
			return s, true
		}
	}
	return super{}, false
}
