package guestfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Bounds of a walk: how deep folders lie, and how many are remembered to tell one
// that comes twice.
const (
	maxDepth   = 1024
	maxFolders = 4 << 20
	maxTwice   = 16 // places at which one volume is mounted

	maxAhead  = 16 << 20 // bytes of what is read ahead of the visits
	entryCost = 256      // bytes of an entry beside its path
)

// Visit is told of a place and its metadata, or of an error: then a is zero, and p has
// the path. fs.SkipDir leaves a folder out, fs.SkipAll ends the walk, any other error
// ends it with that.
type Visit func(p Place, a tree.Attr, err error) error

// Walk visits p and what is below it, folders before what is in them, in the order in
// which names lie, through everything that is mounted. Entries are read as it goes. A
// folder that is met a second time, as none is in a sound file system, is an error
// of its path; what is mounted in two places is visited in both.
func (p Place) Walk(ctx context.Context, visit Visit) error {
	w := walk{ctx: ctx, visit: visit, seen: map[Folder]struct{}{}, tops: map[*Volume]int{}}
	a, err := p.Stat()
	if err = w.step(p, a, err, 0); errors.Is(err, fs.SkipAll) || errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

type walk struct {
	ctx   context.Context
	visit Visit
	seen  map[Folder]struct{}
	tops  map[*Volume]int // how often each was entered where it is mounted
	held  int             // bytes of entries that were read and not visited yet
}

// entry is what is in a folder. Without an inode it is an error of a name, or of the folder.
type entry struct {
	c   Child
	at  Place
	a   tree.Attr
	err error
}

func (w *walk) step(p Place, a tree.Attr, err error, depth int) error {
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	if err != nil {
		return notSkipDir(w.visit(p, tree.Attr{}, err))
	}
	if a.Mode&typeMask != typeDir {
		return notSkipDir(w.visit(p, a, nil))
	}
	id := p.Folder()
	if _, again := w.seen[id]; again || depth > maxDepth || len(w.seen) >= maxFolders {
		return notSkipDir(w.visit(p, tree.Attr{}, &tree.CorruptError{
			What: fmt.Sprintf("folder %d of volume %s", p.Ino, p.Volume.Name), Why: "it lies in several folders, in itself, or too deep", At: -1}))
	}
	w.seen[id] = struct{}{}
	if err := w.visit(p, a, nil); err != nil {
		return notSkipDir(err)
	}
	return w.entries(p, func(e *entry) error { return w.step(e.at, e.a, e.err, depth+1) })
}

// entries does each with what is in a folder, in the order in which names lie. Some at a time
// their inodes are read first, in the order of their numbers: neighbours lie in one block, and
// the names of a large folder are in no such order.
func (w *walk) entries(p Place, each func(*entry) error) error {
	var list []entry
	size, room := 0, (maxAhead-w.held)/2
	flush := func() error {
		w.held += size
		defer func(n int) { w.held -= n }(size)
		w.look(list)
		for i := range list {
			if err := each(&list[i]); err != nil {
				return err
			}
		}
		list, size = list[:0], 0
		return nil
	}
	for c, err := range p.Children() {
		e := entry{c: c, at: c.at, err: err}
		if c.Name == "" && err != nil { // the folder itself
			e.at = p
		}
		list = append(list, e)
		if size += entryCost + len(c.at.Path); size >= room {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// look reads what the inodes of entries say.
func (w *walk) look(list []entry) {
	order := make([]*entry, 0, len(list))
	for i := range list {
		if list[i].err == nil {
			order = append(order, &list[i])
		}
	}
	slices.SortStableFunc(order, func(x, y *entry) int { return cmp.Compare(x.c.at.Ino, y.c.at.Ino) })
	for i, e := range order {
		if i%1024 == 0 && w.ctx.Err() != nil {
			return // whoever visits says so
		}
		mounted := e.c.at.Ino == 0
		at, err := e.c.Place()
		if err == nil && mounted {
			err = w.enter(at)
		}
		if e.err = err; err != nil {
			continue
		}
		at.Path = e.at.Path
		e.at = at
		e.a, e.err = at.Stat()
	}
}

// enter counts how often a volume is entered where it is mounted.
func (w *walk) enter(top Place) error {
	if w.tops[top.Volume]++; w.tops[top.Volume] > maxTwice {
		return &UnreadableError{Volume: top.Volume.Name, Why: fmt.Sprintf("it is mounted at more than %d places, and is shown at others", maxTwice)}
	}
	return nil
}

func notSkipDir(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}
