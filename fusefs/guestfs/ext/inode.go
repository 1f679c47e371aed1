package ext

import (
	"io/fs"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const rootIno = 2

// The types in a mode, as stat(2) has them.
const (
	modeType  = 0xF000
	modeFifo  = 0x1000
	modeChar  = 0x2000
	modeDir   = 0x4000
	modeBlock = 0x6000
	modeFile  = 0x8000
	modeLink  = 0xA000
	modeSock  = 0xC000
)

// Flags of an inode.
const (
	flagEncrypted = 0x800
	flagIndex     = 0x1000
	flagHugeFile  = 0x40000
	flagExtents   = 0x80000
	flagEAInode   = 0x200000
	flagInline    = 0x10000000
	flagCasefold  = 0x40000000
)

// inode is one as it lies in its table. Its bytes belong to the cache.
type inode struct {
	number uint32
	raw    []byte
	mode   uint32
	flags  uint32
	seed   uint32 // of the checksums of its blocks
}

func (in *inode) kind() uint32 { return in.mode & modeType }

func (in *inode) has(flag uint32) bool { return in.flags&flag != 0 }

// extra is how many bytes are used behind the classic 128, 0 if it lies.
func (in *inode) extra() int {
	if len(in.raw) < classicInodeSize+4 {
		return 0
	}
	n := int(le.Uint16(in.raw[0x80:]))
	if n > len(in.raw)-classicInodeSize || n&3 != 0 {
		return 0
	}
	return n
}

// locate says where an inode lies.
func (v *volume) locate(ino uint32) (block uint64, at int, g group, err error) {
	if ino == 0 || ino > v.sb.inodes {
		return 0, 0, group{}, fs.ErrNotExist
	}
	if g, err = v.group((ino - 1) / v.sb.inodesPerGroup); err != nil {
		return 0, 0, group{}, err
	}
	off := uint64((ino-1)%v.sb.inodesPerGroup) * uint64(v.sb.inodeSize)
	return g.table + off/uint64(v.sb.blockSize), int(off % uint64(v.sb.blockSize)), g, nil
}

// anyInode reads an inode that is in use, one of the file system's own included.
func (v *volume) anyInode(ino uint32) (inode, error) {
	block, at, g, err := v.locate(ino)
	if err != nil {
		return inode{}, err
	}
	b, _, err := v.block(block)
	if err != nil {
		return inode{}, err
	}
	raw := b[at : at+int(v.sb.inodeSize)]
	in := inode{number: ino, raw: raw, mode: uint32(le.Uint16(raw)), flags: le.Uint32(raw[0x20:])}
	if in.mode == 0 || le.Uint16(raw[0x1A:]) == 0 || g.flags&groupInodesUnset != 0 {
		return inode{}, fs.ErrNotExist
	}
	if v.sb.seeded() {
		in.seed = crc32cWord(crc32cWord(v.sb.csumSeed, ino), le.Uint32(raw[0x64:]))
	}
	if v.sb.hasCsum() {
		if got, want := in.sum(); got != want {
			return inode{}, damagedInode(ino, "its checksum is %08x, not %08x", want, got)
		}
	}
	return in, nil
}

// seeded: ea_inode uses the seed of the checksums without having them.
func (s *super) seeded() bool { return s.hasCsum() || s.incompat&incompatEAInode != 0 }

// sum computes the checksum of an inode and returns the one it has. An inode
// without the upper half has the lower 16 bits of it.
func (in *inode) sum() (got, want uint32) {
	zero := zeros[:2]
	crc := crc32c(in.seed, in.raw[:0x7C])
	crc = crc32c(crc, zero)
	crc = crc32c(crc, in.raw[0x7E:classicInodeSize])
	want = uint32(le.Uint16(in.raw[0x7C:]))
	if len(in.raw) == classicInodeSize {
		return crc & 0xFFFF, want
	}
	crc = crc32c(crc, in.raw[classicInodeSize:0x82])
	if in.extra() < 4 {
		return crc32c(crc, in.raw[0x82:]) & 0xFFFF, want
	}
	crc = crc32c(crc, zero)
	return crc32c(crc, in.raw[0x84:]), want | uint32(le.Uint16(in.raw[0x82:]))<<16
}

// inode reads one that a guest's tree may hold.
func (v *volume) inode(ino uint64) (inode, error) {
	if ino > uint64(v.sb.inodes) || !v.sb.visible(uint32(ino)) {
		return inode{}, fs.ErrNotExist
	}
	in, err := v.anyInode(uint32(ino))
	if err == nil && in.has(flagEAInode) {
		return inode{}, fs.ErrNotExist
	}
	return in, err
}

func (s *super) visible(ino uint32) bool {
	return ino == rootIno || ino >= s.firstIno && ino <= s.inodes
}

// size is the length of the content. Only files and folders have an upper half.
func (v *volume) sizeOf(in *inode) (int64, error) {
	size := int64(le.Uint32(in.raw[4:]))
	if in.kind() == modeFile || in.kind() == modeDir && v.sb.incompat&incompatLargeDir != 0 {
		size |= int64(le.Uint32(in.raw[0x6C:])) << 32
	}
	if size < 0 || size > maxFileBlocks*v.sb.blockSize {
		return 0, damagedInode(in.number, "a size of %d", uint64(size))
	}
	return size, nil
}

// Stat returns the metadata of an inode.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	in, err := v.inode(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	raw := in.raw
	a := tree.Attr{
		Ino: ino, Mode: in.mode, Nlink: uint32(le.Uint16(raw[0x1A:])),
		UID:       uint32(le.Uint16(raw[2:])) | uint32(le.Uint16(raw[0x78:]))<<16,
		GID:       uint32(le.Uint16(raw[0x18:])) | uint32(le.Uint16(raw[0x7A:]))<<16,
		Allocated: v.allocated(&in),
		Atime:     in.time(8, 0x8C), Ctime: in.time(0xC, 0x84), Mtime: in.time(0x10, 0x88),
	}
	if in.extra() >= 0x98-classicInodeSize && (le.Uint32(raw[0x90:]) != 0 || le.Uint32(raw[0x94:]) != 0) {
		a.Btime = in.time(0x90, 0x94)
	}
	if a.Size, err = v.sizeOf(&in); err != nil {
		return tree.Attr{}, err
	}
	if in.has(flagInline) && in.kind() == modeFile {
		a.Allocated += (a.Size + 511) &^ 511 // as stat(2) has it: no content without blocks
	}
	if in.kind() == modeChar || in.kind() == modeBlock {
		a.Major, a.Minor = in.device()
	}
	return a, nil
}

