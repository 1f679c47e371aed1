package service

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// readAtOnce is how much of a file is read at once, in bytes.
const readAtOnce = 1 << 20

// GuestContent calls do with the content of a regular file, or with one of its streams, which can be read until do
// returns or the context that it is given ends. The vault is kept open that long: it ends, soon after
// somebody needs the vault alone, with an error.
func (s *Service) GuestContent(ctx context.Context, at api.GuestAt, stream string, do func(context.Context, api.GuestContent) error) error {
	return whileOpen(ctx, s, at, func(ctx context.Context, g *guest) (api.GuestContent, func(), error) {
		p, err := g.find(at)
		if err != nil {
			return api.GuestContent{}, nil, err
		}
		content, size, err := contentOf(p, stream)
		if err != nil {
			return api.GuestContent{}, nil, err
		}
		r := &bounded{s: s, g: g, ctx: ctx, file: content}
		f := DescribeFile(p, p.Path, nil)
		return api.GuestContent{Point: string(g.point.ID), File: f, Size: size, ReaderAt: r, Tag: tagOf(g, p, stream, size)}, r.end, nil
	}, do)
}

// contentOf opens a file or one of its streams.
func contentOf(p guestfs.Place, stream string) (tree.File, int64, error) {
	if stream == "" {
		return openRegular(p)
	}
	of, err := streamer(p)
	if err != nil {
		return nil, 0, err
	}
	all, err := of.Streams(p.Ino)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(all, func(s tree.Stream) bool { return s.Name == stream })
	if i < 0 {
		return nil, 0, &guestfs.AbsentError{Name: stream, Folder: "the streams of " + p.Path}
	}
	f, err := of.OpenStream(p.Ino, stream)
	return f, all[i].Size, err
}

func openRegular(p guestfs.Place) (tree.File, int64, error) {
	a, err := p.Stat()
	if err != nil {
		return nil, 0, err
	}
	switch kind := api.FileType(a.Mode); kind {
	case "file":
		return p.Open()
	case "folder":
		return nil, 0, Hinted(invalidf("%s is a folder", p.Path), "list it, or take it as an archive")
	default:
		return nil, 0, invalidf("%s has no content: it is a %s", p.Path, kind)
	}
}

func streamer(p guestfs.Place) (tree.Streamer, error) {
	v, err := p.Volume.FS()
	if err != nil {
		return nil, err
	}
	of, ok := v.(tree.Streamer)
	if !ok {
		return nil, &guestfs.AbsentError{Name: "any stream", Folder: "a volume of " + v.Info().Type}
	}
	return of, nil
}

// describeStreams lists the streams of a file that can be opened by their names.
func describeStreams(of tree.Streamer, p guestfs.Place) (list []api.GuestStream) {
	all, err := of.Streams(p.Ino)
	if err != nil {
		return nil // its content may be whole all the same
	}
	for _, s := range all {
		list = append(list, api.GuestStream{Name: strings.ToValidUTF8(s.Name, "�"), Size: s.Size})
	}
	return list
}

// tagOf tells a content from every other: a point never changes.
func tagOf(g *guest, p guestfs.Place, stream string, size int64) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %d %s", p.Volume.Name, p.Ino, size, stream)
	return fmt.Sprintf("%s-%x", g.point.ID, h.Sum64())
}

// bounded reads a file for as long as somebody waits for it. What its reader does not get done by then is
// left to itself, into memory of its own.
type bounded struct {
	s    *Service
	g    *guest
	ctx  context.Context
	file tree.File

	mu    sync.Mutex     // held while a read begins, and while ended is set
	ended bool           // no read begins any more
	under sync.WaitGroup // reads that are under way
}

// begin tells whether a read may begin.
func (b *bounded) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if b.ended {
		return fs.ErrClosed
	}
	b.under.Add(1)
	return nil
}

// end waits for the reads that are under way.
func (b *bounded) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.under.Wait()
}

// ReadAt is as io.ReaderAt has it.
func (b *bounded) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = b.piece(p[n:min(len(p), n+readAtOnce)], off+int64(n))
		n += m
	}
	return n, err
}

func (b *bounded) piece(p []byte, off int64) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	type read struct {
		n   int
		err error
	}
	own, done := make([]byte, len(p)), make(chan read, 1)
	go func() {
		defer b.under.Done()
		var r read
		r.err = b.s.contained(b.g, func() (err error) {
			r.n, err = b.file.ReadAt(own, off)
			return err
		})
		done <- r
	}()
	select {
	case r := <-done:
		if r.n < len(p) && r.err == nil {
			r.err = io.ErrUnexpectedEOF
		}
		return copy(p, own[:r.n]), r.err
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
}

// contained calls do. After a panic of a reader the guest is opened anew: nobody knows what it left locked.
func (s *Service) contained(g *guest, do func() error) error {
	err := s.survived(do, "machine", g.point.MachineName, "point", string(g.point.ID))
	if errors.Is(err, errReader) || errors.As(err, new(*blockstore.HangError)) {
		s.files.guests.forget(g)
	}
	return err
}

// survived calls do. A panic of a reader is an error, and is logged with what it is about.
func (s *Service) survived(do func() error, about ...any) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.files.log.Error("a reader of guests' files failed in a way that nobody expected, please report it",
				append(about, "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))...)
			err = errReader
		}
	}()
	return do()
}

// lasting calls do with a vault until somebody needs it alone. What fails once its context has ended fails for the
// reason of that, whatever it kept from being found.
func (s *Service) lasting(ctx context.Context, vault string, do func(context.Context, *blockstore.Vault) error) error {
	return s.vaults.Lasting(ctx, vault, func(ctx context.Context, v *blockstore.Vault) error {
		err := do(ctx, v)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	})
}

// whileOpen calls do with what open makes of a guest, which stays open until do has returned, or its context has
// ended, and then wait, which open returns too.
func whileOpen[T any](ctx context.Context, s *Service, at api.GuestAt, open func(context.Context, *guest) (T, func(), error), do func(context.Context, T) error) error {
	type opened struct {
		ctx context.Context
		t   T
	}
	ready, over, finished := make(chan opened, 1), make(chan error, 1), make(chan struct{})
	defer close(finished)
	go func() { // as in askGuest
		over <- s.lasting(ctx, at.Vault, func(ctx context.Context, v *blockstore.Vault) error {
			return s.inGuest(ctx, v, at.PointRef, func(g *guest) error {
				t, wait, err := open(ctx, g)
				if err != nil {
					return err
				}
				ready <- opened{ctx, t}
				select {
				case <-finished:
				case <-ctx.Done(): // a client that takes nothing keeps nobody from the vault
				}
				wait()
				return nil
			})
		})
	}()
	select {
	case o := <-ready:
		return do(o.ctx, o.t)
	case err := <-over:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
