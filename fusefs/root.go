package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// rootNode is the mount's top folder: one folder for each machine.
type rootNode struct {
	fs.Inode
	t *tree
}

var (
	_ fs.NodeGetattrer = (*rootNode)(nil)
	_ fs.NodeLookuper  = (*rootNode)(nil)
	_ fs.NodeReaddirer = (*rootNode)(nil)
	_ fs.NodeStatfser  = (*rootNode)(nil)
)

func (n *rootNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	l := n.t.current.Load()
	newest := n.t.created
	for _, m := range l.machines {
		newest = later(newest, m.latest.Committed)
	}
	n.t.dir(&out.Attr, len(l.machines), newest)
	out.SetTimeout(n.t.o.Refresh)
	return 0
}

func (n *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	m := n.t.current.Load().byName[name]
	if m == nil {
		return nil, syscall.ENOENT
	}
	return child(ctx, &n.Inode, &machineNode{t: n.t, id: m.id}, m.stable(), out, n.t.o.Refresh)
}

func (n *rootNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	l := n.t.current.Load()
	list := make([]fuse.DirEntry, 0, len(l.machines))
	for _, m := range l.machines {
		list = append(list, entry(m.folder, m.stable()))
	}
	return fs.NewListDirStream(list), 0
}

// Statfs says that the mount is full: its size is that of all disks as the
// machines see them, and nothing can be written.
func (n *rootNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	l := n.t.current.Load()
	*out = fuse.StatfsOut{
		Blocks:  uint64(l.logical+blockSize-1) / blockSize,
		Bsize:   blockSize,
		Frsize:  blockSize,
		Files:   uint64(len(l.points)),
		NameLen: 255,
	}
	return 0
}

// entry is a name in a folder.
func entry(name string, s fs.StableAttr) fuse.DirEntry {
	return fuse.DirEntry{Name: name, Ino: s.Ino, Mode: s.Mode}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
