package ntfs

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	userPrefix = "user."

	// maxXattr is the most that Linux lets an extended attribute have.
	maxXattr = 64 << 10

	// wofStream is what WOF keeps its compressed content in: no stream of the user's.
	wofStream = "WofCompressedData"
)

// streamNames returns the names of the alternate data streams, sorted.
func (v *volume) streamNames(n *inode) []string {
	var names []string
	for _, e := range n.all {
		if e.kind == kindData && e.name != "" && e.name != wofStream && !strings.Contains(e.name, "\x00") {
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Streams returns the alternate data streams of a file or folder.
func (v *volume) Streams(ino uint64) ([]tree.Stream, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return nil, err
	}
	var all []tree.Stream
	for _, name := range v.streamNames(n) {
		a, _, err := v.attribute(n, n.parts(kindData, name)[0])
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		all = append(all, tree.Stream{Name: name, Size: max(a.size, int64(len(a.value)))})
	}
	return all, nil
}

// OpenStream opens an alternate data stream by its exact name.
func (v *volume) OpenStream(ino uint64, name string) (tree.File, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(v.streamNames(n), name) {
		return nil, fmt.Errorf("stream %s of %s: %w", name, n, fs.ErrNotExist)
	}
	s, err := v.stream(n, kindData, name)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Xattrs returns the names of the streams, with user. before each.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return nil, err
	}
	names := v.streamNames(n)
	for i := range names {
		names[i] = userPrefix + names[i]
	}
	return names, nil
}

// Xattr returns a stream of up to 64 KiB, or one of the attributes that are not
// listed: system.ntfs_attrib, system.ntfs_attrib_be, system.ntfs_reparse_data.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	n, err := v.resolve(ino)
	if err != nil {
		return nil, err
	}
	stream, user := strings.CutPrefix(name, userPrefix)
	switch {
	case user && slices.Contains(v.streamNames(n), stream):
		return v.smallStream(n, stream)
	case name == "system.ntfs_attrib":
		attributes, err := v.dosAttributes(n)
		return le.AppendUint32(nil, attributes), err
	case name == "system.ntfs_attrib_be":
		attributes, err := v.dosAttributes(n)
		return binary.BigEndian.AppendUint32(nil, attributes), err
	case name == "system.ntfs_reparse_data" && len(n.parts(kindReparse, "")) > 0:
		return v.value(n, kindReparse, "", maxReparse+reparseHeader)
	}
	return nil, fmt.Errorf("attribute %s of %s: %w", name, n, fs.ErrNotExist)
}

func (v *volume) smallStream(n *inode, name string) ([]byte, error) {
	s, err := v.stream(n, kindData, name)
	if err != nil {
		return nil, err
	}
	if s.size > maxXattr {
		return nil, &tree.UnsupportedError{What: fmt.Sprintf("stream %s of %s", name, n),
			Why: fmt.Sprintf("it has %d bytes, an extended attribute at most %d: it is readable as a stream", s.size, maxXattr)}
	}
	return v.value(n, kindData, name, maxXattr)
}

func (v *volume) dosAttributes(n *inode) (uint32, error) {
	s, err := v.standard(n)
	if err != nil {
		return 0, notMissing(err, n)
	}
	a := s.attributes &^ (attrDirectory | nameOfFolder)
	if n.dir {
		a |= attrDirectory
	}
	if a == 0 {
		a = attrNormal
	}
	return a, nil
}
