package xfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	magicInode = 0x494e // "IN"

	coreV2 = 100 // bytes before the forks of inodes of versions 1 and 2
	coreV3 = 176

	flagRealtime = 0x1 // di_flags: the content lies on the realtime device

	flag2Bigtime = 0x08 // di_flags2: times are nanoseconds since 1901
	flag2Large   = 0x10 // counters of extents are wide
)

// Types of files as the mode has them.
const (
	typeMask    = 0o170000
	typeFIFO    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeLink    = 0o120000
	typeSocket  = 0o140000
)

// How a fork is kept: di_format, di_aformat.
const (
	formatDevice  = 0
	formatLocal   = 1
	formatExtents = 2
	formatTree    = 3
)

// inode is an inode as it lies on disk, after its checks.
type inode struct {
	number  uint64
	at      int64
	b       []byte // the whole of it, not to be changed
	core    int    // where the forks begin
	version byte
	mode    uint32
	size    int64
	flags2  uint64
}

// inode reads an inode. Layout: xfs_dinode.
func (v *volume) inode(ino uint64) (*inode, error) {
	at, ok := v.inodeAddress(ino)
	if !ok {
		return nil, corrupt(inodeName(ino), -1, "there is no such place in the volume")
	}
	p, err := v.meta(at, v.super.inode)
	if err != nil {
		return nil, fmt.Errorf("read inode %d: %w", ino, err)
	}
	i := &inode{number: ino, at: at, b: p.b, version: p.b[4], core: coreV2, mode: uint32(be.Uint16(p.b[2:])), size: int64(be.Uint64(p.b[56:]))}
	bad := func(why string) (*inode, error) { return nil, corrupt(inodeName(ino), at, why) }
	if be.Uint16(p.b) != magicInode {
		return bad("no inode lies there")
	}
	if v.v5 != (i.version == 3) || i.version == 0 || i.version > 3 {
		return bad(fmt.Sprintf("its version is %d", i.version))
	}
	if v.v5 {
		i.core, i.flags2 = coreV3, be.Uint64(p.b[120:])
		switch {
		case !crcHolds(p.b, 100) && !p.replayed:
			return bad("its checksum is wrong")
		case be.Uint64(p.b[152:]) != ino:
			return bad(fmt.Sprintf("it says that it is inode %d", be.Uint64(p.b[152:])))
		case !bytes.Equal(p.b[160:176], v.metaUUID[:]):
			return bad("it is of another file system")
		}
	}
	if i.mode == 0 {
		return nil, fmt.Errorf("inode %d is not in use: %w", ino, fs.ErrNotExist)
	}
	if i.size < 0 {
		return bad("its size is negative")
	}
	if to := v.promise[ino]; to != nil && to.size >= 0 {
		i.size = to.size
	}
	return i, nil
}

func inodeName(ino uint64) string { return fmt.Sprintf("inode %d", ino) }

func (i *inode) is(kind uint32) bool { return i.mode&typeMask == kind }

// bad says that something about the inode cannot be.
func (i *inode) bad(format string, args ...any) error {
	return corrupt(inodeName(i.number), i.at, fmt.Sprintf(format, args...))
}

// time decodes a time stamp: nanoseconds since the earliest second that 32 bits
// hold, or seconds and nanoseconds of 32 bits each.
func (i *inode) time(at int) time.Time {
	t := be.Uint64(i.b[at:])
	if i.flags2&flag2Bigtime != 0 {
		return time.Unix(int64(t/1e9)-1<<31, int64(t%1e9)).UTC()
	}
	return time.Unix(int64(int32(t>>32)), int64(min(uint32(t), 999999999))).UTC()
}

// Stat implements tree.FileSystem.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	i, err := v.inode(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{
		Ino: ino, Mode: i.mode, Nlink: be.Uint32(i.b[16:]), UID: be.Uint32(i.b[8:]), GID: be.Uint32(i.b[12:]),
		Size: i.size, Allocated: int64(min(be.Uint64(i.b[64:]), v.blocks)) * int64(v.block),
		Atime: i.time(32), Mtime: i.time(40), Ctime: i.time(48),
	}
	if i.version == 1 {
		a.Nlink = uint32(be.Uint16(i.b[6:]))
	}
	if i.version == 3 {
		a.Btime = i.time(144)
	}
	if i.b[5] == formatDevice && (i.is(typeChar) || i.is(typeBlock)) {
		device := be.Uint32(i.b[i.core:]) // 14 bits and 18 bits, as System V had them
		a.Major, a.Minor = device>>18, device&(1<<18-1)
	}
	return a, nil
}
