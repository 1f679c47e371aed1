package fusefs

import (
	"context"
	"path"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// rootName is the folder of files/ in which the guest's root is as a whole: its volumes
// joined where its fstab mounts them, or its drives by letter. What should be mounted
// there and is not in the point is the folder that lies below it; volumes.json says so.
const rootName = "root"

// root is the guest's root, nil where there is none that can be read. What was opened to
// find it is let go, unless it is shown.
func (g *guests) root(p *blockstore.Point) *guestfs.View {
	guest := g.guest(p)
	root, err := guest.Root()
	if err != nil {
		return nil
	}
	g.mu.Lock()
	open := map[*guestfs.Volume]bool{root.Volume(): true}
	for _, s := range g.volumes {
		open[s.at] = true
	}
	g.mu.Unlock()
	for _, v := range guest.Volumes() {
		if !open[v] {
			v.Drop()
		}
	}
	return root
}

// enterMount fills out with what is mounted at a path of the guest's root.
func (t *tree) enterMount(p *blockstore.Point, root *guestfs.View, at string, out *fuse.EntryOut) syscall.Errno {
	top, ok, err := root.Mounted(at)
	switch {
	case !ok && (err == nil || guestfs.IsUnreachable(err)):
		return syscall.ENOENT
	case err != nil:
		return t.guestErrno(err, t.guests.show(p, root.Volume().Name, at))
	}
	return t.enter(t.guests.mounted(p, root, at, top), top.Ino, out)
}

// mounted shows what is mounted at a path of the guest's root.
func (g *guests) mounted(p *blockstore.Point, root *guestfs.View, at string, top guestfs.Place) *shown {
	s := g.show(p, top.Volume.Name, at)
	if root.LeadsToMounts(at) {
		g.lead(s, top.Ino, at)
	}
	return s
}

// lead keeps the path of a folder below which something is mounted.
func (g *guests) lead(s *shown, ino uint64, at string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.leads[ino] = at
}

// path is the path of a name in a folder of the guest's root below which something is
// mounted; "" in others.
func (n *guestNode) path(name string) string {
	n.raw.t.guests.mu.Lock()
	defer n.raw.t.guests.mu.Unlock()
	if at := n.s.leads[n.ino]; at != "" {
		return path.Join(at, name)
	}
	return ""
}

// leadsTo keeps the path of an entry, if something is mounted below it.
func (n *guestNode) leadsTo(name string, ino uint64) {
	at := n.path(name)
	if at == "" {
		return
	}
	if root, err := n.raw.t.guests.guest(n.s.point).Root(); err == nil && root.LeadsToMounts(at) {
		n.raw.t.guests.lead(n.s, ino, at)
	}
}

// crossed is what is mounted at a name of a folder; nil where nothing is. What the point
// does not hold is logged, and what lies below it is shown.
func (n *guestNode) crossed(name string) (*guestNode, error) {
	at := n.path(name)
	if at == "" {
		return nil, nil
	}
	t := n.raw.t
	root, err := t.guests.guest(n.s.point).Root()
	if err != nil {
		return nil, err
	}
	top, ok, err := root.Mounted(at)
	if guestfs.IsUnreachable(err) {
		t.guestFault(err, n.s, "a part of the guest's root is not in this point")
		return nil, nil
	}
	if !ok || err != nil {
		return nil, err
	}
	other, errno := n.raw.inode(t.guests.mounted(n.s.point, root, at, top), top.Ino)
	if errno != 0 {
		return nil, errno
	}
	return other, nil
}

// drivesNode is files/root of a Windows guest: a folder for each drive that is in the point
// and can be read.
type drivesNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point
}

var (
	_ fs.NodeGetattrer = (*drivesNode)(nil)
	_ fs.NodeLookuper  = (*drivesNode)(nil)
	_ fs.NodeReaddirer = (*drivesNode)(nil)
)

func drivesStable(p *blockstore.Point) fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindDrives, string(p.ID), "")}
}

func (n *drivesNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.dir(&out.Attr, 0, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *drivesNode) Lookup(_ context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	root := n.t.guests.root(n.p)
	if root == nil || len(name) != 1 || name < "A" || name > "Z" {
		return nil, syscall.ENOENT
	}
	at := "/" + name + ":"
	if name+":" == root.Drives()[0] {
		at = "/"
	}
	return nil, n.t.enterMount(n.p, root, at, out)
}

func (n *drivesNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	root := n.t.guests.root(n.p)
	if root == nil {
		return nil, syscall.EIO
	}
	list := []fuse.DirEntry{{Name: strings.TrimSuffix(root.Drives()[0], ":"), Mode: fuse.S_IFDIR, Ino: ino(kindMount, string(n.p.ID), "/")}}
	for _, m := range root.Mounts() {
		if m.Volume == nil {
			continue
		}
		if id, err := m.Volume.Identify(); err == nil && id.Readable {
			list = append(list, fuse.DirEntry{Name: strings.TrimSuffix(m.Called, ":"), Mode: fuse.S_IFDIR, Ino: ino(kindMount, string(n.p.ID), m.At)})
		}
	}
	return fs.NewListDirStream(list), 0
}
