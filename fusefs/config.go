package fusefs

import (
	"context"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// configNode is one file of a point's configuration. It is read whole when opened
// and let go when closed; the kernel keeps what was read.
type configNode struct {
	fs.Inode
	t    *tree
	p    *blockstore.Point
	blob *blockstore.ConfigBlob
}

var (
	_ fs.NodeGetattrer = (*configNode)(nil)
	_ fs.NodeOpener    = (*configNode)(nil)
)

func configStable(p *blockstore.Point, name string) fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFREG, Ino: ino(kindConfig, string(p.ID), name)}
}

func (n *configNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.file(&out.Attr, n.blob.Size, n.blob.Size, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *configNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	data, err := n.t.vault.ReadConfig(ctx, n.p, n.blob.Name)
	if err == nil && int64(len(data)) != n.blob.Size {
		err = fmt.Errorf("%d bytes are there, %d are recorded", len(data), n.blob.Size)
	}
	return bytesFile(data), fuse.FOPEN_KEEP_CACHE, n.t.errno(err, n.p, configName+"/"+n.blob.Name)
}
