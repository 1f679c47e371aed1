package history

import (
	"context"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// pair compares what both sides have, and for folders what is in them.
func (d *differ) pair(ctx context.Context, a, b *node, depth int) error {
	if err := d.step(ctx); err != nil {
		return err
	}
	switch {
	case guestfs.IsRemote(a.err) && guestfs.IsRemote(b.err):
		return nil // of what lies on another machine neither point ever held anything
	case a.err != nil || b.err != nil:
		return d.unreadable(ctx, a, b)
	case (a.Mode^b.Mode)&typeMask != 0:
		return d.replaced(ctx, a, b, depth)
	}
	details, err := d.details(ctx, a, b)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.err = err
		return d.unreadable(ctx, a, b)
	}
	if len(details) > 0 {
		if err := d.hold(ctx, d.described(changeWord(details), a, b, details)); err != nil {
			return err
		}
	}
	if !a.is(typeDir) || d.untouched(ctx, a, b) {
		return nil
	}
	return d.folders(ctx, a, b, depth)
}

func changeWord(details []string) string {
	if slices.ContainsFunc(details, func(s string) bool { return s == changeContent || s == changeTarget || s == changeDevice }) {
		return "changed"
	}
	return "metadata"
}

// details are what differs between two of one type.
func (d *differ) details(ctx context.Context, a, b *node) ([]string, error) {
	list := a.changes(&b.meta)
	switch a.Mode & typeMask {
	case typeDir:
		return slices.DeleteFunc(list, func(s string) bool { return s == changeModified }), nil
	case typeFile:
		same, err := sameFile(ctx, a, b)
		if err != nil {
			return nil, err
		}
		if !same {
			list = append([]string{changeContent}, list...)
		}
	}
	return list, nil
}

// sameFile compares the contents of two regular files.
func sameFile(ctx context.Context, a, b *node) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	if a.Size == 0 {
		return true, nil
	}
	x, err := contentOf(a.t.look, a.at)
	if err != nil {
		return false, err
	}
	y, err := contentOf(b.t.look, b.at)
	if err != nil {
		return false, err
	}
	return equal(ctx, x, y)
}

// folders compares what two folders hold, name by name.
func (d *differ) folders(ctx context.Context, a, b *node, depth int) error {
	if d.names[a.at.Volume.Name] == "" {
		d.names[a.at.Volume.Name] = b.at.Volume.Name
	}
	as, bs, err := d.lists(ctx, a, b, depth)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.err = err
		return d.unreadable(ctx, a, b)
	}
	for len(as) > 0 || len(bs) > 0 {
		order := 0
		switch {
		case len(as) == 0:
			order = 1
		case len(bs) == 0:
			order = -1
		default:
			order = strings.Compare(as[0].Name, bs[0].Name)
		}
		switch {
		case order < 0:
			err = d.removed(ctx, a.node(as[0]), depth+1)
			as = as[1:]
		case order > 0:
			err = d.added(ctx, b.node(bs[0]), depth+1)
			bs = bs[1:]
		default:
			err = d.pair(ctx, a.node(as[0]), b.node(bs[0]), depth+1)
			as, bs = as[1:], bs[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) lists(ctx context.Context, a, b *node, depth int) (as, bs []entry, err error) {
	for _, n := range []*node{a, b} {
		if err := n.enter(depth); err != nil {
			return nil, nil, err
		}
	}
	if as, err = a.children(ctx); err != nil {
		return nil, nil, err
	}
	bs, err = b.children(ctx)
	return as, bs, err
}

// removed tells of what only the first side has.
func (d *differ) removed(ctx context.Context, n *node, depth int) error {
	return d.single(ctx, n, depth, "removed", d.removed)
}

// added tells of what only the second side has.
func (d *differ) added(ctx context.Context, n *node, depth int) error {
	return d.single(ctx, n, depth, "added", d.added)
}

// single tells of a node that one side has. What is in a folder follows at once only where
// nothing is held: else it may have been moved as a whole.
func (d *differ) single(ctx context.Context, n *node, depth int, change string, each func(context.Context, *node, int) error) error {
	if err := d.step(ctx); err != nil {
		return err
	}
	if n.err != nil {
		return d.unreadable(ctx, n)
	}
	h := held{FileDiff: d.one(change, n), rel: n.rel}
	if change == "added" {
		h.b = n
	} else {
		h.a = n
	}
	if err := d.hold(ctx, h); err != nil || !d.plain || !n.is(typeDir) {
		return err
	}
	return d.below(ctx, n, depth, each)
}

// below does each to what is in a folder.
func (d *differ) below(ctx context.Context, n *node, depth int, each func(context.Context, *node, int) error) error {
	err := n.enter(depth)
	var list []entry
	if err == nil {
		list, err = n.children(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		n.err = err
		return d.unreadable(ctx, n)
	}
	for _, e := range list {
		if err := each(ctx, n.node(e), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// replaced tells of what is of another type now. What a folder held is gone or new.
func (d *differ) replaced(ctx context.Context, a, b *node, depth int) error {
	f := api.FileDiff{Change: "replaced", Path: text(b.path()), Details: []string{changeType}, Before: facts(a), After: facts(b)}
	if err := d.hold(ctx, held{FileDiff: f, rel: b.rel}); err != nil {
		return err
	}
	if a.is(typeDir) {
		return d.below(ctx, a, depth, d.removed)
	}
	if b.is(typeDir) {
		return d.below(ctx, b, depth, d.added)
	}
	return nil
}

// unreadable tells of what nobody can compare.
func (d *differ) unreadable(ctx context.Context, nodes ...*node) error {
	f := api.FileDiff{Change: "unreadable", Details: []string{}}
	rel := ""
	for _, n := range nodes {
		f.Path, rel = text(n.path()), n.rel
		if n.err != nil && f.Error == "" {
			f.Error, f.Damaged = n.err.Error(), isDamage(n.err)
		}
	}
	return d.hold(ctx, held{FileDiff: f, rel: rel})
}

// untouched tells whether two folders and all below them are the same because the whole
// of their volumes is, and nothing else is mounted below.
func (d *differ) untouched(ctx context.Context, a, b *node) bool {
	if a.Ino != b.Ino || a.t.view.MountsBelow(a.at.Path) || b.t.view.MountsBelow(b.at.Path) {
		return false
	}
	key := [2]*guestfs.Volume{a.at.Volume, b.at.Volume}
	same, known := d.volumes[key]
	if !known {
		same = d.sameVolume(ctx, a, b)
		d.volumes[key] = same
	}
	return same
}

func (d *differ) sameVolume(ctx context.Context, a, b *node) bool {
	v, w := a.at.Volume, b.at.Volume
	id, err := v.Identify()
	if err != nil || id.Type == "btrfs" || v.Size != w.Size { // which may lie on several
		return false
	}
	x, ok := v.Where(0, v.Size)
	y, also := w.Where(0, w.Size)
	if !ok || !also || !slices.Equal(x, y) {
		return false
	}
	for _, s := range x {
		p, err := a.t.look.numbered(s.Disk)
		if err != nil {
			return false
		}
		q, err := b.t.look.numbered(s.Disk)
		if err != nil {
			return false
		}
		if same, err := blockstore.SameIn(ctx, p.Disk, q.Disk, s.Off, s.Len); !same || err != nil {
			return false
		}
	}
	return true
}
