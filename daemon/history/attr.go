package history

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"github.com/holdfast-backup/holdfast/daemon/api"
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
	more   [sha256.Size]byte // extended attributes and further streams
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
	if err := sumAttributes(h, fs, at.Ino); err != nil {
		return m, err
	}
	h.Sum(m.more[:0])
	return m, nil
}

// sumAttributes adds the extended attributes of an inode to a sum, and its further streams as far as they
// are none of those.
func sumAttributes(h hash.Hash, fs tree.FileSystem, ino uint64) error {
	names, err := fs.Xattrs(ino)
	if err != nil {
		return err
	}
	for _, name := range names {
		value, err := fs.Xattr(ino, name)
		var not *tree.UnsupportedError
		if errors.As(err, &not) { // a stream that is too long for one, which is read below, or nothing can read it
			put(h, name, -1)
			continue
		}
		if err != nil {
			return err
		}
		put(h, name, int64(len(value)))
		h.Write(value)
	}
	s, ok := fs.(tree.Streamer)
	if !ok {
		return nil
	}
	streams, err := s.Streams(ino)
	if err != nil {
		return err
	}
	for _, one := range streams {
		put(h, one.Name, one.Size)
		if one.Size <= maxAttribute {
			continue // it was an attribute
		}
		f, err := s.OpenStream(ino, one.Name)
		if err == nil {
			_, err = io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, one.Size), make([]byte, readSize))
		}
		var not *tree.UnsupportedError
		if err != nil && !errors.As(err, &not) {
			return err
		}
	}
	return nil
}

// maxAttribute is how long an extended attribute can be, in bytes, as Linux has it.
const maxAttribute = 64 << 10

// put adds a name and a number to a sum, so that no others give the same.
func put(h hash.Hash, name string, n int64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(name)))
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	h.Write(b[:])
	h.Write([]byte(name))
}

// kind is the type of an inode in a word of daemon/api.
func (m *meta) kind() string { return api.FileType(m.Mode) }

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
