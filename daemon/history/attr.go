package history

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// The types in a mode, as stat(2) has them.
const (
	typeMask = 0o170000
	typeDir  = 0o040000
	typeLink = 0o120000
	typeFile = 0o100000
)

// meta is what is kept of a file beside its content.
type meta struct {
	tree.Attr
	target string            // of a link
	more   [sha256.Size]byte // extended attributes, and the names and sizes of further streams
}

// metaOf reads what the inode of a place says.
func metaOf(at guestfs.Place) (m meta, err error) {
	if m.Attr, err = at.Stat(); err != nil {
		return m, err
	}
	if m.Mode&typeMask == typeLink {
		if m.target, err = at.Readlink(); err != nil {
			return m, err
		}
	}
	fs, err := at.Volume.FS()
	if err != nil {
		return m, err
	}
	h := sha256.New()
	names, err := fs.Xattrs(at.Ino)
	if err != nil {
		return m, err
	}
	for _, name := range names {
		value, err := fs.Xattr(at.Ino, name)
		if err != nil {
			return m, err
		}
		put(h, name, int64(len(value)))
		h.Write(value)
	}
	if s, ok := fs.(tree.Streamer); ok {
		list, err := s.Streams(at.Ino)
		if err != nil {
			return m, err
		}
		for _, stream := range list {
			put(h, stream.Name, stream.Size)
		}
	}
	h.Sum(m.more[:0])
	return m, nil
}

// put adds a name and a number to a sum, so that no others give the same.
func put(h hash.Hash, name string, n int64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(name)))
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	h.Write(b[:])
	h.Write([]byte(name))
}

// kind is the type of an inode in a word of daemon/api.
func (m *meta) kind() string {
	switch m.Mode & typeMask {
	case typeFile:
		return "file"
	case typeDir:
		return "folder"
	case typeLink:
		return "link"
	case 0o060000:
		return "block"
	case 0o020000:
		return "char"
	case 0o010000:
		return "pipe"
	case 0o140000:
		return "socket"
	}
	return "unknown"
}

// What differs, in the words of daemon/api.
const (
	changeCreated    = "created"
	changeRemoved    = "removed"
	changeType       = "type"
	changeContent    = "content"
	changeTarget     = "target"
	changeNames      = "names"
	changeDevice     = "device"
	changeMode       = "mode"
	changeOwner      = "owner"
	changeModified   = "modified"
	changeAttributes = "attributes"
)

// changes from m to n, but for the content.
func (m *meta) changes(n *meta) []string {
	var list []string
	add := func(what string, differs bool) {
		if differs {
			list = append(list, what)
		}
	}
	add(changeTarget, m.target != n.target)
	add(changeDevice, m.Major != n.Major || m.Minor != n.Minor)
	add(changeMode, (m.Mode^n.Mode)&0o7777 != 0)
	add(changeOwner, m.UID != n.UID || m.GID != n.GID)
	add(changeModified, !m.Mtime.Equal(n.Mtime))
	add(changeAttributes, m.more != n.more)
	return list
}

// sameInode tells whether two places that have the same number are one file: a number
// that was given away and taken again has another time of birth, where that is kept.
func (m *meta) sameInode(n *meta) bool {
	return m.Ino == n.Ino && (m.Mode^n.Mode)&typeMask == 0 && m.Btime.Equal(n.Btime)
}
