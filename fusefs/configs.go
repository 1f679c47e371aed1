package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// configsNode is a point's config folder.
type configsNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point
}

var (
	_ fs.NodeGetattrer = (*configsNode)(nil)
	_ fs.NodeLookuper  = (*configsNode)(nil)
	_ fs.NodeReaddirer = (*configsNode)(nil)
)

func (n *configsNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.dir(&out.Attr, 0, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *configsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	for i := range n.p.Config {
		if b := &n.p.Config[i]; b.Name == name && fileName(name) {
			return child(ctx, &n.Inode, &configNode{t: n.t, p: n.p, blob: b}, configStable(n.p, name), out, forever)
		}
	}
	return nil, syscall.ENOENT
}

func (n *configsNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, b := range n.p.Config {
		if !fileName(b.Name) {
			n.t.unnameable(n.p, "configuration", b.Name)
			continue
		}
		list = append(list, entry(b.Name, configStable(n.p, b.Name)))
	}
	return fs.NewListDirStream(list), 0
}
