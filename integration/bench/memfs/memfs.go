// Package memfs serves one file from memory through FUSE: the fastest that a
// read-only mount of this kind can be on a machine, and so the measure of ours.
package memfs

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Name is the file's name in the mount.
const Name = "memory.raw"

// Serve mounts a folder that holds the first size bytes of a file, kept in
// memory, until the process is asked to end.
func Serve(mountpoint, file string, size int64) error {
	content := make([]byte, size)
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(content, 0); err != nil {
		return fmt.Errorf("read %s into memory: %w", file, err)
	}
	hour := time.Hour
	server, err := fs.Mount(mountpoint, &root{content: content}, &fs.Options{
		EntryTimeout: &hour, AttrTimeout: &hour,
		MountOptions: fuse.MountOptions{
			MaxWrite: 1 << 20, MaxReadAhead: math.MaxInt32, DisableXAttrs: true, DisableSplice: true,
			FsName: "memfs", Name: "memfs", Options: []string{"ro"},
		},
	})
	if err != nil {
		return err
	}
	raiseReadAhead(mountpoint)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Unmount()
}

// raiseReadAhead lets the kernel read 4 MiB ahead, as the mount of a vault does;
// only root may.
func raiseReadAhead(mountpoint string) {
	var s unix.Stat_t
	if unix.Stat(mountpoint, &s) != nil {
		return
	}
	path := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(s.Dev), unix.Minor(s.Dev))
	_ = os.WriteFile(path, []byte("4096"), 0o644) // without it the reads are smaller, for ours too
}

type root struct {
	fs.Inode
	content []byte
}

var _ fs.NodeOnAdder = (*root)(nil)

func (r *root) OnAdd(ctx context.Context) {
	r.AddChild(Name, r.NewPersistentInode(ctx, &file{content: r.content}, fs.StableAttr{Ino: 2}), false)
}

type file struct {
	fs.Inode
	content []byte
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
)

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o400, uint64(len(f.content))
	return 0
}

func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(f.content)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(f.content[off:min(off+int64(len(dest)), int64(len(f.content)))]), 0
}
