package btrfs

import (
	"bytes"
	"fmt"
	"slices"
)

// link adds a name to a folder; with its reference, if that is not to be written by
// itself.
func (r *logReplay) link(dir, index uint64, name string, id uint64, reference bool) error {
	i, ok, err := r.to.get(key{id, typeInode, 0})
	if err != nil || !ok || len(i.b) < inodeItemSize {
		return err
	}
	b := make([]byte, entryHeader, entryHeader+len(name))
	le.PutUint64(b, id)
	b[8] = typeInode
	le.PutUint64(b[17:], r.v.generation+1)
	le.PutUint16(b[27:], uint16(len(name)))
	b[29] = byte(max(slices.Index(entryTypes[:], le.Uint32(i.b[52:])&typeMask), 0))
	b = append(b, name...)
	r.to.over.set(key{dir, typeDirIndex, index}, b)
	if err := r.append(key{dir, typeDirItem, nameHash(name)}, b); err != nil {
		return err
	}
	if reference {
		b := le.AppendUint64(nil, index)
		b = append(le.AppendUint16(b, uint16(len(name))), name...)
		if err := r.append(key{id, typeInodeRef, dir}, b); err != nil {
			return err
		}
	}
	r.changed[id] = true
	return r.grow(dir, 2*int64(len(name)))
}

// append puts bytes behind those of an item.
func (r *logReplay) append(k key, b []byte) error {
	old, ok, err := r.to.get(k)
	if err != nil {
		return err
	}
	if ok {
		b = slices.Concat(old.b, b)
	}
	if len(b) > 64<<10 {
		return corrupt(fmt.Sprintf("item %v in the log", k), "it has %d bytes", len(b))
	}
	r.to.over.set(k, b)
	return r.step()
}

// grow changes the size of a folder, which is twice the length of its names.
func (r *logReplay) grow(dir uint64, by int64) error {
	k := key{dir, typeInode, 0}
	i, ok, err := r.to.get(k)
	if err != nil || !ok || len(i.b) < inodeItemSize {
		return err
	}
	b := bytes.Clone(i.b)
	le.PutUint64(b[16:], uint64(max(int64(le.Uint64(b[16:]))+by, 0)))
	r.to.over.set(k, b)
	return r.step()
}

// unlink takes a name out of a folder, with its reference.
func (r *logReplay) unlink(dir, id uint64, name string) error {
	index, found := uint64(0), false
	for _, k := range []key{{id, typeInodeRef, dir}, {id, typeInodeExt, refHash(dir, name)}} {
		i, ok, err := r.to.get(k)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		refs, err := parseRefs(i)
		if err != nil {
			return err
		}
		var kept []byte
		for _, x := range refs {
			if x.dir == dir && x.name == name {
				index, found = x.index, true
			} else {
				kept = append(kept, x.raw...)
			}
		}
		r.to.over.set(i.key, kept)
	}
	k := key{dir, typeDirItem, nameHash(name)}
	i, ok, err := r.to.get(k)
	if err != nil {
		return err
	}
	var kept []byte
	for e, err := range entriesOf(i.b, fmt.Sprintf("folder %d", dir)) {
		if err != nil {
			return err
		}
		if e.name != name {
			kept = append(kept, e.raw...)
		}
	}
	if ok {
		r.to.over.set(k, kept)
	}
	if found {
		r.to.over.set(key{dir, typeDirIndex, index}, nil)
	}
	r.changed[id] = true
	return r.grow(dir, -2*int64(len(name)))
}

// countLinks counts the names of inodes that lost or won some. A folder without a name
// is gone, and what it held loses those names.
func (r *logReplay) countLinks() error {
	for len(r.changed) > 0 {
		todo := r.changed
		r.changed = map[uint64]bool{}
		for id := range todo {
			if err := r.countOf(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *logReplay) countOf(id uint64) error {
	k := key{id, typeInode, 0}
	i, ok, err := r.to.get(k)
	if err != nil || !ok || len(i.b) < inodeItemSize || id <= firstFree {
		return err
	}
	links := uint32(0)
	for _, kind := range []uint8{typeInodeRef, typeInodeExt} {
		err := r.each(&r.to, id, kind, 0, func(i item) error {
			refs, err := parseRefs(i)
			links += uint32(len(refs))
			return err
		})
		if err != nil {
			return err
		}
	}
	b := bytes.Clone(i.b)
	le.PutUint32(b[40:], links)
	r.to.over.set(k, b)
	if links > 0 {
		return nil
	}
	r.to.over.set(k, nil)
	if le.Uint32(b[52:])&typeMask != typeFolder {
		return nil
	}
	return r.each(&r.to, id, typeDirIndex, 0, func(x item) error {
		for e, err := range entriesOf(x.b, fmt.Sprintf("folder %d", id)) {
			if err != nil || e.target.kind != typeInode {
				return err
			}
			return r.unlink(id, e.target.id, e.name)
		}
		return nil
	})
}
