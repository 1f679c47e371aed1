package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// maxRead is the most that the kernel asks for in one request, in bytes: the
// largest that it allows by default.
//
// Measured on two cores, reading 512 MiB in order from LZ4 blocks in memory that
// are decompressed and hashed, best of many rounds (the machine was busy), with
// the processor time of 1 GiB where it differed:
//
//	1 MiB, no splice, read-ahead 4 MiB     1,618 MB/s  0.94 s
//	1 MiB - 4 KiB, no splice               1,501 MB/s
//	1 MiB - 4 KiB, splice                  1,504 MB/s  1.01 s  (the library copies the header into a pipe in vain)
//	512 KiB / 256 KiB / 128 KiB            1,213 / 1,456 / 1,506 MB/s
//	read-ahead 128 KiB / 1 MiB / 8 / 16    1,205 / 1,415 / 1,528 / 1,126 MB/s  (128 KiB: 1.15 s)
//	requests one at a time (SyncRead)      1,106 MB/s
//
// A request is decoded by one goroutine: sharing its blocks out among cores gained
// nothing (with the kernel's own 128 KiB of read-ahead 1,079 against 1,186 MB/s),
// since several requests are under way anyway.
const maxRead = 1 << 20

// Mount shows the points of v at mountpoint, an empty folder, until
// [Server.Unmount] or until ctx ends: then the mount is taken down as soon as
// nobody uses it. The vault must stay open until [Server.Wait] has returned.
//
// A dead mount of ours at mountpoint, left by a killed process, is taken away
// first. Errors name what is in the way and what to do or install.
func Mount(ctx context.Context, mountpoint string, v Vault, o Options) (*Server, error) {
	info := v.Info()
	t := newTree(v, info, o)
	path, err := prepare(ctx, mountpoint, info.Path)
	if err != nil {
		return nil, err
	}
	points, err := v.Points(ctx)
	if err != nil && len(points) == 0 {
		return nil, fmt.Errorf("mount vault %s: list its points: %w", info.Name, err)
	}
	if err != nil {
		t.o.Log.Warn("some points cannot be shown", "error", err)
	}
	t.current.Store(t.list(points))
	s, err := serve(ctx, path, t)
	if err != nil {
		return nil, fmt.Errorf("mount vault %s at %s: %w", info.Name, path, err)
	}
	return s, nil
}

// serve mounts t at path and starts what runs as long as the mount: the serving
// itself, the refreshing of the listing, and the watch over ctx.
func serve(ctx context.Context, path string, t *tree) (*Server, error) {
	fd, err := attach(ctx, path, &t.o)
	if err != nil {
		return nil, err
	}
	root := &rootNode{t: t}
	options := libraryOptions(&t.o)
	t.path = path
	t.raw = newGuestTree(fs.NewNodeFS(root, options), t)
	conn, err := fuse.NewServer(t.raw, fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
	if err != nil {
		return nil, errors.Join(err, detach(ctx, path, true))
	}
	s := &Server{path: path, t: t, root: root, gone: make(chan struct{})}
	if at, err := mountsAt(path); err == nil && len(at) > 0 {
		s.device = at[len(at)-1].device
		raiseReadahead(s.device, t.o.ReadAhead)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.loops.Go(func() {
		defer close(s.gone)
		defer stop()
		conn.Serve()
	})
	s.loops.Go(func() { s.refresh(running) })
	s.loops.Go(func() { t.fills.run(running) })
	s.loops.Go(func() { s.unmountAfter(ctx) })
	return s, nil
}

// libraryOptions are what the library is told.
func libraryOptions(o *Options) *fs.Options {
	log := o.Log
	quiet := slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	return &fs.Options{
		Logger:          quiet,
		NullPermissions: true,
		RootStableAttr:  &fs.StableAttr{Ino: rootIno},
		MountOptions: fuse.MountOptions{
			Name:                     subtype,
			Logger:                   quiet,
			MaxWrite:                 maxRead, // sets the size of reads, too
			DisableSplice:            true,    // our data lies in memory
			ExplicitDataCacheControl: true,
			EnableAcl:                o.shared(), // else the kernel does not judge by them, and hands them out
			MaxBackground:            max(64, 4*runtime.GOMAXPROCS(0)),
			PanicHandler: func(v any) fuse.Status {
				stack := make([]byte, 16<<10)
				log.Error("a request to the mount failed in an unforeseen way", "panic", v, "stack", string(stack[:runtime.Stack(stack, false)]))
				return fuse.Status(unix.EIO)
			},
		},
	}
}
