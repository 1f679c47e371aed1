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

// maxRead is the most that the kernel asks for in one request, in bytes.
const maxRead = 1 << 20

// Mount shows the points of v at mountpoint, an empty folder, until
// [Server.Unmount] or until ctx ends: then the mount is taken down as soon as
// nobody uses it. The vault must stay open until [Server.Wait] has returned.
//
// A dead mount of ours at mountpoint, left by a killed process, is taken away
// first. Errors name what is in the way and what to do or install.
func Mount(ctx context.Context, mountpoint string, v Vault, o Options) (*Server, error) {
	info := v.Info()
	t := newTree(v, o.withDefaults(info))
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
	options := libraryOptions(t.o.Log)
	raw := fs.NewNodeFS(root, options)
	conn, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
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
	s.loops.Go(func() { s.unmountAfter(ctx) })
	return s, nil
}

// libraryOptions are what the library is told.
func libraryOptions(log *slog.Logger) *fs.Options {
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
			DisableXAttrs:            true,
			MaxBackground:            max(64, 4*runtime.GOMAXPROCS(0)),
			PanicHandler: func(v any) fuse.Status {
				stack := make([]byte, 16<<10)
				log.Error("a request to the mount failed in an unforeseen way", "panic", v, "stack", string(stack[:runtime.Stack(stack, false)]))
				return fuse.Status(unix.EIO)
			},
		},
	}
}
