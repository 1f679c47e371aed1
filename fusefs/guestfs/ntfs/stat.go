package ntfs

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// DOS attributes ([MS-FSCC] 2.6), and what names in folders have beside them.
const (
	attrSystem       = 0x4
	attrDirectory    = 0x10
	attrNormal       = 0x80
	attrReparse      = 0x400
	attrOffline      = 0x1000
	attrEncrypted    = 0x4000
	attrRecallOnOpen = 0x40000
	attrRecallOnRead = 0x400000
	nameOfFolder     = 0x10000000
)

// Stat returns the metadata of an inode.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	s, err := v.standard(n)
	if err != nil {
		return tree.Attr{}, notMissing(err, n)
	}
	p, err := v.special(n, s.attributes)
	if err != nil {
		return tree.Attr{}, notMissing(err, n)
	}
	wsl, err := v.linux(n)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{Ino: n.reference(), Mode: p.mode | wsl.permissions(p.mode), Nlink: 1, UID: wsl.uid, GID: wsl.gid,
		Atime: s.accessed, Mtime: s.modified, Ctime: s.changed, Btime: s.created}
	a.Major, a.Minor = v.device(n, p, wsl)
	if !n.dir {
		a.Nlink = v.links(n)
	}
	a.Size, a.Allocated, err = v.sizes(n)
	if err == nil && p.packed {
		a.Allocated, err = v.takes(n, wofStream)
	}
	switch p.mode {
	case unix.S_IFLNK:
		a.Size, err = int64(len(p.target)), nil
	case unix.S_IFREG, unix.S_IFDIR:
	default:
		a.Size, err = 0, nil
	}
	return a, err
}

func (l linux) permissions(kind uint32) uint32 {
	switch {
	case l.hasM:
		return l.mode & 0o7777
	case kind == unix.S_IFLNK:
		return 0o777
	case kind == unix.S_IFDIR:
		return 0o755
	}
	return 0o644
}

// sizes returns how long the content of a file, or the index of a folder, is, and what it takes up.
func (v *volume) sizes(n *inode) (size, allocated int64, err error) {
	k, name := kindData, ""
	if n.dir {
		k, name = kindIndex, folderIndex
	}
	parts := n.parts(k, name)
	if len(parts) == 0 {
		return 0, 0, nil
	}
	a, _, err := v.attribute(n, parts[0])
	if err != nil || a.resident {
		return int64(len(a.value)), 0, err
	}
	return a.size, a.total, nil
}

// takes returns what a stream takes up on the volume.
func (v *volume) takes(n *inode, name string) (int64, error) {
	parts := n.parts(kindData, name)
	if len(parts) == 0 {
		return 0, nil
	}
	a, _, err := v.attribute(n, parts[0])
	return a.total, err
}

// maxNames is how many names Windows gives a file: 1024 links, each with a short name.
const maxNames = 2048

// links counts the names of a file, without the short ones that stand beside
// long ones. Where they cannot be read, or are more than can be, it is what the record says.
func (v *volume) links(n *inode) uint32 {
	links, names := uint32(0), n.parts(kindFileName, "")
	if len(names) > maxNames {
		return uint32(n.record.links)
	}
	for _, e := range names {
		a, _, err := v.attribute(n, e)
		if err != nil {
			return uint32(n.record.links)
		}
		if name, err := parseFileName(a.value); err == nil && name.space != spaceDOS {
			links++
		}
	}
	if links == 0 {
		return uint32(n.record.links)
	}
	return links
}

// Readlink returns the target of a link: doc.go says in which form.
func (v *volume) Readlink(ino uint64) (string, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return "", err
	}
	s, err := v.standard(n)
	if err != nil {
		return "", notMissing(err, n)
	}
	p, err := v.special(n, s.attributes)
	if err == nil && p.mode != unix.S_IFLNK {
		err = fmt.Errorf("%s is not a symbolic link: %w", n, fs.ErrInvalid)
	}
	return p.target, err
}

// Open returns the content of a file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return nil, err
	}
	s, err := v.standard(n)
	if err != nil {
		return nil, notMissing(err, n)
	}
	p, err := v.special(n, s.attributes)
	if err != nil {
		return nil, err
	}
	if p.mode != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file: %w", n, fs.ErrInvalid)
	}
	if p.blocked != "" {
		return nil, &tree.UnsupportedError{What: n.String(), Why: p.blocked}
	}
	if len(n.parts(kindData, "")) == 0 {
		return emptyFile, nil
	}
	if p.packed {
		return v.openPacked(n, p.method)
	}
	f, err := v.stream(n, kindData, "")
	if err == nil && f.resident == nil && s.attributes&attrEncrypted != 0 {
		err = &tree.UnsupportedError{What: f.what, Why: "it is encrypted (EFS): only the guest has the key"}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// emptyFile is the content of a file that has none.
var emptyFile = &stream{resident: []byte{}, what: "an empty file"}
