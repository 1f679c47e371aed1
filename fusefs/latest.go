package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// latestName is the name of the link to a machine's newest point.
const latestName = "latest"

// latestNode is the link to a machine's newest point. Where it leads is asked
// each time: the kernel does not keep targets of links.
type latestNode struct {
	fs.Inode
	t  *tree
	id blockstore.MachineID
}

var (
	_ fs.NodeGetattrer  = (*latestNode)(nil)
	_ fs.NodeReadlinker = (*latestNode)(nil)
)

func (m *machineEntry) latestStable() fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFLNK, Ino: ino(kindLatest, string(m.id), "")}
}

func (n *latestNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	m := n.t.current.Load().byID[n.id]
	if m == nil {
		return syscall.ESTALE
	}
	n.t.attr(&out.Attr, 0o777, 1, int64(len(m.latest.folder)), 0, m.latest.Time)
	out.SetTimeout(n.t.o.Refresh)
	return 0
}

func (n *latestNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	m := n.t.current.Load().byID[n.id]
	if m == nil {
		return nil, syscall.ESTALE
	}
	return []byte(m.latest.folder), 0
}
