package catalogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Hit is a path that a search found.
type Hit struct {
	Volume string // the tree: "" is the guest's root
	Path   string // absolute, in the tree; bytes as the guest has them
	// Versions that fit, oldest first. One that was away for a while comes twice.
	Versions []Version
	Deleted  bool // the newest point that was looked at does not have the path
}

// Behind tells whether the hit comes behind a path of a tree, in the order in which hits are told.
func (h *Hit) Behind(volume, path string) bool {
	return bytes.Compare(appendKey(nil, h.Volume, h.Path), appendKey(nil, volume, path)) > 0
}

// Version is a file as it was from one point to another.
type Version struct {
	Attr
	First, Last *blockstore.Point // of those that were looked at
	Points      int               // of those, how many have it so
}

// Searched says what a search looked at.
type Searched struct {
	Points  []*blockstore.Point // with a catalogue, oldest first
	Missing []*blockstore.Point // without
	Bad     []error             // catalogues that cannot be used; their points are missing
	Hits    int64
	Names   int64    // entries read
	Unread  []Unread // what could not be read at the newest point: it is shown as it was before
	Took    time.Duration
}

// SearchOptions of [Search]. The zero value works.
type SearchOptions struct {
	Scratch string // folder for what does not fit into memory; "": where temporary files lie
	Memory  int    // bytes for what was found; 0: 128 MiB
	Workers int    // 0: one per processor

	narrowFrom int64 // of tests; 0: narrowFrom
}

