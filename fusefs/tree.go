package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// forever is how long the kernel keeps what cannot change.
const forever = time.Hour

// blockSize is what files are said to be made of, in bytes.
const blockSize = 4096

// tree is what all nodes of a mount share.
type tree struct {
	vault   Vault
	created time.Time // of the vault
	o       Options
	faults  *faultLog
	fills   *filler
	guests  *guests
	raw     *guestTree
	path    string // of the mount
	current atomic.Pointer[listing]

	uid, gid          uint32
	dirMode, fileMode uint32
}

func newTree(v Vault, info blockstore.VaultInfo, o Options) *tree {
	t := &tree{vault: v, created: info.Created, o: o.withDefaults(info)}
	t.faults = newFaultLog(t.o.Log)
	t.fills = newFiller(max(info.BlockSize, blockSize))
	t.guests = newGuests(v, t.o.formats, t.o.Keys)
	t.uid, t.gid = t.o.owner()
	t.dirMode, t.fileMode = t.o.modes()
	return t
}

// list makes a listing of points, logging once what it leaves out.
func (t *tree) list(points []*blockstore.Point) *listing {
	return newListing(points, t.current.Load(), func(p *blockstore.Point, why string) {
		t.faults.once("skip "+string(p.ID), "a point is not shown", "machine", p.MachineName, "point", string(p.ID), "error", why)
	})
}

func (t *tree) attr(a *fuse.Attr, mode uint32, nlink int, size, allocated int64, at time.Time) {
	a.Mode = mode
	a.Nlink = uint32(nlink)
	a.Uid, a.Gid = t.uid, t.gid
	a.Size = uint64(max(size, 0))
	a.Blocks = uint64(max(allocated, 0)+511) / 512
	a.Blksize = blockSize
	a.SetTimes(&at, &at, &at)
}

// dir fills the attributes of a folder with that many folders in it.
func (t *tree) dir(a *fuse.Attr, folders int, at time.Time) {
	t.attr(a, t.dirMode, folders+2, 0, 0, at)
}

// file fills the attributes of a file. allocated is what it holds without its
// holes, in bytes: du and cp look at that before they look for holes.
func (t *tree) file(a *fuse.Attr, size, allocated int64, at time.Time) {
	t.attr(a, t.fileMode, 1, size, allocated, at)
}

// node is what every node of this package can do.
type node interface {
	fs.InodeEmbedder
	fs.NodeGetattrer
}

// child answers a lookup in parent with n, whose name holds for d; how long its
// attributes hold, n says itself.
func child(ctx context.Context, parent *fs.Inode, n node, stable fs.StableAttr, out *fuse.EntryOut, d time.Duration) (*fs.Inode, syscall.Errno) {
	var a fuse.AttrOut
	if errno := n.Getattr(ctx, nil, &a); errno != 0 {
		return nil, errno
	}
	out.Attr = a.Attr
	out.SetAttrTimeout(a.Timeout())
	out.SetEntryTimeout(d)
	return parent.NewInode(ctx, n, stable), 0
}
