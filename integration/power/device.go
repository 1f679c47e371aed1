package power

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// DiskName is the file's name in the mount.
const DiskName = "disk"

// Serve mounts a folder that holds one file, with the content and the size of
// image, which it changes, and appends what is written and flushed to log. It
// ends when the process is asked to. A disk that is slow takes each request late
// and answers late, by chance up to so long, so that requests overtake each
// other wherever they may.
func Serve(mountpoint, image, log string, slow time.Duration) error {
	disk, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	st, err := disk.Stat()
	if err != nil {
		return err
	}
	to, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	d := &device{disk: disk, log: to, size: uint64(st.Size()), slow: slow}
	server, err := fs.Mount(mountpoint, &root{device: d}, &fs.Options{MountOptions: fuse.MountOptions{
		MaxWrite: 1 << 20, DisableXAttrs: true, FsName: "powerdisk", Name: "powerdisk",
	}})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Unmount()
}

// DiskPath is where the file of a mount lies.
func DiskPath(mountpoint string) string { return filepath.Join(mountpoint, DiskName) }

type root struct {
	fs.Inode
	device *device
}

var _ fs.NodeOnAdder = (*root)(nil)

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild(DiskName, r.NewPersistentInode(ctx, r.device, fs.StableAttr{Ino: 2}), false)
}

// device is the file that serves as a disk.
type device struct {
	fs.Inode
	disk *os.File
	size uint64
	slow time.Duration

	mu  sync.Mutex // held while a request changes disk and log
	log *os.File
}

var (
	_ fs.NodeGetattrer = (*device)(nil)
	_ fs.NodeSetattrer = (*device)(nil)
	_ fs.NodeOpener    = (*device)(nil)
	_ fs.NodeReader    = (*device)(nil)
	_ fs.NodeWriter    = (*device)(nil)
	_ fs.NodeFsyncer   = (*device)(nil)
)

func (d *device) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, d.size
	return 0
}

func (d *device) Setattr(ctx context.Context, h fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.Getattr(ctx, h, out)
}

// Open keeps the file out of the page cache: each write of the file system
// arrives as it was made.
func (d *device) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (d *device) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := d.disk.ReadAt(dest, off)
	if err != nil && n == 0 && off < int64(d.size) {
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (d *device) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	defer d.dawdle()()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.disk.WriteAt(data, off); err != nil {
		return 0, syscall.EIO
	}
	return uint32(len(data)), d.note(off, data)
}

func (d *device) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	defer d.dawdle()()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.note(flushMark, nil)
}

// dawdle waits, and returns a function that does so again.
func (d *device) dawdle() func() {
	wait := func() {
		if d.slow > 0 && rand.IntN(4) == 0 {
			time.Sleep(rand.N(d.slow))
		}
	}
	wait()
	return wait
}

// note appends to the log in one write, so that its size always tells of whole
// entries. The caller holds mu.
func (d *device) note(off int64, data []byte) syscall.Errno {
	b := make([]byte, entryHeader, entryHeader+len(data))
	binary.LittleEndian.PutUint64(b, uint64(off))
	binary.LittleEndian.PutUint64(b[8:], uint64(len(data)))
	if _, err := d.log.Write(append(b, data...)); err != nil {
		return syscall.EIO
	}
	return 0
}
