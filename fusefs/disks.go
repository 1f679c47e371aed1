package fusefs

import (
	"context"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// rawSuffix ends the names of disks, whose content is that of a raw image.
const rawSuffix = ".raw"

// disksNode is a point's disks folder.
type disksNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point
}

var (
	_ fs.NodeGetattrer = (*disksNode)(nil)
	_ fs.NodeLookuper  = (*disksNode)(nil)
	_ fs.NodeReaddirer = (*disksNode)(nil)
)

func (n *disksNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.dir(&out.Attr, 0, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *disksNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	disk, ok := strings.CutSuffix(name, rawSuffix)
	if !ok || !fileName(disk) {
		return nil, syscall.ENOENT
	}
	info, err := n.p.Disk(disk)
	if err != nil {
		return nil, syscall.ENOENT
	}
	return child(ctx, &n.Inode, &diskNode{t: n.t, p: n.p, info: info}, diskStable(n.p, disk), out, forever)
}

func (n *disksNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, d := range n.p.Disks {
		if !fileName(d.Name) {
			n.t.unnameable(n.p, "disk", d.Name)
			continue
		}
		list = append(list, entry(d.Name+rawSuffix, diskStable(n.p, d.Name)))
	}
	return fs.NewListDirStream(list), 0
}
