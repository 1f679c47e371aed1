package btrfs

import (
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const entryHeader = 30

// entryTypes are the types that folders hold, by their number.
var entryTypes = [...]uint32{0, typeRegular, typeFolder, typeChar, typeBlock, 0o010000, 0o140000, typeLink}

// entry is a name with what it stands for: of a folder, or an attribute with its value.
type entry struct {
	name   string
	target key // of a folder's: an inode or a subvolume
	kind   byte
	value  []byte
	raw    []byte // all of it
}

// entriesOf reads the entries that stand under one key: several where their names have
// one hash. Layout: btrfs_dir_item.
func entriesOf(b []byte, what string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for rest := b; len(rest) > 0; {
			if len(rest) < entryHeader {
				yield(entry{}, corrupt(what, "%d bytes are left over", len(rest)))
				return
			}
			data, name := int(le.Uint16(rest[25:])), int(le.Uint16(rest[27:]))
			size := entryHeader + name + data
			if name == 0 || name > maxNameBytes || size > len(rest) {
				yield(entry{}, corrupt(what, "a name of %d and a value of %d bytes in %d", name, data, len(rest)))
				return
			}
			e := entry{string(rest[entryHeader : entryHeader+name]), parseKey(rest), rest[29], rest[entryHeader+name : size], rest[:size]}
			if !yield(e, nil) {
				return
			}
			rest = rest[size:]
		}
	}
}

// folder finds an inode that must be one.
func (v *volume) folder(ino uint64) (*inode, error) {
	i, err := v.stat(inside(ino))
	if err == nil && !i.is(typeFolder) {
		err = unsupported(i.String(), "it is not a folder")
	}
	return i, err
}

// target is the inode that a name of a folder stands for.
func (v *volume) target(dir *inode, e entry) (uint64, error) {
	to := inodeNumber{dir.root, e.target.id}
	switch e.target.kind {
	case typeInode:
	case typeRoot:
		var err error
		if to, err = v.enter(dir.inodeNumber, e.name, e.target.id); err != nil {
			return 0, err
		}
	default:
		return 0, dir.bad("its entry %q leads to an item of kind %d", e.name, e.target.kind)
	}
	return to.outside()
}

// ReadDir implements tree.FileSystem: in the order in which the names were made.
func (v *volume) ReadDir(ino uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		dir, err := v.folder(ino)
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		if dir.id == emptyFolder {
			return
		}
		what := "folder " + dir.String()
		for i, err := range dir.s.scan(key{dir.id, typeDirIndex, 0}, key{dir.id, typeDirIndex, lastKey.off}) {
			if err != nil {
				yield(tree.Entry{}, fmt.Errorf("%s: %w", what, err))
				return
			}
			for e, err := range entriesOf(i.b, what) {
				if !yield(v.listed1(dir, e, err)) {
					return
				}
				break // an index has one
			}
		}
	}
}

// listed1 is an entry as it is listed.
func (v *volume) listed1(dir *inode, e entry, err error) (tree.Entry, error) {
	out := tree.Entry{Name: e.name}
	if err != nil {
		return out, err
	}
	if int(e.kind) < len(entryTypes) {
		out.Type = entryTypes[e.kind]
	}
	if e.kind&0x80 != 0 {
		return out, unsupported(dir.String(), "the name of an entry is encrypted")
	}
	if e.name == "." || e.name == ".." || strings.ContainsAny(e.name, "/\x00") {
		return out, dir.bad("it has an entry with the name %q, which none can have", e.name)
	}
	out.Ino, err = v.target(dir, e)
	return out, err
}

// Lookup implements tree.FileSystem, by the hash of the name.
func (v *volume) Lookup(ino uint64, name string) (uint64, error) {
	dir, err := v.folder(ino)
	if err != nil {
		return 0, err
	}
	absent := fmt.Errorf("no %q in folder %v: %w", name, dir.inodeNumber, fs.ErrNotExist)
	if name == "" || name == "." || name == ".." || len(name) > maxNameBytes || dir.id == emptyFolder {
		return 0, absent
	}
	e, ok, err := dir.s.named(key{dir.id, typeDirItem, nameHash(name)}, name, "folder "+dir.String())
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, absent
	}
	return v.target(dir, e)
}

// named finds the entry with that name among those under a key.
func (t *table) named(k key, name, what string) (entry, bool, error) {
	i, ok, err := t.get(k)
	if err != nil || !ok {
		return entry{}, false, err
	}
	for e, err := range entriesOf(i.b, what) {
		if err != nil || e.name == name {
			return e, err == nil, err
		}
	}
	return entry{}, false, nil
}
