package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// look is the guest of one point, of whose disks every read is noted. Nobody has opened
// it before: what it says follows from the bytes of these reads alone.
type look struct {
	vault *blockstore.Vault
	point *blockstore.Point
	guest *guestfs.Guest
	reads *blockstore.Reads

	mu     sync.Mutex // guards what follows
	disks  map[string]*watched
	broken bool // a disk could not be opened
}

// watched is a disk whose reads are noted.
type watched struct {
	*blockstore.Disk
	seen   ranges
	failed atomic.Bool // a read did: what was answered may not follow from the bytes
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	w.seen.add(off, int64(len(p)))
	n, err := w.Disk.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed.Store(true)
	}
	return n, err
}

func newLook(v *blockstore.Vault, p *blockstore.Point, keys *guestfs.Keys, reads *blockstore.Reads) *look {
	l := &look{vault: v, point: p, reads: reads, disks: map[string]*watched{}}
	l.guest = fusefs.OpenGuest(watchedVault{fusefs.FromVault(v), l}, p, guestfs.Options{Keys: keys})
	return l
}

// watchedVault opens the disks of one look.
type watchedVault struct {
	fusefs.Vault
	l *look
}

func (v watchedVault) OpenDisk(_ *blockstore.Point, name string) (fusefs.Disk, error) {
	d, err := v.l.disk(name)
	if err != nil {
		return nil, err // a nil *watched must not become a Disk
	}
	return d, nil
}

// disk opens a disk, once.
func (l *look) disk(name string) (*watched, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.disks[name]; w != nil {
		return w, nil
	}
	d, err := l.vault.OpenDisk(l.point, name)
	if err != nil {
		l.broken = true
		return nil, err
	}
	w := &watched{Disk: d.Counted(l.reads)}
	l.disks[name] = w
	return w, nil
}

// numbered is the disk that a guestfs.Span names.
func (l *look) numbered(n int) (*watched, error) {
	if n < 0 || n >= len(l.point.Disks) {
		return nil, fmt.Errorf("point %s has no disk number %d", l.point.ID, n)
	}
	return l.disk(l.point.Disks[n].Name)
}

// view is the tree in which a path is meant: that of a volume, or the guest's root.
func (l *look) view(volume string) (*guestfs.View, error) {
	if volume == "" {
		return l.guest.Root()
	}
	v, err := l.guest.Volume(volume)
	if err != nil {
		return nil, err
	}
	return v.View(), nil
}

// needs are the parts of disks that an answer follows from, together with what the
// point says of its disks.
type needs struct {
	look  *look
	parts map[string][]part // by disk
}

// needs of all that was asked of l so far; nil where they are too many to
// remember, or where something could not be read.
func (l *look) needs() *needs {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return nil
	}
	n := &needs{l, map[string][]part{}}
	for name, w := range l.disks {
		list, ok := w.seen.take()
		if !ok || w.failed.Load() {
			return nil
		}
		n.parts[name] = list
	}
	return n
}

// hold tells whether another point must give the same answers, by what the maps say.
func (n *needs) hold(ctx context.Context, p *blockstore.Point) (bool, error) {
	if !alike(n.look.point, p) {
		return false, nil
	}
	for name, list := range n.parts {
		a, err := n.look.disk(name)
		if err != nil {
			return false, err
		}
		other, err := n.look.vault.OpenDisk(p, name)
		if err != nil {
			return false, err
		}
		b := other.Counted(n.look.reads)
		for _, r := range list {
			end := min(r.end, a.Size()) // reads may reach over it
			if same, err := blockstore.SameIn(ctx, a.Disk, b, min(r.off, end), max(end-r.off, 0)); !same || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// alike tells whether two points have the same disks, as far as that can be told without
// looking at what they hold.
func alike(p, q *blockstore.Point) bool {
	return slices.EqualFunc(p.Disks, q.Disks, func(a, b blockstore.DiskInfo) bool {
		return a.Name == b.Name && a.Size == b.Size && a.LogicalSector == b.LogicalSector
	}) && slices.EqualFunc(p.LeftOut, q.LeftOut, func(a, b blockstore.LeftOut) bool { return a.Name == b.Name && a.Reason == b.Reason })
}
