package guestfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Bounds of a walk: how deep folders lie, and how many are remembered to tell one
// that comes twice.
const (
	maxDepth   = 1024
	maxFolders = 4 << 20
)

// Visit is told of a place and its metadata, or of an error: then a is zero, and p has
// the path. fs.SkipDir leaves a folder out, fs.SkipAll ends the walk, any other error
// ends it with that.
type Visit func(p Place, a tree.Attr, err error) error

// Walk visits p and what is below it, folders before what is in them, in the order in
// which names lie, through everything that is mounted. Entries are read as it goes. A
// folder that is met a second time, as none is in a sound file system, is an error
// of its path.
func (p Place) Walk(ctx context.Context, visit Visit) error {
	w := walk{ctx: ctx, visit: visit, seen: map[folderID]struct{}{}}
	a, err := p.Stat()
	if err = w.step(p, a, err, 0); errors.Is(err, fs.SkipAll) || errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

type folderID struct {
	volume *Volume
	ino    uint64
}

type walk struct {
	ctx   context.Context
	visit Visit
	seen  map[folderID]struct{}
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
	id := folderID{p.Volume, p.Ino}
	if _, again := w.seen[id]; again || depth > maxDepth || len(w.seen) >= maxFolders {
		return notSkipDir(w.visit(p, tree.Attr{}, &tree.CorruptError{
			What: fmt.Sprintf("folder %d of volume %s", p.Ino, p.Volume.Name), Why: "it lies in several folders, in itself, or too deep", At: -1}))
	}
	w.seen[id] = struct{}{}
	if err := w.visit(p, a, nil); err != nil {
		return notSkipDir(err)
	}
	for c, err := range p.Children() {
		at := c.at
		var a tree.Attr
		if c.Name == "" && err != nil { // the folder itself
			at = p
		} else if err == nil {
			if at, err = c.Place(); err == nil {
				a, err = at.Stat()
			}
			at.Path = c.at.Path
		}
		if err := w.step(at, a, err, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func notSkipDir(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}
