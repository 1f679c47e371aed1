package squashfs

import (
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	extended   = 7 // kinds from 8 on are those of 1 to 7 with more
	noXattrs   = 1<<32 - 1
	noFragment = 1<<32 - 1
	maxTarget  = 65536
)

// Kinds of inodes.
const (
	kindFolder = iota + 1
	kindFile
	kindLink
	kindBlock
	kindChar
	kindFIFO
	kindSocket
)

var typeOf = [...]uint32{kindFolder: unix.S_IFDIR, kindFile: unix.S_IFREG, kindLink: unix.S_IFLNK, kindBlock: unix.S_IFBLK,
	kindChar: unix.S_IFCHR, kindFIFO: unix.S_IFIFO, kindSocket: unix.S_IFSOCK}

// inode is one of the table.
type inode struct {
	ino      uint64
	kind     int
	attr     tree.Attr
	xattrs   uint32 // index, or noXattrs
	start    int64  // of a file's blocks; of a folder's metadata block from the table's begin
	offset   int    // within that, or within the fragment
	fragment uint32
	sparse   int64
	target   string  // of a link
	list     *cursor // where a file's list of blocks begins
}

func (v *volume) inode(ino uint64) (*inode, error) {
	if ino == 0 {
		return nil, fmt.Errorf("inode 0: %w", fs.ErrNotExist)
	}
	c, err := v.seekRef(v.inodeTable, ino-1)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	head, err := c.take(16)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	n := &inode{ino: ino, kind: int(le.Uint16(head)), xattrs: noXattrs, fragment: noFragment}
	long := n.kind > extended
	if long {
		n.kind -= extended
	}
	if n.kind < kindFolder || n.kind > kindSocket {
		return nil, n.corrupt(v, "it is of kind %d", le.Uint16(head))
	}
	n.attr = tree.Attr{Ino: ino, Mode: typeOf[n.kind] | uint32(le.Uint16(head[2:])&0o7777), Mtime: time.Unix(int64(le.Uint32(head[8:])), 0).UTC()}
	if n.attr.UID, err = v.id(le.Uint16(head[4:])); err == nil {
		n.attr.GID, err = v.id(le.Uint16(head[6:]))
	}
	if err == nil {
		err = n.parse(v, c, long)
	}
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	return n, nil
}

func (n *inode) corrupt(v *volume, why string, args ...any) error {
	return &tree.CorruptError{What: fmt.Sprintf("inode %d", n.ino), Why: fmt.Sprintf(why, args...), At: v.inodeTable + int64((n.ino-1)>>16)}
}

// parse reads what only inodes of its kind have.
func (n *inode) parse(v *volume, c *cursor, long bool) error {
	switch {
	case n.kind == kindFolder:
		return n.parseFolder(v, c, long)
	case n.kind == kindFile:
		return n.parseFile(v, c, long)
	case n.kind == kindLink:
		return n.parseLink(v, c, long)
	}
	size := 4
	if n.kind == kindBlock || n.kind == kindChar {
		size = 8
	}
	b, err := c.take(size)
	if err != nil {
		return err
	}
	n.attr.Nlink = le.Uint32(b)
	if size == 8 {
		device := uint64(le.Uint32(b[4:]))
		n.attr.Major, n.attr.Minor = unix.Major(device), unix.Minor(device)
	}
	return n.parseXattrs(c, long)
}

func (n *inode) parseXattrs(c *cursor, long bool) error {
	if !long {
		return nil
	}
	b, err := c.take(4)
	if err == nil {
		n.xattrs = le.Uint32(b)
	}
	return err
}

func (n *inode) parseFolder(v *volume, c *cursor, long bool) error {
	var size int64
	if !long {
		b, err := c.take(16)
		if err != nil {
			return err
		}
		n.start, n.attr.Nlink, size, n.offset = int64(le.Uint32(b)), le.Uint32(b[4:]), int64(le.Uint16(b[8:])), int(le.Uint16(b[10:]))
	} else {
		b, err := c.take(24)
		if err != nil {
			return err
		}
		n.attr.Nlink, size, n.start, n.offset, n.xattrs = le.Uint32(b), int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:])), int(le.Uint16(b[18:])), le.Uint32(b[20:])
	}
	if n.attr.Size = size; size > maxFolder {
		return n.corrupt(v, "it is a folder of %d bytes", size)
	}
	return nil
}

func (n *inode) parseFile(v *volume, c *cursor, long bool) error {
	if !long {
		b, err := c.take(16)
		if err != nil {
			return err
		}
		n.attr.Nlink = 1
		n.start, n.fragment, n.offset, n.attr.Size = int64(le.Uint32(b)), le.Uint32(b[4:]), int(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	} else {
		b, err := c.take(40)
		if err != nil {
			return err
		}
		n.start, n.attr.Size, n.sparse = int64(le.Uint64(b)), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))
		n.attr.Nlink, n.fragment, n.offset, n.xattrs = le.Uint32(b[24:]), le.Uint32(b[28:]), int(le.Uint32(b[32:])), le.Uint32(b[36:])
	}
	if n.attr.Size < 0 || n.start < 0 || n.start > v.end {
		return n.corrupt(v, "it has %d bytes, which begin at %d", n.attr.Size, n.start)
	}
	n.attr.Allocated = n.attr.Size - min(max(n.sparse, 0), n.attr.Size)
	n.list = c
	return nil
}

func (n *inode) parseLink(v *volume, c *cursor, long bool) error {
	b, err := c.take(8)
	if err != nil {
		return err
	}
	n.attr.Nlink = le.Uint32(b)
	size := le.Uint32(b[4:])
	if size > maxTarget {
		return n.corrupt(v, "its target has %d bytes", size)
	}
	if b, err = c.take(int(size)); err != nil {
		return err
	}
	n.target, n.attr.Size = string(b), int64(size)
	return n.parseXattrs(c, long)
}

// Stat returns what an inode says. Only one time is kept: that of the last change.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	n, err := v.inode(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	return n.attr, nil
}

// Readlink returns the target of a symbolic link.
func (v *volume) Readlink(ino uint64) (string, error) {
	n, err := v.inode(ino)
	if err == nil && n.kind != kindLink {
		err = fmt.Errorf("inode %d is not a symbolic link: %w", ino, fs.ErrInvalid)
	}
	if err != nil {
		return "", err
	}
	return n.target, nil
}
