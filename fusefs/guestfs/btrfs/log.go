package btrfs

import (
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// maxLogSteps bounds the work of a replay: items looked at. It is far more than the
// log of a guest needs, and keeps one that was made to cost much from doing so.
const maxLogSteps = 4 << 20

var (
	errLogMemory = errors.New("it takes more memory than is allowed")
	errLogSteps  = errors.New("it takes more work than any guest's")
)

// logReplay lays a log over one subvolume.
type logReplay struct {
	v       *volume
	log     table // what the log holds of the subvolume
	to      table // the subvolume, whose overlay is filled
	memory  *int64
	steps   *int
	ignored map[uint64]bool // inodes that were never linked
	changed map[uint64]bool // whose number of links is to be counted again
	resized map[uint64]bool // whose extents changed
}

// replay lays the log over the subvolumes, or says that it did not.
func (v *volume) replay(memory int64) {
	if v.super.logRoot.at == 0 {
		return
	}
	err := v.replayAll(memory)
	if err == nil {
		v.info.Journal = tree.Replayed
		return
	}
	v.logged, v.logSums = nil, nil
	v.info.Journal = tree.NotReplayed
	v.note(fmt.Sprintf("its log was not replayed, so it is shown as of its last commit: %v", err))
}

func (v *volume) replayAll(memory int64) error {
	logged, sums, steps := map[uint64]*overlay{}, &overlay{}, 0
	for i, err := range v.scan(v.super.logRoot, key{logObject, typeRoot, 0}, key{logObject, typeRoot, lastKey.off}) {
		if err != nil {
			return err
		}
		p, err := rootPointer(i, fmt.Sprintf("the log of subvolume %d", i.off))
		if err != nil {
			return err
		}
		s, err := v.subvolume(i.off)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		r := &logReplay{v: v, log: table{v: v, root: p}, to: table{v: v, root: s.root, over: &overlay{}}, memory: &memory, steps: &steps,
			ignored: map[uint64]bool{}, changed: map[uint64]bool{}, resized: map[uint64]bool{}}
		if err := r.run(sums); err != nil {
			return fmt.Errorf("the log of subvolume %d: %w", i.off, err)
		}
		memory -= r.to.over.memory
		if logged[i.off] = r.to.over; memory < sums.memory {
			return errLogMemory
		}
	}
	v.logged, v.logSums = logged, &table{v: v, bare: true, over: sums}
	return nil
}

// run goes over the log three times, in the order in which Linux does: inodes with
// what they lost, names that folders have, then all else.
func (r *logReplay) run(sums *overlay) error {
	for _, pass := range []func(item) error{r.inode, r.index, r.rest} {
		for i, err := range r.log.scan(key{}, lastKey) {
			if err == nil {
				err = r.step()
			}
			if err == nil && (i.kind == typeInode || !r.ignored[i.id]) {
				err = pass(i)
			}
			if err != nil {
				return err
			}
		}
	}
	for i, err := range r.log.scan(key{sumObject, typeSums, 0}, key{sumObject, typeSums, lastKey.off}) {
		if err != nil {
			return err
		}
		if sums.set(i.key, i.b); sums.memory > *r.memory {
			return errLogMemory
		}
	}
	if err := r.countLinks(); err != nil {
		return err
	}
	return r.countBytes()
}

// step counts what is done.
func (r *logReplay) step() error {
	if *r.steps++; *r.steps > maxLogSteps {
		return errLogSteps
	}
	if r.to.over.memory+int64(len(r.changed)+len(r.resized)+len(r.ignored))*64 > *r.memory {
		return errLogMemory
	}
	return nil
}

// each gives the items of one kind that an inode has in a table, as they were when it
// began: what it is given to may change them.
func (r *logReplay) each(t *table, id uint64, kind uint8, from uint64, do func(item) error) error {
	var list []item
	for {
		list = list[:0]
		for i, err := range t.scan(key{id, kind, from}, key{id, kind, lastKey.off}) {
			if err == nil {
				err = r.step()
			}
			if err != nil {
				return err
			}
			if list = append(list, i); len(list) == 1000 {
				break
			}
		}
		for _, i := range list {
			if err := do(i); err != nil {
				return err
			}
		}
		if len(list) < 1000 || list[len(list)-1].off == lastKey.off {
			return nil
		}
		from = list[len(list)-1].off + 1
	}
}

// inode takes over an inode, without the attributes, names and content that it lost.
func (r *logReplay) inode(i item) error {
	if i.kind != typeInode {
		return nil
	}
	if len(i.b) < inodeItemSize {
		return corrupt(fmt.Sprintf("inode %d", i.id), "it has %d bytes", len(i.b))
	}
	if le.Uint32(i.b[40:]) == 0 { // a file that never had a name
		r.ignored[i.id] = true
		return nil
	}
	if err := r.dropXattrs(i.id); err != nil {
		return err
	}
	mode := le.Uint32(i.b[52:]) & typeMask
	if mode == typeFolder {
		if err := r.dropNames(i.id); err != nil {
			return err
		}
	}
	if err := r.setInode(i, mode); err != nil {
		return err
	}
	r.changed[i.id] = true
	if mode != typeRegular {
		return nil
	}
	now, _, err := r.to.get(key{i.id, typeInode, 0})
	if err != nil {
		return err
	}
	sector := uint64(r.v.sector)
	return r.dropExtents(i.id, (le.Uint64(now.b[16:])+sector-1)&^(sector-1), 1<<63)
}

// setInode writes an inode over that of the subvolume. One of generation 0 says no
// more than that it exists, and its size if that is not 0. The size of a folder goes
// by its names.
func (r *logReplay) setInode(i item, mode uint32) error {
	old, ok, err := r.to.get(i.key)
	if err != nil {
		return err
	}
	b := append([]byte(nil), i.b...)
	le.PutUint64(b[24:], 0) // bytes: counted again
	if ok && len(old.b) >= inodeItemSize {
		sameKind := le.Uint32(old.b[52:])&typeMask == mode
		if le.Uint64(i.b) == 0 {
			b = append([]byte(nil), old.b...)
			if size := le.Uint64(i.b[16:]); sameKind && mode == typeRegular && size != 0 {
				le.PutUint64(b[16:], size)
			}
		}
		copy(b[24:32], old.b[24:32])
		if mode == typeFolder && sameKind {
			copy(b[16:24], old.b[16:24])
		}
	} else if mode == typeFolder {
		le.PutUint64(b[16:], 0)
	}
	r.to.over.set(i.key, b)
	return nil
}

// dropXattrs drops the attributes that the log does not have.
func (r *logReplay) dropXattrs(id uint64) error {
	return r.each(&r.to, id, typeXattr, 0, func(i item) error {
		var kept []byte
		for e, err := range entriesOf(i.b, fmt.Sprintf("an attribute of inode %d", id)) {
			if err != nil {
				return err
			}
			if _, ok, err := r.log.named(i.key, e.name, "an attribute in the log"); err != nil {
				return err
			} else if ok {
				kept = append(kept, e.raw...)
			}
		}
		r.to.over.set(i.key, kept)
		return nil
	})
}

// rest takes over attributes, references and extents.
func (r *logReplay) rest(i item) error {
	switch i.kind {
	case typeXattr:
		r.to.over.set(i.key, i.b)
	case typeInodeRef, typeInodeExt:
		return r.references(i)
	case typeExtentData:
		return r.extent(i)
	}
	return nil
}
