package btrfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	typeRootBackref = 144
	maxSubvolumes   = 100000 // that are listed
	maxDepth        = 256    // of folders above a subvolume
)

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Subvolumes implements tree.Subvolumer. They are listed once.
func (v *volume) Subvolumes() ([]tree.Subvolume, error) {
	v.listing.Do(func() { v.listed, v.listErr = v.listSubvolumes() })
	return slices.Clone(v.listed), v.listErr
}

func (v *volume) listSubvolumes() ([]tree.Subvolume, error) {
	chosen := v.defaultSubvolume()
	all := []tree.Subvolume{{ID: topLevel, Root: firstFree, Default: chosen == topLevel}}
	for i, err := range v.roots.scan(key{firstFree, typeRootBackref, 0}, key{lastFree, 255, lastKey.off}) {
		if err != nil {
			return all, err
		}
		if i.kind != typeRootBackref {
			continue
		}
		if len(all) == maxSubvolumes {
			return all, unsupported("the list of subvolumes", "it has more than %d", maxSubvolumes)
		}
		s, err := v.subvolume(i.id)
		if err != nil {
			continue // deleted, or damaged: its folder tells
		}
		ino, err := inodeNumber{i.id, s.rootDir}.outside()
		if err != nil {
			continue
		}
		at, err := v.pathOf(i)
		if err != nil {
			continue
		}
		all = append(all, tree.Subvolume{ID: i.id, Path: at, Root: ino, Default: i.id == chosen, ReadOnly: s.readOnly, Snapshot: s.snapshot})
	}
	return all, nil
}

// defaultSubvolume is what mount(8) shows where nobody names one.
func (v *volume) defaultSubvolume() uint64 {
	const name = "default"
	i, ok, err := v.roots.get(key{v.rootDir, typeDirItem, nameHash(name)})
	if err == nil && ok {
		for e, err := range entriesOf(i.b, "the name of the default subvolume") {
			if err == nil && e.name == name && e.target.kind == typeRoot {
				return e.target.id
			}
		}
	}
	return topLevel
}

// pathOf puts together where a subvolume lies below the top level, from its backward
// reference up. Layout: btrfs_root_ref.
func (v *volume) pathOf(ref item) (string, error) {
	var names []string
	for range maxDepth {
		if len(ref.b) < rootRefHeader {
			return "", corrupt(fmt.Sprintf("the reference of subvolume %d", ref.id), "it has %d bytes", len(ref.b))
		}
		names = append(names, string(ref.b[rootRefHeader:]))
		above, err := v.foldersAbove(inodeNumber{ref.off, le.Uint64(ref.b)})
		if err != nil {
			return "", err
		}
		names = append(names, above...)
		if ref.off == topLevel {
			slices.Reverse(names)
			return path.Join(names...), nil
		}
		next := key{ref.off, typeRootBackref, lastKey.off}
		var ok bool
		if ref, ok, err = v.roots.floor(next, key{ref.off, typeRootBackref, 0}); err != nil || !ok {
			return "", errors.Join(err, fs.ErrNotExist)
		}
	}
	return "", corrupt("the list of subvolumes", "they lie in each other")
}

// foldersAbove are the names of a folder and those above it in its subvolume, the
// lowest first.
func (v *volume) foldersAbove(n inodeNumber) ([]string, error) {
	s, err := v.subvolume(n.root)
	if err != nil {
		return nil, err
	}
	var names []string
	for range maxDepth {
		if n.id == s.rootDir {
			return names, nil
		}
		i, ok, err := s.floor(key{n.id, typeInodeRef, lastKey.off}, key{n.id, typeInodeRef, 0})
		if err != nil || !ok {
			return nil, errors.Join(err, fs.ErrNotExist)
		}
		refs, err := parseRefs(i)
		if err != nil || len(refs) == 0 {
			return nil, errors.Join(err, fs.ErrNotExist)
		}
		names = append(names, refs[0].name)
		n.id = refs[0].dir
	}
	return nil, corrupt("the folders above "+n.String(), "they lie in each other")
}

// noteDefault says where the guest's own root is, unless it is the top level.
func (v *volume) noteDefault() {
	chosen := v.defaultSubvolume()
	if chosen == topLevel {
		return
	}
	at := fmt.Sprintf("the one with the id %d", chosen)
	if i, ok, err := v.roots.floor(key{chosen, typeRootBackref, lastKey.off}, key{chosen, typeRootBackref, 0}); err == nil && ok {
		if p, err := v.pathOf(i); err == nil {
			at = strings.ToValidUTF8(p, "�")
		}
	}
	v.note("its default subvolume is " + at + "; all are shown, from the top level")
}
