package btrfs

import (
	"errors"
	"fmt"
	"math"
)

// errEnough ends a walk that found what it was for.
var errEnough = errors.New("enough")

// ref is a name of an inode: the folder, and its place in the folder's index.
type ref struct {
	dir, index uint64
	name       string
	raw        []byte
}

// parseRefs reads the references that stand under one key. Layouts: btrfs_inode_ref
// (index, length, name) and btrfs_inode_extref, which has the folder before.
func parseRefs(i item) ([]ref, error) {
	head := 10
	if i.kind == typeInodeExt {
		head = 18
	}
	var all []ref
	for b := i.b; len(b) > 0; {
		if len(b) < head {
			return nil, corrupt(fmt.Sprintf("a reference of inode %d", i.id), "%d bytes are left over", len(b))
		}
		n := int(le.Uint16(b[head-2:]))
		if n == 0 || n > maxNameBytes || head+n > len(b) {
			return nil, corrupt(fmt.Sprintf("a reference of inode %d", i.id), "a name of %d bytes in %d", n, len(b))
		}
		r := ref{dir: i.off, index: le.Uint64(b[head-10:]), name: string(b[head : head+n]), raw: b[:head+n]}
		if head == 18 {
			r.dir = le.Uint64(b)
		}
		all = append(all, r)
		b = b[head+n:]
	}
	return all, nil
}

// dropNames drops the names of a folder that the log's ranges cover and do not have.
func (r *logReplay) dropNames(dir uint64) error {
	covered := uint64(0)
	return r.each(&r.log, dir, typeLogRange, 0, func(i item) error {
		if len(i.b) < 8 {
			return corrupt(fmt.Sprintf("a range of folder %d", dir), "it has %d bytes", len(i.b))
		}
		end := le.Uint64(i.b)
		from := max(i.off, covered)
		if end < from || end == math.MaxUint64 && covered == end {
			return nil
		}
		if covered = end; end < math.MaxUint64 {
			covered++
		}
		err := r.each(&r.to, dir, typeDirIndex, from, func(x item) error {
			if x.off > end {
				return errEnough
			}
			kept, ok, err := r.log.get(x.key)
			if err != nil {
				return err
			}
			for e, err := range entriesOf(x.b, fmt.Sprintf("folder %d", dir)) {
				if err != nil {
					return err
				}
				if ok && sameName(kept.b, e.name) || e.target.kind != typeInode {
					break
				}
				return r.unlink(dir, e.target.id, e.name)
			}
			return nil
		})
		if err == errEnough {
			return nil
		}
		return err
	})
}

func sameName(b []byte, name string) bool {
	for e, err := range entriesOf(b, "") {
		return err == nil && e.name == name
	}
	return false
}

// index puts a name that the log has of a folder into it, unless a reference of the
// inode in the log will.
func (r *logReplay) index(i item) error {
	if i.kind != typeDirIndex {
		return nil
	}
	for e, err := range entriesOf(i.b, fmt.Sprintf("folder %d in the log", i.id)) {
		if err != nil {
			return err
		}
		if e.target.kind != typeInode {
			return nil
		}
		inLog, err := r.refInLog(e.target.id, i.id, e.name)
		if err != nil {
			return err
		}
		_, exists, err := r.to.get(key{e.target.id, typeInode, 0})
		if err != nil {
			return err
		}
		same, err := r.clear(i.id, i.off, e.name, e.target.id, exists)
		if err != nil || same || inLog || !exists {
			return err
		}
		return r.link(i.id, i.off, e.name, e.target.id, true)
	}
	return nil
}

// refInLog tells whether the log has that name among the references of an inode.
func (r *logReplay) refInLog(id, dir uint64, name string) (bool, error) {
	for _, k := range []key{{id, typeInodeRef, dir}, {id, typeInodeExt, refHash(dir, name)}} {
		i, ok, err := r.log.get(k)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		refs, err := parseRefs(i)
		if err != nil {
			return false, err
		}
		for _, x := range refs {
			if x.dir == dir && x.name == name {
				return true, nil
			}
		}
	}
	return false, nil
}

// clear sees to it that neither a name nor a place in a folder's index belongs to
// another inode; true: both belong to this one already.
func (r *logReplay) clear(dir, index uint64, name string, id uint64, drop bool) (bool, error) {
	place, _, err := r.to.get(key{dir, typeDirIndex, index})
	if err != nil {
		return false, err
	}
	here := 0
	for e, err := range entriesOf(place.b, fmt.Sprintf("folder %d", dir)) {
		if err != nil {
			return false, err
		}
		if e.name == name && e.target.id == id && e.target.kind == typeInode {
			here++
		} else if drop && e.target.kind == typeInode {
			if err := r.unlink(dir, e.target.id, e.name); err != nil {
				return false, err
			}
		}
		break
	}
	e, ok, err := r.to.named(key{dir, typeDirItem, nameHash(name)}, name, fmt.Sprintf("folder %d", dir))
	switch {
	case err != nil || !ok:
		return false, err
	case e.target.id == id && e.target.kind == typeInode:
		if here++; here == 1 && drop { // it has another place
			return false, r.unlink(dir, id, name)
		}
		return here == 2, nil
	case drop && e.target.kind == typeInode:
		return false, r.unlink(dir, e.target.id, name)
	}
	return false, nil
}

// references takes over the names of an inode in one folder: those that the log does
// not have go.
func (r *logReplay) references(i item) error {
	refs, err := parseRefs(i)
	if err != nil {
		return err
	}
	for _, x := range refs {
		if r.ignored[x.dir] {
			continue
		}
		if _, ok, err := r.to.get(key{x.dir, typeInode, 0}); err != nil {
			return err
		} else if !ok {
			return nil // the folder was removed
		}
		same, err := r.clear(x.dir, x.index, x.name, i.id, true)
		if err != nil {
			return err
		}
		if !same {
			if err := r.link(x.dir, x.index, x.name, i.id, false); err != nil {
				return err
			}
		}
	}
	old, ok, err := r.to.get(i.key)
	if err != nil {
		return err
	}
	if ok {
		if err := r.dropOld(old, refs); err != nil {
			return err
		}
	}
	r.changed[i.id] = true
	r.to.over.set(i.key, i.b)
	return nil
}

func (r *logReplay) dropOld(old item, refs []ref) error {
	had, err := parseRefs(old)
	if err != nil {
		return err
	}
	for _, h := range had {
		kept := false
		for _, x := range refs {
			kept = kept || x.dir == h.dir && x.name == h.name
		}
		if !kept {
			if err := r.unlink(h.dir, old.id, h.name); err != nil {
				return err
			}
		}
	}
	return nil
}
