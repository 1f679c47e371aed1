package btrfs

import (
	"fmt"
	"io/fs"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	rootItemSize   = 239 // what every version of a root item has
	rootItemUUIDs  = 279 // with the ids of the subvolume and of what it is a snapshot of
	rootReadOnly   = 1
	rootDeleted    = 1 << 48
	rootRefHeader  = 18
	subvolumeBytes = 256 // of memory

	numberBits = 40 // of an inode within its subvolume
	rootBits   = 24
)

// inodeNumber is an inode of a subvolume.
type inodeNumber struct{ root, id uint64 }

// outside is the number by which others know an inode.
func (n inodeNumber) outside() (uint64, error) {
	if n.id >= 1<<numberBits || n.root >= 1<<rootBits {
		return 0, unsupported(n.String(), "its number is larger than those that are read here")
	}
	if n.root == topLevel {
		return n.id, nil
	}
	return n.root<<numberBits | n.id, nil
}

func inside(ino uint64) inodeNumber {
	n := inodeNumber{ino >> numberBits, ino & (1<<numberBits - 1)}
	if n.root == 0 {
		n.root = topLevel
	}
	return n
}

func (n inodeNumber) String() string {
	if n.root == topLevel {
		return fmt.Sprintf("inode %d", n.id)
	}
	return fmt.Sprintf("inode %d of subvolume %d", n.id, n.root)
}

// subvolume is a tree of files.
type subvolume struct {
	table
	id       uint64
	readOnly bool
	snapshot bool // of another
	rootDir  uint64
}

// rootItem finds the newest root of a tree. Layout: btrfs_root_item.
func (v *volume) rootItem(id uint64) (item, nodePointer, error) {
	i, ok, err := v.roots.floor(key{id, typeRoot, lastKey.off}, key{id, typeRoot, 0})
	if err != nil {
		return i, nodePointer{}, fmt.Errorf("look for tree %d: %w", id, err)
	}
	if !ok {
		return i, nodePointer{}, fmt.Errorf("tree %d: %w", id, fs.ErrNotExist)
	}
	p, err := rootPointer(i, fmt.Sprintf("the root of tree %d", id))
	return i, p, err
}

func rootPointer(i item, what string) (nodePointer, error) {
	if len(i.b) < rootItemSize {
		return nodePointer{}, corrupt(what, "it has %d bytes", len(i.b))
	}
	p := nodePointer{le.Uint64(i.b[176:]), le.Uint64(i.b[160:]), int(i.b[238])}
	if p.level > maxLevel {
		return p, corrupt(what, "it has %d levels", p.level+1)
	}
	return p, nil
}

// subvolume opens a subvolume: fs.ErrNotExist where there is none, or it was deleted.
func (v *volume) subvolume(id uint64) (*subvolume, error) {
	if s, ok := v.subs.Get(id); ok {
		return s, nil
	}
	if id != topLevel && (id < firstFree || id > lastFree) {
		return nil, fmt.Errorf("subvolume %d: %w", id, fs.ErrNotExist)
	}
	i, p, err := v.rootItem(id)
	if err != nil {
		return nil, err
	}
	flags := le.Uint64(i.b[208:])
	if le.Uint32(i.b[216:]) == 0 || flags&rootDeleted != 0 {
		return nil, fmt.Errorf("subvolume %d was deleted: %w", id, fs.ErrNotExist)
	}
	s := &subvolume{table: table{v: v, root: p, over: v.logged[id]}, id: id, readOnly: flags&rootReadOnly != 0, rootDir: max(le.Uint64(i.b[168:]), firstFree)}
	if len(i.b) >= rootItemUUIDs {
		s.snapshot = [16]byte(i.b[263:279]) != [16]byte{}
	}
	v.subs.Put(id, s, subvolumeBytes)
	return s, nil
}

// Root implements tree.FileSystem: the top level, below which every subvolume is.
func (v *volume) Root() uint64 { return firstFree }

// enter returns the root folder of a subvolume that a folder names. Where the name is
// left over in a snapshot of the one around it, that is an empty folder.
func (v *volume) enter(dir inodeNumber, name string, child uint64) (inodeNumber, error) {
	empty := inodeNumber{dir.root, emptyFolder}
	i, ok, err := v.roots.get(key{dir.root, typeRootRef, child})
	if err != nil {
		return empty, err
	}
	if !ok || len(i.b) < rootRefHeader || le.Uint64(i.b) != dir.id || string(i.b[rootRefHeader:]) != name {
		return empty, nil
	}
	s, err := v.subvolume(child)
	if isAbsent(err) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	return inodeNumber{child, s.rootDir}, nil
}

// findSums opens the tree of data checksums, which may be missing.
func (v *volume) findSums() error {
	_, p, err := v.rootItem(sumTree)
	if isAbsent(err) {
		v.note("it has no tree of checksums: data is given unchecked")
		return nil
	}
	v.sumRoot = &table{v: v, root: p}
	return err
}

var _ tree.Subvolumer = (*volume)(nil)