// time puts seconds and, where the inode is large enough, nanoseconds and two
// more bits of seconds together. Seconds are signed.
func (in *inode) time(at, more int) time.Time {
	sec := int64(int32(le.Uint32(in.raw[at:])))
	if in.extra() < more+4-classicInodeSize {
		return time.Unix(sec, 0).UTC()
	}
	extra := le.Uint32(in.raw[more:])
	return time.Unix(sec+int64(extra&3)<<32, int64(extra>>2)).UTC()
}

// allocated is counted in units of 512 bytes, in blocks for a huge file.
func (v *volume) allocated(in *inode) int64 {
	n := int64(le.Uint32(in.raw[0x1C:]))
	if v.sb.ro&roHugeFile == 0 {
		return n * 512
	}
	n |= int64(le.Uint16(in.raw[0x74:])) << 32
	if in.has(flagHugeFile) {
		return n * v.sb.blockSize
	}
	return n * 512
}

// device decodes the old form (16 bits in the first word) or the new one.
func (in *inode) device() (major, minor uint32) {
	if old := le.Uint32(in.raw[0x28:]); old != 0 {
		return old >> 8 & 0xFF, old & 0xFF
	}
	d := le.Uint32(in.raw[0x2C:])
	return d >> 8 & 0xFFF, d&0xFF | d>>12&0xFFF00
}
