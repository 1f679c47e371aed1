package btrfs

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	typeMask    = 0o170000
	typeFolder  = 0o040000
	typeLink    = 0o120000
	typeRegular = 0o100000
	typeChar    = 0o020000
	typeBlock   = 0o060000

	inodeItemSize = 160
	flagNoSums    = 1
)

// inode is an inode's item.
type inode struct {
	inodeNumber
	s    *subvolume
	b    []byte // not to be changed
	at   int64
	size int64
	mode uint32
}

// stat reads an inode: fs.ErrNotExist where it is not in use. Layout: btrfs_inode_item.
func (v *volume) stat(n inodeNumber) (*inode, error) {
	s, err := v.subvolume(n.root)
	if err != nil {
		return nil, err
	}
	from := n.id
	if n.id == emptyFolder {
		from = s.rootDir
	}
	found, ok, err := s.get(key{from, typeInode, 0})
	if err != nil {
		return nil, fmt.Errorf("%v: %w", n, err)
	}
	if !ok {
		return nil, fmt.Errorf("%v: %w", n, fs.ErrNotExist)
	}
	i := &inode{inodeNumber: n, s: s, b: found.b, at: -1}
	if found.at != 0 {
		i.at = v.locate(found.at)
	}
	if len(i.b) < inodeItemSize {
		return nil, i.bad("it has %d bytes", len(i.b))
	}
	i.size, i.mode = int64(le.Uint64(i.b[16:])), le.Uint32(i.b[52:])
	if i.size < 0 {
		return nil, i.bad("a size of %d", uint64(i.size))
	}
	if n.id == emptyFolder { // it has no item: the folder's own times stand in
		i.mode, i.size = typeFolder|0o755, 0
	}
	return i, nil
}

func (i *inode) is(kind uint32) bool { return i.mode&typeMask == kind }

func (i *inode) bad(format string, args ...any) error {
	return &tree.CorruptError{What: i.String(), Why: fmt.Sprintf(format, args...), At: i.at}
}

// time reads seconds and nanoseconds.
func (i *inode) time(at int) time.Time {
	return time.Unix(int64(le.Uint64(i.b[at:])), int64(min(le.Uint32(i.b[at+8:]), 999999999))).UTC()
}

// Stat implements tree.FileSystem.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	i, err := v.stat(inside(ino))
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{
		Ino: ino, Mode: i.mode, Nlink: le.Uint32(i.b[40:]), UID: le.Uint32(i.b[44:]), GID: le.Uint32(i.b[48:]), Size: i.size,
		Atime: i.time(112), Ctime: i.time(124), Mtime: i.time(136), Btime: i.time(148),
	}
	if i.id == emptyFolder {
		return a, nil
	}
	sector := uint64(v.sector)
	a.Allocated = int64((min(le.Uint64(i.b[24:]), v.size) + sector - 1) &^ (sector - 1))
	if i.is(typeChar) || i.is(typeBlock) {
		device := le.Uint64(i.b[56:])
		a.Major, a.Minor = uint32(device>>20), uint32(device&(1<<20-1))
	}
	return a, nil
}

// Readlink implements tree.FileSystem.
func (v *volume) Readlink(ino uint64) (string, error) {
	i, err := v.stat(inside(ino))
	if err != nil {
		return "", err
	}
	if !i.is(typeLink) {
		return "", unsupported(i.String(), "it is not a symbolic link")
	}
	if i.size == 0 || i.size > 64<<10 {
		return "", i.bad("the target of a link has %d bytes", i.size)
	}
	target := make([]byte, i.size)
	if _, err := (&file{v, i}).ReadAt(target, 0); err != nil {
		return "", err
	}
	return string(target), nil
}
