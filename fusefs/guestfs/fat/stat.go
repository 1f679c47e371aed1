package fat

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Stat returns what the entry of a file or folder says. The size of a folder is
// that of its clusters, 0 when its chain is damaged.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	e, err := v.entry(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	a := tree.Attr{Ino: ino, Nlink: 1, Size: e.size, Atime: e.read, Mtime: e.written, Btime: e.created}
	a.Allocated = (e.size + v.cluster - 1) / v.cluster * v.cluster
	switch {
	case e.folder():
		a.Mode = unix.S_IFDIR | 0o755
		for part, err := range v.folderParts(e) {
			if err != nil {
				a.Size = 0
				break
			}
			a.Size += part.Len
		}
		a.Allocated = a.Size
	case e.attrs&attrReadOnly != 0:
		a.Mode = unix.S_IFREG | 0o444
	default:
		a.Mode = unix.S_IFREG | 0o644
	}
	return a, nil
}

// Open returns the content of a file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	e, err := v.entry(ino)
	if err != nil {
		return nil, err
	}
	if e.folder() {
		return nil, fmt.Errorf("folder %d is not a regular file: %w", ino, fs.ErrInvalid)
	}
	c := &clusters.Chain{Space: &v.space, What: fmt.Sprintf("file %d", e.ino), At: e.at(), First: e.cluster, Size: e.size, Written: e.size}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Readlink fails: FAT has no links.
func (v *volume) Readlink(ino uint64) (string, error) {
	if _, err := v.entry(ino); err != nil {
		return "", err
	}
	return "", fmt.Errorf("file %d is not a symbolic link: %w", ino, fs.ErrInvalid)
}

// Xattrs returns none: FAT has no extended attributes.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	_, err := v.entry(ino)
	return nil, err
}

// Xattr finds none.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	return nil, fmt.Errorf("attribute %s of file %d: %w", name, ino, fs.ErrNotExist)
}
