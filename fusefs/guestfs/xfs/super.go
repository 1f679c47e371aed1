package xfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

const (
	magicSuper  = 0x58465342 // "XFSB"
	nullInode   = ^uint64(0)
	minBlock    = 512
	maxBlock    = 64 << 10
	superLength = 512 // the part of the superblock that is read
)

// Bits of the superblock that matter to a reader.
const (
	versionMask   = 0x000f
	versionDirV2  = 0x2000
	versionFold   = 0x4000 // names differ by more than ASCII case ("borg")
	versionMore   = 0x8000 // the field of further bits counts
	moreFileTypes = 0x0200 // directories hold the type of each entry

	incompatFileTypes = 0x001
	incompatMetaUUID  = 0x004
	incompatRepair    = 0x010
	incompatZoned     = 0x200

	logIncompatXattrs = 0x1
)

// incompatNames are the incompatible features of version 5 by bit, all of which
// this package knows how to read.
var incompatNames = []string{"ftype", "spinodes", "meta_uuid", "bigtime", "needsrepair", "nrext64",
	"exchange", "parent", "metadir", "zoned", "zone_gaps"}

// super is the superblock: where everything is. All counts were checked against
// each other by parseSuper.
type super struct {
	at          int64 // which copy, in bytes of the volume
	block       int   // bytes
	sector      int
	inode       int    // bytes of an inode
	blocks      uint64 // of the file system
	agBlocks    uint64 // of each allocation group but the last
	agCount     uint64
	agBlockLog  uint // bits of a block number within its group
	inoBlockLog uint // bits of an inode's place in its block
	dirBlock    int  // bytes of a directory block
	logStart    uint64
	logBlocks   uint64
	root        uint64
	rtStart     uint64
	free        uint64 // blocks, as last counted
	uuid        [16]byte
	metaUUID    [16]byte // what metadata is stamped with
	label       string
	v5          bool
	fileTypes   bool
	folds       bool
	inProgress  bool
	incompat    uint32
	logIncompat uint32
}

// parseSuper reads a superblock found at a place of the volume, b holding at
// least one sector's worth of it: 512 bytes for the fields, the whole sector for
// the CRC. Layout: xfs_dsb.
func parseSuper(b []byte, at int64) (*super, error) {
	bad := func(format string, args ...any) (*super, error) {
		return nil, &tree.CorruptError{What: "the superblock", Why: fmt.Sprintf(format, args...), At: at}
	}
	if len(b) < superLength || be.Uint32(b) != magicSuper {
		return bad("it has no magic number")
	}
	version := be.Uint16(b[100:])
	s := &super{
		at: at, block: int(be.Uint32(b[4:])), blocks: be.Uint64(b[8:]),
		logStart: be.Uint64(b[48:]), root: be.Uint64(b[56:]),
		agBlocks: uint64(be.Uint32(b[84:])), agCount: uint64(be.Uint32(b[88:])),
		logBlocks: uint64(be.Uint32(b[96:])), sector: int(be.Uint16(b[102:])),
		inode:       int(be.Uint16(b[104:])),
		label:       string(bytes.TrimRight(b[108:120], "\x00")),
		inoBlockLog: uint(b[123]), agBlockLog: uint(b[124]), inProgress: b[126] != 0,
		free: be.Uint64(b[144:]), v5: version&versionMask == 5, folds: version&versionFold != 0,
	}
	copy(s.uuid[:], b[32:])
	s.metaUUID = s.uuid
	switch {
	case version&versionMask == 5:
		s.incompat, s.logIncompat = be.Uint32(b[216:]), be.Uint32(b[220:])
		s.fileTypes = s.incompat&incompatFileTypes != 0
		if s.incompat&incompatMetaUUID != 0 {
			copy(s.metaUUID[:], b[248:])
		}
		if s.incompat&incompatZoned != 0 {
			s.rtStart = be.Uint64(b[288:])
		}
	case version&versionMask == 4 && version&versionDirV2 != 0:
		s.fileTypes = version&versionMore != 0 && be.Uint32(b[200:])&moreFileTypes != 0
	default:
		return nil, &tree.UnsupportedError{What: "the volume", Why: fmt.Sprintf("it is XFS of version %d (%#04x), older than any that is read here", version&versionMask, version)}
	}
	if why := s.insane(b[192]); why != "" {
		return bad("%s", why)
	}
	if s.v5 && (len(b) < s.sector || !crcHolds(b[:s.sector], 224)) {
		return bad("its checksum is wrong")
	}
	if unknown := s.incompat >> len(incompatNames); unknown != 0 {
		return nil, &tree.UnsupportedError{What: "the volume", Why: fmt.Sprintf("it has incompatible features that are not known here: bits %#x (known: %s)",
			unknown<<len(incompatNames), strings.Join(incompatNames, ", "))}
	}
	return s, nil
}

// insane says what is impossible about the geometry, "" if it holds together.
// After it, no shift or product of these numbers overflows.
func (s *super) insane(dirBlockLog byte) string {
	power := func(n, low, high int) bool { return n >= low && n <= high && n&(n-1) == 0 }
	switch {
	case !power(s.block, minBlock, maxBlock):
		return fmt.Sprintf("blocks of %d bytes", s.block)
	case !power(s.sector, 512, 32<<10) || s.sector > s.block:
		return fmt.Sprintf("sectors of %d bytes", s.sector)
	case !power(s.inode, 256, 2048) || s.inode > s.block || s.v5 && s.inode < 512:
		return fmt.Sprintf("inodes of %d bytes", s.inode)
	case s.inoBlockLog > 8 || s.inode<<s.inoBlockLog != s.block:
		return "the number of inodes in a block is not what their size makes it"
	case dirBlockLog > 7 || s.block<<dirBlockLog > maxBlock:
		return fmt.Sprintf("directory blocks of 2^%d blocks", dirBlockLog)
	case s.agBlocks < 64 || s.agBlockLog > 31 || s.agBlocks > 1<<s.agBlockLog || s.agBlocks <= 1<<s.agBlockLog/2:
		return fmt.Sprintf("groups of %d blocks with block numbers of %d bits", s.agBlocks, s.agBlockLog)
	case s.agCount == 0 || s.blocks > s.agCount*s.agBlocks || s.blocks <= (s.agCount-1)*s.agBlocks:
		return fmt.Sprintf("%d groups of %d blocks do not make %d blocks", s.agCount, s.agBlocks, s.blocks)
	case s.blocks > 1<<63/uint64(s.block)-1:
		return fmt.Sprintf("%d blocks", s.blocks)
	case s.logBlocks > 1<<31/uint64(s.block):
		return fmt.Sprintf("a log of %d blocks", s.logBlocks)
	}
	s.dirBlock = s.block << dirBlockLog
	return ""
}

// address returns where a run of blocks lies in the volume, false if it does not
// lie in one group of it.
func (s *super) address(block, n uint64) (int64, bool) {
	group, in := block>>s.agBlockLog, block&(1<<s.agBlockLog-1)
	if group >= s.agCount || n > s.agBlocks || in+n > s.agBlocks {
		return 0, false
	}
	linear := group*s.agBlocks + in
	if linear+n > s.blocks {
		return 0, false
	}
	return int64(linear) * int64(s.block), true
}

// inodeAddress returns where an inode lies in the volume.
func (s *super) inodeAddress(ino uint64) (int64, bool) {
	at, ok := s.address(ino>>s.inoBlockLog, 1)
	return at + int64(ino&(1<<s.inoBlockLog-1))*int64(s.inode), ok
}
