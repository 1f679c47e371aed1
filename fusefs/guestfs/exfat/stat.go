package exfat

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Stat returns what the entries of a file or folder say. The size of the root is
// that of its clusters, 0 when its chain is damaged.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	s, err := v.set(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{Ino: ino, Nlink: 1, Size: s.size, Atime: s.atime, Mtime: s.mtime, Btime: s.btime}
	if ino == rootIno {
		if c, err := v.folderChain(s); err == nil {
			a.Size = c.Size
		}
	}
	if a.Size < 0 || a.Size > v.info.Size {
		return tree.Attr{}, &tree.CorruptError{What: fmt.Sprintf("inode %d", ino), Why: fmt.Sprintf("it has %d bytes on a volume of %d", a.Size, v.info.Size), At: s.at()}
	}
	a.Allocated = (a.Size + v.cluster - 1) / v.cluster * v.cluster
	switch {
	case s.folder():
		a.Mode = unix.S_IFDIR | 0o755
	case s.attrs&attrReadOnly != 0:
		a.Mode = unix.S_IFREG | 0o444
	default:
		a.Mode = unix.S_IFREG | 0o644
	}
	return a, nil
}

// Open returns the content of a file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	s, err := v.set(ino)
	if err != nil {
		return nil, err
	}
	if s.folder() {
		return nil, fmt.Errorf("folder %d is not a regular file: %w", ino, fs.ErrInvalid)
	}
	c := v.chain("file", s)
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Readlink fails: exFAT has no links.
func (v *volume) Readlink(ino uint64) (string, error) {
	if _, err := v.set(ino); err != nil {
		return "", err
	}
	return "", fmt.Errorf("file %d is not a symbolic link: %w", ino, fs.ErrInvalid)
}

// Xattrs returns none: exFAT has no extended attributes.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	_, err := v.set(ino)
	return nil, err
}

// Xattr finds none.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	return nil, fmt.Errorf("attribute %s of file %d: %w", name, ino, fs.ErrNotExist)
}
