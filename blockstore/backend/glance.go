package backend

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// glances are listings that are known still to hold.
type glances struct {
	local func() bool // once
	mu    sync.Mutex
	of    map[string]glance // by folder
	clock func() time.Time  // monotonic; a test sets another
}

// glance is a folder as it was listed last.
type glance struct {
	stamp   stamp
	since   time.Time // when the stamp was first seen
	names   []string
	settled bool // no change since can have left the stamp as it is
}

// stamp is what a file system changes when a name in a folder comes or goes.
type stamp struct {
	dev, ino, links uint64
	size            int64
	mtime, ctime    unix.Timespec
}

// settles is after how long a stamp tells of every change. A file system's clock may stand still for so long: two
// changes within a tick leave the same stamp, and only the second one of them may be in a listing.
const settles = 3 * time.Second

// Glance is List, without reading a folder that is as it was when it was listed: the file system says so, by times that
// were seen unchanged for longer than its clock may stand still, before the folder was listed. Where
// it is not of this host it is List, since what it says may be old. The names are not to be changed.
func (d *Dir) Glance(name string) ([]string, error) {
	g := &d.glances
	if !g.local() {
		return d.List(name)
	}
	now := g.clock()
	at, err := d.stampOf(name)
	if errors.Is(err, fs.ErrNotExist) {
		g.forget(name)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	known, seen := g.of[name]
	g.mu.Unlock()
	seen = seen && known.stamp == at
	if seen && known.settled {
		return known.names, nil
	}
	next := glance{stamp: at, since: now}
	if seen {
		next.since, next.settled = known.since, now.Sub(known.since) >= settles
	}
	if next.names, err = d.List(name); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of[name] = next
	return next.names, nil
}

func (g *glances) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, name)
}

func (d *Dir) stampOf(name string) (stamp, error) {
	defer d.Call("stat", name)()
	var st unix.Stat_t
	at := d.Path(name)
	if err := uninterrupted(func() error { return unix.Stat(at, &st) }); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: at, Err: err}
	}
	return stamp{dev: st.Dev, ino: st.Ino, links: uint64(st.Nlink), size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
}
