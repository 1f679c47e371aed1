package udf

import (
	"fmt"
	"io/fs"
	"math"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	nobody  = 65534
	maxLink = 64 << 10 // bytes of its components
)

// modes are the kinds of files as stat(2) has them.
var modes = map[byte]uint32{typeNone: unix.S_IFREG, typeFolder: unix.S_IFDIR, typeRegular: unix.S_IFREG, typeBlock: unix.S_IFBLK, typeChar: unix.S_IFCHR,
	typePipe: unix.S_IFIFO, typeSocket: unix.S_IFSOCK, typeLink: unix.S_IFLNK, typeStreams: unix.S_IFDIR, typeVirtual: unix.S_IFREG, typeRealtime: unix.S_IFREG}

// mode puts together what ECMA-167 4/14.9.5 keeps in groups of five bits.
func (e *entry) mode() (uint32, error) {
	m, ok := modes[e.kind]
	if !ok {
		return 0, &tree.UnsupportedError{What: fmt.Sprintf("file entry %d", inoOf(e.ref, e.block)), Why: fmt.Sprintf("it is of kind %d", e.kind)}
	}
	m |= e.permission&7 | e.permission>>2&0o070 | e.permission>>4&0o700
	for flag, bit := range map[uint16]uint32{flagSetuid: unix.S_ISUID, flagSetgid: unix.S_ISGID, flagSticky: unix.S_ISVTX} {
		if e.flags&flag != 0 {
			m |= bit
		}
	}
	return m, nil
}

// Stat returns what the entry of a file or folder says.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	e, err := v.entry(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{Ino: ino, Nlink: uint32(e.links), UID: owner(e.uid), GID: owner(e.gid), Size: e.size,
		Atime: e.times[accessed], Mtime: e.times[modified], Ctime: e.times[changed], Btime: e.times[created]}
	if a.Mode, err = e.mode(); err != nil {
		return tree.Attr{}, err
	}
	if e.flags&flagsForm != formInline {
		a.Allocated = int64(min(e.recorded, uint64(math.MaxInt64/v.block))) * v.block
	}
	if e.folder() {
		a.Nlink++ // UDF's folders have no name for themselves
	}
	if a.Btime.IsZero() {
		a.Btime = e.creation()
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := v.target(e)
		if err != nil {
			return tree.Attr{}, err
		}
		a.Size = int64(len(target))
	case unix.S_IFBLK, unix.S_IFCHR:
		a.Major, a.Minor, err = e.device()
	}
	return a, err
}

func owner(id uint32) uint32 {
	if id == 1<<32-1 {
		return nobody
	}
	return id
}

// Readlink puts the target together.
func (v *volume) Readlink(ino uint64) (string, error) {
	e, err := v.entry(ino)
	if err != nil {
		return "", err
	}
	if e.kind != typeLink {
		return "", fmt.Errorf("file %d is not a symbolic link: %w", ino, fs.ErrInvalid)
	}
	return v.target(e)
}

func (v *volume) target(e *entry) (string, error) {
	what := fmt.Sprintf("symbolic link %d", inoOf(e.ref, e.block))
	if e.size > maxLink {
		return "", corrupt(what, e.at, "its target has %d bytes", e.size)
	}
	f, err := v.content(e)
	if err != nil {
		return "", err
	}
	b := make([]byte, e.size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return "", err
	}
	return linkTarget(b, what, e.at)
}
