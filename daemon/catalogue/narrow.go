package catalogue

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// A search keeps what every point says of the paths that fit by name, and decides at the end.
// Where names narrow little, it first finds out in another reading which paths can be meant at
// all: those of which some version fits or, of deleted files, those that the newest point does
// not have. It remembers them by 128 bits of a hash, so that no two are taken for each other.

const (
	narrowFrom = 300_000   // so many entries are kept before that pays
	narrowMost = 6_000_000 // so many paths are remembered at most; more: nothing is narrowed
)

// errNarrow ends a reading that keeps too much.
var errNarrow = errors.New("too much fits by name")

type pathHash [2]uint64

// paths are paths that were remembered, and whether they are the ones that are looked for.
type paths struct {
	seeds [2]maphash.Seed
	set   map[pathHash]struct{}
	out   bool // those that are not in the set are looked for
}

func newPaths() *paths {
	return &paths{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, set: map[pathHash]struct{}{}}
}

func (p *paths) hash(key []byte) pathHash {
	return pathHash{maphash.Bytes(p.seeds[0], key), maphash.Bytes(p.seeds[1], key)}
}

// meant tells whether a path may be what is looked for.
func (p *paths) meant(key []byte) bool {
	if p == nil {
		return true
	}
	_, in := p.set[p.hash(key)]
	return in != p.out
}

// canNarrow tells whether something besides names is asked for.
func (q *Query) canNarrow() bool {
	return q.Deleted || q.Type != 0 || q.Least > 0 || q.Most >= 0 || !q.Newer.IsZero() || !q.Older.IsZero()
}

// narrow finds out which paths can be meant; nil: nearly all.
func (s *search) narrow(ctx context.Context) (*paths, error) {
	p := newPaths()
	var err error
	if s.q.Deleted {
		err = s.alive(ctx, p)
	} else {
		err = s.fitting(ctx, p)
	}
	if errors.Is(err, errNarrow) {
		return nil, nil
	}
	return p, err
}

// alive remembers the paths that the newest point has.
func (s *search) alive(ctx context.Context, p *paths) error {
	p.out = true
	if len(s.points) == 0 {
		return nil
	}
	m := newMatcher(s.q)
	for _, c := range s.c.Chains[s.points[len(s.points)-1].point.ID] {
		err := eachEntry(ctx, s.v, c, func(e *Entry) error {
			if !m.fits(e.Key) {
				return nil
			}
			if e.Gone {
				delete(p.set, p.hash(e.Key))
				return nil
			}
			if p.set[p.hash(e.Key)] = struct{}{}; len(p.set) > narrowMost {
				return errNarrow
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fitting remembers the paths of which some version fits.
func (s *search) fitting(ctx context.Context, p *paths) error {
	var mu sync.Mutex // guards p
	return s.eachTask(ctx, func(int) func(context.Context, task) error {
		m := newMatcher(s.q)
		return func(ctx context.Context, t task) error {
			return eachEntry(ctx, s.v, t.c, func(e *Entry) error {
				if e.Gone || !s.q.version(e.Attr) || !m.fits(e.Key) {
					return nil
				}
				h := p.hash(e.Key)
				mu.Lock()
				defer mu.Unlock()
				if p.set[h] = struct{}{}; len(p.set) > narrowMost {
					return errNarrow
				}
				return nil
			})
		}
	})
}

// eachEntry reads one catalogue.
func eachEntry(ctx context.Context, v Vault, c blockstore.Catalogue, fn func(*Entry) error) error {
	f, _, err := openFile(v, c)
	if err != nil {
		return err
	}
	defer f.close()
	for n := 1; ; n++ {
		err := f.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fn(&f.r.e)
		}
		if err != nil {
			return err
		}
		if n%(1<<16) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
