package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

var _ api.Files = (*Service)(nil)

// filesAtOnce is how many questions about guests' files are worked at, those that nobody waits for
// any more among them.
const filesAtOnce = 24

// files are the guests whose files are asked for.
type files struct {
	guests guests
	slots  chan struct{} // of capacity filesAtOnce: who has put something into it is at work
	trying chan struct{} // of capacity 1: likewise, who tries keys
	log    *slog.Logger
}

func newFiles(log *slog.Logger) files {
	if log == nil {
		log = slog.Default()
	}
	return files{slots: make(chan struct{}, filesAtOnce), trying: make(chan struct{}, 1), log: log, guests: guests{shelf: guestfs.NewShelf(openVolumes)}}
}

// GuestVolumes lists what lies on the disks of a point.
func (s *Service) GuestVolumes(ctx context.Context, at api.GuestAt) (api.GuestVolumes, error) {
	return askGuest(ctx, s, at, func(_ context.Context, g *guest) (api.GuestVolumes, error) {
		all := fusefs.DescribeVolumes(g.Guest)
		all.Point = string(g.point.ID)
		return all, nil
	})
}

// GuestFile describes one file or folder.
func (s *Service) GuestFile(ctx context.Context, at api.GuestAt) (api.GuestFile, error) {
	return askGuest(ctx, s, at, func(_ context.Context, g *guest) (api.GuestFile, error) {
		p, err := g.find(at)
		if err != nil {
			return api.GuestFile{}, err
		}
		if _, err := p.Stat(); err != nil {
			return api.GuestFile{}, err
		}
		f := DescribeFile(p, p.Path, nil)
		f.Point = string(g.point.ID)
		if of, err := streamer(p); err == nil && f.Type != "link" {
			f.Streams = describeStreams(of, p)
		}
		return f, nil
	})
}

// find resolves a path. Links are followed within the volume, or the guest's root.
func (g *guest) find(at api.GuestAt) (guestfs.Place, error) {
	if strings.ContainsRune(at.Path, 0) {
		return guestfs.Place{}, invalidf("no name of a guest holds a zero byte")
	}
	w, err := g.view(at.Volume)
	if err != nil {
		return guestfs.Place{}, err
	}
	name := at.Path
	if name == "" {
		name = "/"
	}
	if at.NoFollow {
		return w.ResolveLink(name)
	}
	return w.Resolve(name)
}

// view is the tree in which paths are meant.
func (g *guest) view(volume string) (*guestfs.View, error) {
	if volume == "" {
		return g.Root()
	}
	v, err := g.Volume(volume)
	if err != nil {
		return nil, err
	}
	return v.View(), nil
}

// askGuest returns what do says of a guest. When ctx ends before a reader does, that is left behind, and keeps
// its place among those at work until it ends: readers are bounded, and a vault that hangs tells so.
func askGuest[T any](ctx context.Context, s *Service, at api.GuestAt, do func(context.Context, *guest) (T, error)) (T, error) {
	var none T
	if err := s.files.enter(ctx); err != nil {
		return none, err
	}
	told, over := make(chan T, 1), make(chan error, 1)
	go func() {
		defer s.files.leave()
		over <- s.vaults.Read(ctx, at.Vault, func(v *blockstore.Vault) error {
			return s.inGuest(ctx, v, at.PointRef, func(g *guest) error {
				t, err := do(ctx, g)
				if err == nil {
					told <- t
				}
				return err
			})
		})
	}()
	select {
	case err := <-over:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx) // whatever that kept from being found
		}
		if err != nil {
			return none, err
		}
		return <-told, nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// inGuest calls do with the guest of a point: that which the caller unlocked, if there is one.
func (s *Service) inGuest(ctx context.Context, v *blockstore.Vault, ref api.PointRef, do func(*guest) error) error {
	p, err := FindPoint(ctx, v, ref)
	if err != nil {
		return err
	}
	caller, _ := api.CallerOf(ctx)
	g := s.files.guests.take(v, p, caller.Name)
	defer s.files.guests.give(g)
	return s.contained(g, func() error { return do(g) })
}

// errReader is what a client hears of a panic.
var errReader = errors.New("the guest's files cannot be read: the daemon failed in a way that nobody expected; its log tells more")

// enter waits for a place among those at work.
func (f *files) enter(ctx context.Context) error {
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *files) leave() { <-f.slots }
