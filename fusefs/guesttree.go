package fusefs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// guestTree answers for the inodes of guests itself, and leaves the rest to the library's
// tree of nodes. It keeps nothing for an inode, only for what is open.
type guestTree struct {
	fuse.RawFileSystem
	t *tree

	mu   sync.Mutex // guards what follows
	next uint64
	open map[uint64]any // *guestFile or *guestDir, by handle
}

func newGuestTree(nodes fuse.RawFileSystem, t *tree) *guestTree {
	return &guestTree{RawFileSystem: nodes, t: t, open: map[uint64]any{}}
}

func (r *guestTree) handle(h any) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	r.open[r.next] = h
	return r.next
}

func (r *guestTree) opened(fh uint64) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[fh]
}

func (r *guestTree) release(fh uint64) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.open[fh]
	delete(r.open, fh)
	return h
}

// Lookup of a volume in its folder is what leads from the library's nodes to ours: the
// folder fills the answer and says so by intoGuest.
func (r *guestTree) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if !isGuest(header.NodeId) {
		status := r.RawFileSystem.Lookup(cancel, header, name, out)
		if status == fuse.Status(intoGuest) {
			return fuse.OK
		}
		return status
	}
	n, errno := r.node(header.NodeId)
	if errno != 0 {
		return fuse.Status(errno)
	}
	err := n.lookup(name, out)
	if errno := n.errno(err); errno != unix.ENOENT {
		return fuse.Status(errno)
	}
	*out = fuse.EntryOut{}
	out.SetEntryTimeout(forever) // what is not there now never will be
	return fuse.OK
}

func (r *guestTree) Forget(node, lookups uint64) {
	if !isGuest(node) {
		r.RawFileSystem.Forget(node, lookups)
	}
}

func (r *guestTree) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.GetAttr(cancel, in, out)
	}
	n, errno := r.node(in.NodeId)
	if errno != 0 {
		return fuse.Status(errno)
	}
	a, err := n.fsys.Stat(n.ino)
	if err == nil {
		err = n.attr(a, &out.Attr)
	}
	out.SetTimeout(forever)
	return fuse.Status(n.errno(err))
}

func (r *guestTree) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	if !isGuest(header.NodeId) {
		return r.RawFileSystem.Readlink(cancel, header)
	}
	n, errno := r.node(header.NodeId)
	if errno != 0 {
		return nil, fuse.Status(errno)
	}
	target, err := n.readlink(n.ino)
	return []byte(target), fuse.Status(n.errno(err))
}

// Access is asked only where permissions are not the kernel's: then whoever gets into
// the mount may read all of it.
func (r *guestTree) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

func (r *guestTree) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !isGuest(header.NodeId) {
		return r.RawFileSystem.GetXAttr(cancel, header, name, dest)
	}
	n, errno := r.node(header.NodeId)
	if errno != 0 {
		return 0, fuse.Status(errno)
	}
	size, errno := n.xattr(name, dest)
	return size, fuse.Status(errno)
}

func (r *guestTree) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if !isGuest(header.NodeId) {
		return r.RawFileSystem.ListXAttr(cancel, header, dest)
	}
	n, errno := r.node(header.NodeId)
	if errno != 0 {
		return 0, fuse.Status(errno)
	}
	size, errno := n.xattrs(dest)
	return size, fuse.Status(errno)
}

func (r *guestTree) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if !isGuest(in.NodeId) {
		return r.RawFileSystem.StatFs(cancel, in, out)
	}
	n, errno := r.node(in.NodeId)
	if errno == 0 {
		n.statfs(out)
	}
	return fuse.Status(errno)
}

// What a reader may ask of any file, and a read-only file system has no answer for.

func (r *guestTree) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if isGuest(in.NodeId) {
		return fuse.OK
	}
	return r.RawFileSystem.Flush(cancel, in)
}

func (r *guestTree) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isGuest(in.NodeId) {
		return fuse.OK
	}
	return r.RawFileSystem.Fsync(cancel, in)
}

func (r *guestTree) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isGuest(in.NodeId) {
		return fuse.OK
	}
	return r.RawFileSystem.FsyncDir(cancel, in)
}

func (r *guestTree) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) fuse.Status {
	if isGuest(in.NodeId) {
		return fuse.Status(unix.ENOTTY)
	}
	return r.RawFileSystem.Ioctl(cancel, in, inbuf, out, outbuf)
}

func (r *guestTree) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if isGuest(in.NodeId) {
		return fuse.ENOSYS
	}
	return r.RawFileSystem.Statx(cancel, in, out)
}
