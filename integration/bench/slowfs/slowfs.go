// Package slowfs shows a folder through FUSE and takes what is written there at no more
// than a rate, as a slow disk or a network does. A rate of 0 is none, so that what is
// compared differs in nothing else.
package slowfs

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Serve mounts the folder until the process is asked to end. The rate is in bytes a second.
func Serve(mountpoint, folder string, rate int64) error {
	below, err := fs.NewLoopbackRoot(folder)
	if err != nil {
		return err
	}
	loop, ok := below.(*fs.LoopbackNode)
	if !ok {
		return errors.New("slowfs: the library makes roots of another kind")
	}
	server, err := fs.Mount(mountpoint, &node{loop, &pace{rate: rate}}, &fs.Options{
		MountOptions: fuse.MountOptions{MaxWrite: 128 << 10, FsName: "slowfs", Name: "slowfs", DisableSplice: true},
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Unmount()
}

// pace lets bytes through at a rate.
type pace struct {
	rate int64

	mu   sync.Mutex
	free time.Time // when all that was let through is through
}

func (p *pace) wait(bytes int) {
	if p.rate == 0 {
		return
	}
	p.mu.Lock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(int64(bytes) * int64(time.Second) / p.rate))
	until := p.free
	p.mu.Unlock()
	time.Sleep(time.Until(until))
}

type node struct {
	*fs.LoopbackNode
	pace *pace
}

var (
	_ fs.NodeWrapChilder = (*node)(nil)
	_ fs.NodeOpener      = (*node)(nil)
	_ fs.NodeCreater     = (*node)(nil)
)

func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	if loop, ok := child.(*fs.LoopbackNode); ok {
		return &node{loop, n.pace}
	}
	return child
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, how, errno := n.LoopbackNode.Open(ctx, flags)
	return n.wrap(f), how, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, f, how, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, n.wrap(f), how, errno
}

func (n *node) wrap(f fs.FileHandle) fs.FileHandle {
	if loop, ok := f.(*fs.LoopbackFile); ok {
		return &file{loop, n.pace}
	}
	return f
}

type file struct {
	*fs.LoopbackFile
	pace *pace
}

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	f.pace.wait(len(data))
	return f.LoopbackFile.Write(ctx, data, off)
}

// PassthroughFd keeps the kernel from writing past us.
func (f *file) PassthroughFd() (int, bool) { return -1, false }
