package fusefs

import (
	"context"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// refresh keeps the listing up to date until ctx ends.
func (s *Server) refresh(ctx context.Context) {
	tick := time.NewTicker(s.t.o.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.relist(ctx)
			s.t.guests.sweep()
		}
	}
}

// relist asks the vault for its points. While it cannot name all of them, those
// that were known stay: a point must not seem deleted because a disk is slow.
func (s *Server) relist(ctx context.Context) {
	old := s.t.current.Load()
	points, err := s.t.vault.Points(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.t.faults.once("list "+err.Error(), "the vault's points cannot all be listed", "error", err)
		points = join(points, old.points)
	}
	if old.sameAs(points) {
		return
	}
	l := s.t.list(points)
	s.t.current.Store(l)
	s.tellKernel(old, l)
}

// join adds to points those of old that are not among them.
func join(points, old []*blockstore.Point) []*blockstore.Point {
	known := make(map[blockstore.PointID]bool, len(points))
	for _, p := range points {
		known[p.ID] = true
	}
	for _, p := range old {
		if !known[p.ID] {
			points = append(points, p)
		}
	}
	return points
}

// tellKernel drops from the kernel's memory the names that l does not have any
// more or has for something else. New names need no word: the kernel does not
// remember that a name was missing. What it says back does not matter, since
// names in these folders are asked for again every [Options.Refresh] anyway.
func (s *Server) tellKernel(old, l *listing) {
	for _, was := range old.machines {
		folder := s.root.GetChild(was.folder)
		if folder == nil {
			continue // the kernel has never asked for it
		}
		for _, p := range was.points {
			now := l.byID[was.id]
			if now != nil && now.byName[p.folder] != nil && now.byName[p.folder].ID == p.ID {
				continue
			}
			if c := folder.GetChild(p.folder); c != nil {
				folder.NotifyDelete(p.folder, c)
			}
		}
		if now := l.byID[was.id]; now == nil || now.folder != was.folder {
			s.root.NotifyDelete(was.folder, folder)
			continue
		}
		folder.NotifyEntry(latestName)
		folder.NotifyContent(-1, 0) // its attributes only
	}
	s.root.NotifyContent(-1, 0)
}
