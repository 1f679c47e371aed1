package squashfs

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxXattrs   = 10_000 // of one inode
	maxValue    = 64 << 10
	elsewhere   = 1 << 8 // the value is a reference to where it lies
	xattrsOfOne = 1 << 20
)

var prefixes = []string{"user.", "trusted.", "security."}

// xattrTable says where extended attributes are; count is 0 when there are none.
type xattrTable struct {
	start int64 // of the names and values
	list  int64 // of places of the table's metadata blocks
	count int64
}

func (v *volume) readXattrTable() error {
	if v.xattrTable < 0 {
		return nil
	}
	b := make([]byte, 16)
	if err := tree.ReadFull(v.r, b, v.xattrTable); err != nil {
		return fmt.Errorf("their table at %d of the volume: %w", v.xattrTable, err)
	}
	start := le.Uint64(b)
	if start < superSize || start > uint64(v.end) {
		return &tree.CorruptError{What: "the table of extended attributes", Why: fmt.Sprintf("it begins at %d", start), At: v.xattrTable}
	}
	v.xattrs = xattrTable{int64(start), v.xattrTable + 16, int64(le.Uint32(b[8:]))}
	return nil
}

// attributes reads all attributes of an inode.
func (v *volume) attributes(ino uint64) (map[string][]byte, error) {
	n, err := v.inode(ino)
	if err != nil || n.xattrs == noXattrs || v.xattrs.count == 0 {
		return nil, err
	}
	if int64(n.xattrs) >= v.xattrs.count {
		return nil, n.corrupt(v, "its attributes are number %d of %d", n.xattrs, v.xattrs.count)
	}
	e, err := v.entryOf(v.xattrs.list, int64(n.xattrs), 16)
	if err != nil {
		return nil, err
	}
	count := le.Uint32(e[8:])
	if count > maxXattrs {
		return nil, n.corrupt(v, "it has %d attributes", count)
	}
	c, err := v.seekRef(v.xattrs.start, le.Uint64(e))
	if err != nil {
		return nil, err
	}
	all, total := map[string][]byte{}, 0
	for range count {
		name, value, err := v.attribute(c)
		if err != nil {
			return nil, fmt.Errorf("attributes of inode %d: %w", ino, err)
		}
		if total += len(name) + len(value); total > xattrsOfOne {
			return nil, n.corrupt(v, "its attributes take more than %d bytes", xattrsOfOne)
		}
		if name != "" {
			all[name] = value
		}
	}
	return all, nil
}

// attribute reads the next one; of a kind that is not known it has no name.
func (v *volume) attribute(c *cursor) (string, []byte, error) {
	b, err := c.take(4)
	if err != nil {
		return "", nil, err
	}
	kind, name := le.Uint16(b), ""
	if b, err = c.take(int(le.Uint16(b[2:]))); err != nil {
		return "", nil, err
	}
	if prefix := int(kind &^ elsewhere); prefix < len(prefixes) {
		name = prefixes[prefix] + string(b)
	}
	value, err := takeValue(c)
	if err != nil || kind&elsewhere == 0 {
		return name, value, err
	}
	if len(value) != 8 {
		return "", nil, &tree.CorruptError{What: "an extended attribute", Why: fmt.Sprintf("its reference has %d bytes", len(value)), At: v.xattrs.start}
	}
	there, err := v.seekRef(v.xattrs.start, le.Uint64(value))
	if err != nil {
		return "", nil, err
	}
	value, err = takeValue(there)
	return name, value, err
}

func takeValue(c *cursor) ([]byte, error) {
	b, err := c.take(4)
	if err != nil {
		return nil, err
	}
	size := le.Uint32(b)
	if size > maxValue {
		return nil, &tree.CorruptError{What: "an extended attribute", Why: fmt.Sprintf("it has %d bytes", size), At: c.v.xattrs.start}
	}
	return c.take(int(size))
}

// Xattrs returns the names of the extended attributes, sorted.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	all, err := v.attributes(ino)
	return slices.Sorted(maps.Keys(all)), err
}

// Xattr returns the value of one.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	all, err := v.attributes(ino)
	if err != nil {
		return nil, err
	}
	value, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("attribute %s of inode %d: %w", name, ino, fs.ErrNotExist)
	}
	return slices.Clone(value), nil
}
