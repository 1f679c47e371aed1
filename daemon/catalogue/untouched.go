package catalogue

import (
	"bytes"
	"context"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// twin is the guest as it was at the point below, by which it is proven that a volume did not
// change: then its names are those of the catalogue below, and it is not read.
type twin struct {
	ctx   context.Context
	vault *blockstore.Vault
	now   *blockstore.Point
	was   *blockstore.Point
	guest *guestfs.Guest // at was
	sum   Summary        // of the catalogue below
	known map[*guestfs.Volume]bool
}

// untouched tells whether all below a folder, which is the top of a volume, is as it was at the point
// below: the volume lies on the same parts of the disks, the maps of both points name the same blocks
// there, the older guest had it at the same place, where the catalogue below lists all of it, and nothing else is
// mounted below.
func (t *twin) untouched(tree string, view *guestfs.View, at guestfs.Place) bool {
	if t == nil || view.MountsBelow(at.Path) || !t.listed(tree, at) {
		return false
	}
	old, err := t.view(tree)
	if err != nil || old.MountsBelow(at.Path) {
		return false
	}
	was, err := old.ResolveLink(at.Path)
	if err != nil || was.Path != at.Path || was.Ino != at.Ino {
		return false
	}
	same, known := t.known[at.Volume]
	if !known {
		same = t.sameVolume(was.Volume, at.Volume)
		t.known[at.Volume] = same
	}
	return same
}

func (t *twin) view(tree string) (*guestfs.View, error) {
	if tree == "" {
		return t.guest.Root()
	}
	v, err := t.guest.Volume(tree)
	if err != nil {
		return nil, err
	}
	return v.View(), nil
}

// sameVolume compares the maps of the disks where two volumes lie. Whatever cannot be told is not the
// same.
func (t *twin) sameVolume(was, now *guestfs.Volume) bool {
	id, err := now.Identify()
	if err != nil || id.Type == "btrfs" || was.Size != now.Size { // which may lie on several
		return false
	}
	x, known := was.Where(0, was.Size)
	y, also := now.Where(0, now.Size)
	if !known || !also || !slices.Equal(x, y) {
		return false
	}
	for _, s := range x {
		if !t.samePart(s) {
			return false
		}
	}
	return len(x) > 0
}

func (t *twin) samePart(s guestfs.Span) bool {
	if s.Disk >= len(t.was.Disks) || s.Disk >= len(t.now.Disks) || t.was.Disks[s.Disk].Name != t.now.Disks[s.Disk].Name {
		return false
	}
	was, err := t.vault.OpenDisk(t.was, t.was.Disks[s.Disk].Name)
	if err != nil {
		return false
	}
	now, err := t.vault.OpenDisk(t.now, t.now.Disks[s.Disk].Name)
	if err != nil {
		return false
	}
	same, err := blockstore.SameIn(t.ctx, was, now, s.Off, s.Len)
	return same && err == nil
}

// listed tells whether the catalogue below has the volume there, and all of it.
func (t *twin) listed(tree string, at guestfs.Place) bool {
	key := appendKey(nil, tree, at.Path)
	for _, u := range t.sum.Unread {
		if below(u.Key, key) || below(key, u.Key) {
			return false
		}
	}
	return slices.ContainsFunc(t.sum.Trees, func(one Tree) bool {
		return one.Name == tree && slices.ContainsFunc(one.Volumes, func(m Mounted) bool { return m.Volume == at.Volume.Name && bytes.Equal(m.Key, key) })
	})
}
