package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// machineNode is a machine's folder: its points, and a link to the newest. It
// looks its machine up whenever asked, since points come and go; without any
// left it is an empty folder, for those who still stand in it.
type machineNode struct {
	fs.Inode
	t  *tree
	id blockstore.MachineID
}

var (
	_ fs.NodeGetattrer = (*machineNode)(nil)
	_ fs.NodeLookuper  = (*machineNode)(nil)
	_ fs.NodeReaddirer = (*machineNode)(nil)
)

func (m *machineEntry) stable() fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindMachine, string(m.id), "")}
}

func (n *machineNode) entry() *machineEntry { return n.t.current.Load().byID[n.id] }

func (n *machineNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(n.t.o.Refresh)
	m := n.entry()
	if m == nil {
		n.t.dir(&out.Attr, 0, n.t.created)
		return 0
	}
	n.t.dir(&out.Attr, len(m.points), m.latest.Time)
	return 0
}

func (n *machineNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	m := n.entry()
	if m == nil {
		return nil, syscall.ENOENT
	}
	if name == latestName {
		return child(ctx, &n.Inode, &latestNode{t: n.t, id: n.id}, m.latestStable(), out, n.t.o.Refresh)
	}
	p := m.byName[name]
	if p == nil {
		return nil, syscall.ENOENT
	}
	return child(ctx, &n.Inode, &pointNode{t: n.t, p: p.Point}, pointStable(p.Point), out, n.t.o.Refresh)
}

func (n *machineNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	m := n.entry()
	if m == nil {
		return fs.NewListDirStream(nil), 0
	}
	list := make([]fuse.DirEntry, 0, len(m.points)+1)
	for _, p := range m.points {
		list = append(list, entry(p.folder, pointStable(p.Point)))
	}
	list = append(list, entry(latestName, m.latestStable()))
	return fs.NewListDirStream(list), 0
}