// Search reads the catalogues of points once and calls found for each path that fits, in the
// order of paths. An error of found ends it. Points without a catalogue are named in what it
// returns, never passed over in silence. A volume that none of them lists is a *NoTreeError.
func Search(ctx context.Context, v Vault, c *Coverage, q Query, o SearchOptions, found func(*Hit) error) (*Searched, error) {
	if o.Memory == 0 {
		o.Memory = 128 << 20
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.narrowFrom == 0 {
		o.narrowFrom = narrowFrom
	}
	began := time.Now()
	s := &search{v: v, c: &Coverage{Points: c.Points, Chains: maps.Clone(c.Chains)}, q: q, o: o, out: &Searched{}}
	s.c.settle()
	err := s.run(ctx, found)
	var bad *BadError
	for errors.As(err, &bad) { // each takes one catalogue out
		s.out.Bad = append(s.out.Bad, bad.Err)
		s.c.without(bad.Catalogue.ID)
		err = s.run(ctx, found)
	}
	if err == nil {
		err = s.volume(ctx)
	}
	s.out.Missing, s.out.Took = s.c.Missing, time.Since(began)
	if err != nil {
		return s.out, fmt.Errorf("search: %w", err)
	}
	return s.out, nil
}

type search struct {
	v   Vault
	c   *Coverage
	q   Query
	o   SearchOptions
	out *Searched

	points []step
	of     []int // by number of a reading: its place in points
	resets []int // places of points whose names begin anew
	tasks  []task
}

// step is a point and the numbers of the readings that lead from the point before to it.
type step struct {
	point *blockstore.Point
	reset bool // nothing of the point before holds on
}

// task is a catalogue that is read, as a change with a number.
type task struct {
	c      blockstore.Catalogue
	number uint32
}

// run searches once. Nothing was found yet when it returns a *BadError.
func (s *search) run(ctx context.Context, found func(*Hit) error) error {
	s.plan()
	sorters, err := s.gather(ctx, nil, s.q.canNarrow())
	if errors.Is(err, errNarrow) {
		var meant *paths
		if meant, err = s.narrow(ctx); err == nil {
			sorters, err = s.gather(ctx, meant, false)
		}
	}
	for _, one := range sorters {
		defer one.close()
	}
	if err == nil {
		err = s.newest()
	}
	if err != nil {
		return err
	}
	var sources []source
	for _, one := range sorters {
		sources = append(sources, one.sources()...)
	}
	return s.tell(ctx, newMerger(sources), found)
}

// plan finds out what is to be read, and in which order it counts.
func (s *search) plan() {
	s.points, s.of, s.resets, s.tasks, s.out.Points = nil, nil, nil, nil, nil
	s.out.Names, s.out.Hits = 0, 0
	var tip blockstore.CatalogueID
	for _, p := range s.c.Points {
		chain := s.c.Chains[p.ID]
		if chain == nil {
			continue
		}
		from := slices.IndexFunc(chain, func(c blockstore.Catalogue) bool { return c.ID == tip }) + 1
		if tip.IsZero() {
			from = 0
		}
		at := len(s.points)
		if from == 0 {
			s.resets = append(s.resets, at)
		}
		for _, c := range chain[from:] {
			s.tasks = append(s.tasks, task{c, uint32(len(s.of))})
			s.of = append(s.of, at)
		}
		s.points = append(s.points, step{p, from == 0})
		s.out.Points = append(s.out.Points, p)
		tip = chain[len(chain)-1].ID
	}
}

// gather keeps what all catalogues say of paths that fit by name and are meant. Where it may give
// up it returns errNarrow when that is much.
func (s *search) gather(ctx context.Context, meant *paths, mayGiveUp bool) ([]*sorter, error) {
	sorters := make([]*sorter, s.o.Workers)
	for i := range sorters {
		sorters[i] = newSorter(s.o.Scratch, s.o.Memory/s.o.Workers)
	}
	var names, kept atomic.Int64
	err := s.eachTask(ctx, func(worker int) func(context.Context, task) error {
		m, into := newMatcher(s.q), sorters[worker]
		var body []byte
		return func(ctx context.Context, t task) error {
			read := int64(0)
			defer func() { names.Add(read) }()
			return eachEntry(ctx, s.v, t.c, func(e *Entry) error {
				if read++; !m.fits(e.Key) || !meant.meant(e.Key) {
					return nil
				}
				if mayGiveUp && kept.Add(1) > s.o.narrowFrom {
					return errNarrow
				}
				body = encodeBody(body[:0], e)
				return into.add(e.Key, t.number, body)
			})
		}
	})
	s.out.Names += names.Load()
	if err != nil {
		for _, one := range sorters {
			err = errors.Join(err, one.close())
		}
		return nil, err
	}
	return sorters, nil
}

// eachTask does something with all catalogues, the whole ones first since they are the largest.
// Do is called once for each worker.
func (s *search) eachTask(ctx context.Context, do func(worker int) func(context.Context, task) error) error {
	work := make(chan task)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(work)
		for _, whole := range []bool{true, false} {
			for _, t := range s.tasks {
				if t.c.Base.IsZero() != whole {
					continue
				}
				select {
				case work <- t:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for i := range s.o.Workers {
		g.Go(func() error {
			one := do(i)
			for t := range work {
				if err := one(ctx, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// newest reads what could not be read at the newest point.
func (s *search) newest() error {
	s.out.Unread = nil
	if len(s.points) == 0 {
		return nil
	}
	chain := s.c.Chains[s.points[len(s.points)-1].point.ID]
	t, _, err := openFile(s.v, chain[len(chain)-1])
	if err != nil {
		return err
	}
	defer t.close()
	sum, err := t.summary()
	m := newMatcher(s.q)
	for _, u := range sum.Unread {
		if m.inside(u.Key) || below(m.top, u.Key) {
			s.out.Unread = append(s.out.Unread, u)
		}
	}
	return err
}

// event is what one reading says of a key.
type event struct {
	at int // place of the point in points
	e  Entry
}

// tell puts together what was found, path by path.
func (s *search) tell(ctx context.Context, m *merger, found func(*Hit) error) error {
	var key []byte
	var events []event
	some := false
	flush := func() error {
		if !some {
			return nil
		}
		h := s.hit(key, events)
		if h == nil {
			return nil
		}
		s.out.Hits++
		return found(h)
	}
	for {
		r, err := m.next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if end || !some || !bytes.Equal(r.key, key) {
			if err := errors.Join(flush(), ctx.Err()); err != nil || end {
				return err
			}
			key, events, some = append(key[:0], r.key...), events[:0], true
		}
		e, err := decodeBody(r)
		if err != nil {
			return err
		}
		events = append(events, event{s.of[r.number], e})
	}
}

// hit makes of what happened to a path in which versions it was there; nil: in none that is
// looked for.
func (s *search) hit(key []byte, events []event) *Hit {
	h := &Hit{}
	var now Entry // as of the point at
	now.Gone = true
	at, reset := 0, 0
	until := func(next int) { // now holds from at up to the point before next
		if !now.Gone && next > at {
			s.extend(h, now.Attr, at, next)
		}
		at = next
	}
	for i := 0; i < len(events) || reset < len(s.resets); {
		next := len(s.points)
		if i < len(events) {
			next = events[i].at
		}
		if reset < len(s.resets) && s.resets[reset] <= next {
			until(s.resets[reset])
			now.Gone = true
			reset++
			continue
		}
		until(next)
		for ; i < len(events) && events[i].at == next; i++ {
			now = events[i].e
		}
	}
	until(len(s.points))
	h.Deleted = now.Gone
	h.Versions = slices.DeleteFunc(h.Versions, func(v Version) bool { return !s.q.version(v.Attr) })
	if len(h.Versions) == 0 || s.q.Deleted && !h.Deleted {
		return nil
	}
	h.Volume, h.Path = splitKey(key)
	return h
}

// extend notes that a path was so from one point to before another.
func (s *search) extend(h *Hit, a Attr, from, to int) {
	if n := len(h.Versions); n > 0 {
		last := &h.Versions[n-1]
		if last.Last == s.before(from) && last.sameVersion(a) {
			last.Last, last.Attr = s.points[to-1].point, a
			last.Points += to - from
			return
		}
	}
	h.Versions = append(h.Versions, Version{Attr: a, First: s.points[from].point, Last: s.points[to-1].point, Points: to - from})
}

// before is the point before a place, nil before the first.
func (s *search) before(at int) *blockstore.Point {
	if at == 0 {
		return nil
	}
	return s.points[at-1].point
}
