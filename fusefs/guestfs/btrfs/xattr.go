package btrfs

import (
	"fmt"
	"io/fs"
	"slices"
)

// maxXattrs bounds the names of one inode, in bytes.
const maxXattrs = 4 << 20

// Xattrs implements tree.FileSystem. Names are stored whole, ACLs as Linux gives them.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	i, err := v.stat(inside(ino))
	if err != nil || i.id == emptyFolder {
		return nil, err
	}
	var names []string
	taken := 0
	for x, err := range i.s.scan(key{i.id, typeXattr, 0}, key{i.id, typeXattr, lastKey.off}) {
		if err != nil {
			return names, fmt.Errorf("attributes of %v: %w", i.inodeNumber, err)
		}
		for e, err := range entriesOf(x.b, "an attribute of "+i.String()) {
			if err != nil {
				return names, err
			}
			if taken += len(e.name) + 16; taken > maxXattrs {
				return names, unsupported("the attributes of "+i.String(), "there are too many")
			}
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Xattr implements tree.FileSystem.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	i, err := v.stat(inside(ino))
	if err != nil {
		return nil, err
	}
	if i.id != emptyFolder {
		e, ok, err := i.s.named(key{i.id, typeXattr, nameHash(name)}, name, "an attribute of "+i.String())
		if err != nil || ok {
			return slices.Clone(e.value), err
		}
	}
	return nil, fmt.Errorf("no attribute %q of %v: %w", name, i.inodeNumber, fs.ErrNotExist)
}
