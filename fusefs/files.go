package fusefs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// filesName is the folder of a point in which the guest's volumes are.
const filesName = "files"

// intoGuest is what Lookup of filesNode answers beside an entry that it filled itself:
// guestTree makes success of it. No kernel knows it.
const intoGuest = syscall.Errno(0x7fff0001)

// filesNode is a point's files folder: a folder for each volume whose file system can be
// read, the guest's root as a whole (guestroot.go), and volumes.json, which names the others, too. The
// disks' tables are read when it is listed, and what holds the root; a volume when it is looked up.
type filesNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point
}

var (
	_ fs.NodeGetattrer = (*filesNode)(nil)
	_ fs.NodeLookuper  = (*filesNode)(nil)
	_ fs.NodeReaddirer = (*filesNode)(nil)
)

func (n *filesNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.dir(&out.Attr, 0, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *filesNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if name == volumesJSONName {
		return child(ctx, &n.Inode, &volumesJSONNode{t: n.t, p: n.p}, volumesJSONStable(n.p), out, forever)
	}
	if name == rootName {
		switch root := n.t.guests.root(n.p); {
		case root == nil:
		case root.Windows():
			return child(ctx, &n.Inode, &drivesNode{t: n.t, p: n.p}, drivesStable(n.p), out, forever)
		default:
			return nil, n.t.enterMount(n.p, root, "/", out)
		}
	}
	if _, err := n.t.guests.guest(n.p).Volume(name); err != nil {
		if passes := n.passing(); passes != nil {
			return nil, n.t.errno(passes, n.p, filesName)
		}
		return nil, syscall.ENOENT
	}
	return nil, n.t.enter(n.t.guests.show(n.p, name, ""), 0, out)
}

// enter fills out with a folder of a volume, its root for 0.
func (t *tree) enter(s *shown, ino uint64, out *fuse.EntryOut) syscall.Errno {
	n, errno := t.raw.inode(s, 0)
	if errno != 0 {
		return errno
	}
	if ino == 0 {
		ino = n.fsys.Root()
	}
	if err := n.entry(ino, out); err != nil {
		return n.errno(err)
	}
	return intoGuest
}

func (n *filesNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	if err := n.passing(); err != nil {
		return nil, n.t.errno(err, n.p, filesName)
	}
	list := []fuse.DirEntry{entry(volumesJSONName, volumesJSONStable(n.p))}
	if root := n.t.guests.root(n.p); root != nil {
		list = append(list, entry(rootName, drivesStable(n.p)))
	}
	for _, v := range n.t.guests.guest(n.p).Volumes() {
		id, err := v.Identify()
		if err == nil && id.Readable && fileName(v.Name) && v.Name != rootName {
			list = append(list, fuse.DirEntry{Name: v.Name, Mode: fuse.S_IFDIR, Ino: ino(kindVolume, string(n.p.ID), v.Name)})
		}
	}
	return fs.NewListDirStream(list), 0
}

// passing returns why a disk could not be read for now: then what is on it is not told at all, rather than told to be
// nothing.
func (n *filesNode) passing() error {
	for _, v := range n.t.guests.guest(n.p).Volumes() {
		if _, err := v.Identify(); passing(err) {
			n.t.guests.forget(n.p)
			return err
		}
	}
	return nil
}

// passing tells errors of a [Vault] that say nothing of its content, and need not come again: that it
// cannot be reached, or not by this user. They have a method Passing.
func passing(err error) bool {
	var p interface{ Passing() bool }
	return errors.As(err, &p) && p.Passing()
}
