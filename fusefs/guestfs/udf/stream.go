package udf

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	userPrefix = "user."
	maxXattr   = 64 << 10 // the most that Linux lets an extended attribute have
	maxStreams = 4096     // of one file
)

// streams returns the entries of a file's named streams.
func (v *volume) streams(ino uint64) (map[string]*entry, error) {
	e, err := v.entry(ino)
	if err != nil || e.streams.length == 0 {
		return nil, err
	}
	dir, err := v.readEntry(e.streams.ref, e.streams.block, 0)
	if err != nil {
		return nil, fmt.Errorf("streams of file %d: %w", ino, err)
	}
	if dir.kind != typeStreams || dir.size > maxFolder {
		return nil, corrupt(fmt.Sprintf("the streams of file %d", ino), dir.at, "they are a file of kind %d with %d bytes", dir.kind, dir.size)
	}
	all := map[string]*entry{}
	for i, err := range v.list(dir) {
		if err != nil {
			return nil, err
		}
		if len(all) == maxStreams {
			return nil, &tree.UnsupportedError{What: fmt.Sprintf("file %d", ino), Why: fmt.Sprintf("it has more than %d streams", maxStreams)}
		}
		s, err := v.readEntry(i.icb.ref, i.icb.block, 0)
		if err != nil {
			return nil, fmt.Errorf("stream %q of file %d: %w", i.name, ino, err)
		}
		all[i.name] = s
	}
	return all, nil
}

// Streams returns the named streams of a file or folder.
func (v *volume) Streams(ino uint64) ([]tree.Stream, error) {
	all, err := v.streams(ino)
	var list []tree.Stream
	for name, e := range all {
		list = append(list, tree.Stream{Name: name, Size: e.size})
	}
	slices.SortFunc(list, func(a, b tree.Stream) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

// OpenStream opens a named stream.
func (v *volume) OpenStream(ino uint64, name string) (tree.File, error) {
	all, err := v.streams(ino)
	if err != nil {
		return nil, err
	}
	if all[name] == nil {
		return nil, fmt.Errorf("stream %s of file %d: %w", name, ino, fs.ErrNotExist)
	}
	f, err := v.content(all[name])
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Xattrs returns the names of the streams that are the user's, with user. before each.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	all, err := v.Streams(ino)
	var list []string
	for _, s := range all {
		if !strings.HasPrefix(s.Name, "*UDF ") {
			list = append(list, userPrefix+s.Name)
		}
	}
	return list, err
}

// Xattr returns a stream of up to 64 KiB.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	all, err := v.streams(ino)
	if err != nil {
		return nil, err
	}
	stream, _ := strings.CutPrefix(name, userPrefix)
	e := all[stream]
	if e == nil || stream == name || strings.HasPrefix(stream, "*UDF ") {
		return nil, fmt.Errorf("attribute %s of file %d: %w", name, ino, fs.ErrNotExist)
	}
	if e.size > maxXattr {
		return nil, &tree.UnsupportedError{What: fmt.Sprintf("stream %s of file %d", stream, ino), Why: fmt.Sprintf("it has %d bytes, too many for an attribute", e.size)}
	}
	f, err := v.content(e)
	if err != nil {
		return nil, err
	}
	b := make([]byte, e.size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	return b, nil
}
