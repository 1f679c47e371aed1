package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// diskNode is one disk of a point, as a raw image. Its attributes come from the
// point's record; the vault is asked when it is first opened, and what that gave
// serves all later opens for as long as the kernel knows the node.
type diskNode struct {
	fs.Inode
	t    *tree
	p    *blockstore.Point
	info *blockstore.DiskInfo

	mu   sync.Mutex // guards disk, held while opening, never while reading
	disk Disk       // nil until opened

	asked fillsAsked
}

var (
	_ fs.NodeGetattrer = (*diskNode)(nil)
	_ fs.NodeOpener    = (*diskNode)(nil)
)

func diskStable(p *blockstore.Point, name string) fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFREG, Ino: ino(kindDisk, string(p.ID), name)}
}

func (n *diskNode) path() string { return disksName + "/" + n.info.Name + rawSuffix }

func (n *diskNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.file(&out.Attr, n.info.Size, n.info.Sizes.Protected, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *diskNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	d, err := n.open()
	if err != nil {
		return nil, 0, n.t.errno(err, n.p, n.path())
	}
	return &diskFile{node: n, disk: d, direct: flags&syscall.O_DIRECT != 0}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *diskNode) open() (Disk, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.disk != nil {
		return n.disk, nil
	}
	d, err := n.t.vault.OpenDisk(n.p, n.info.Name)
	if err != nil {
		return nil, err
	}
	if d.Size() != n.info.Size {
		return nil, fmt.Errorf("its map is of %d bytes, its point says %d", d.Size(), n.info.Size)
	}
	n.disk = d
	return d, nil
}

// diskFile is an open disk.
type diskFile struct {
	node *diskNode
	disk Disk
	seek seeker

	direct bool // reads pass the kernel's cache by
}

var (
	_ fs.FileReader  = (*diskFile)(nil)
	_ fs.FileLseeker = (*diskFile)(nil)
)

// Read fills the reply with dest itself. It is all that was asked for up to the
// disk's end, or an error: the kernel takes a short reply for the end of the file.
// Requests of a reader that reads ahead come many at once and out of order.
func (f *diskFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	left := f.disk.Size() - off
	if off < 0 || left <= 0 {
		return fuse.ReadResultData(nil), 0
	}
	dest = dest[:min(int64(len(dest)), left)]
	if fills := f.node.t.fills; !f.direct && fills.wants(&f.node.asked, off, len(dest)) && fills.read(f.node, f.disk, dest, off) {
		return fuse.ReadResultData(dest), 0
	}
	got, err := f.disk.ReadAt(dest, off)
	if got == len(dest) && (err == nil || errors.Is(err, io.EOF)) {
		return fuse.ReadResultData(dest), 0
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, f.node.t.errno(err, f.node.p, f.node.path())
}

// Lseek answers SEEK_DATA and SEEK_HOLE, by which cp, qemu-img and losetup find
// holes.
func (f *diskFile) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	at, err := f.seek.next(ctx, f.disk, int64(off), int(whence))
	return uint64(at), f.node.t.errno(err, f.node.p, f.node.path())
}
