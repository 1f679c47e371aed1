package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// Options of [Build]. The zero value works.
type Options struct {
	Keys    *guestfs.Keys     // open encrypted volumes; only where the vault is sealed
	Told    func(names int64) // how many names were read so far; may wait; may be nil
	Scratch string            // folder for what is sorted; "": where temporary files lie
	Memory  int               // bytes for sorting; 0: 64 MiB
	Now     func() time.Time  // nil: time.Now
	// Longest is how many catalogues may build on a whole one before the next is whole
	// again; 0: 127.
	Longest int

	guest func(*blockstore.Point) *guestfs.Guest // of tests; nil: what the point holds
}

func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Longest == 0 {
		o.Longest = 127
	}
	return o
}

// Built is a catalogue that was made.
type Built struct {
	blockstore.Catalogue
	Summary
	Size   int64 // bytes in the vault
	Whole  bool
	Walked bool // the guest's files were read; not: the point's disks are those of the point that it builds on
}

// ErrSecretNames refuses to list what an encrypted volume holds where anybody can read the
// list.
var ErrSecretNames = errors.New("names of files on encrypted volumes are listed only in a sealed vault")

// Build makes the catalogue of one point: on top of that of the newest older point which has
// one, or whole. One that is there already is not made again: ErrExists.
func Build(ctx context.Context, o *blockstore.Owner, p *blockstore.Point, opts Options) (*Built, error) {
	if opts.Keys != nil && len(o.Keys()) == 0 {
		return nil, ErrSecretNames
	}
	b := &builder{ctx: ctx, o: o, p: p, Options: opts.withDefaults()}
	built, err := b.run()
	var bad *BadError
	for tries := 0; errors.As(err, &bad) && tries < maxTries; tries++ {
		if _, err = o.DropCatalogues(blockstore.Catalogues{bad.Catalogue}); err == nil {
			built, err = b.run()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("catalogue of %s@%s: %w", p.MachineName, p.ID, err)
	}
	return built, nil
}

// maxTries is how many catalogues that turn out to be damaged one build steps over.
const maxTries = 20

type builder struct {
	Options
	ctx context.Context
	o   *blockstore.Owner
	p   *blockstore.Point

	size chainSize // of what it builds on
	kept []Unread  // tops of volumes that did not change since that
}

func (b *builder) run() (*Built, error) {
	all, err := b.o.Catalogues(b.p.Machine)
	if err != nil {
		return nil, err
	}
	chains := all.Chains()
	if chains[b.p.ID] != nil {
		return nil, blockstore.ErrExists
	}
	base, below, err := b.base(chains)
	if err != nil {
		return nil, err
	}
	was := b.pointOf(base)
	if was != nil && b.Keys == nil && !below.Keys && sameDisks(was, b.p) && len(base) <= b.Longest {
		return b.unchanged(base, below)
	}
	names := newSorter(b.Scratch, b.Memory)
	defer names.close()
	w := &walker{ctx: b.ctx, names: names, tell: b.Told, sum: Summary{Trees: []Tree{}, Unread: []Unread{}, Keys: b.Keys != nil}}
	if was != nil && b.Keys == nil && !below.Keys {
		w.twin = &twin{ctx: b.ctx, vault: b.o.Vault, now: b.p, was: was, guest: b.open(was), sum: below, known: map[*guestfs.Volume]bool{}}
	}
	if err := w.walk(b.open(b.p)); err != nil {
		return nil, err
	}
	b.kept = w.kept
	b.missing(&w.sum, below)
	return b.write(names, w.sum, base)
}

func (b *builder) open(p *blockstore.Point) *guestfs.Guest {
	if b.guest != nil {
		return b.guest(p)
	}
	return fusefs.OpenGuest(fusefs.FromVault(b.o.Vault), p, guestfs.Options{Keys: b.Keys})
}

// pointOf is the point of the last of a chain; nil: it is gone, or there is no chain.
func (b *builder) pointOf(chain blockstore.Catalogues) *blockstore.Point {
	points, _ := b.o.Points(b.ctx) // who cannot be read is not the one
	for _, p := range points {
		if len(chain) > 0 && p.ID == chain[len(chain)-1].Point {
			return p
		}
	}
	return nil
}

// base finds what to build on: the chain of the newest older point that has one, nil where
// there is none.
func (b *builder) base(chains map[blockstore.PointID]blockstore.Catalogues) (chain blockstore.Catalogues, sum Summary, err error) {
	for _, other := range chains {
		last := other[len(other)-1]
		if last.Seq < b.p.Seq && (chain == nil || last.Seq > chain[len(chain)-1].Seq) {
			chain = other
		}
	}
	if chain == nil {
		return nil, sum, nil
	}
	s, sum, size, err := openChain(b.o.Vault, chain)
	if err != nil {
		return nil, sum, err
	}
	b.size = size
	return chain, sum, s.close()
}

// sameDisks tells whether the disks of an older point are those of a point: then so are the
// files.
func sameDisks(was, now *blockstore.Point) bool {
	return slices.Equal(was.LeftOut, now.LeftOut) && slices.EqualFunc(was.Disks, now.Disks, func(x, y blockstore.DiskInfo) bool {
		return x.Name == y.Name && x.Root == y.Root && x.Size == y.Size && x.LogicalSector == y.LogicalSector
	})
}

// unchanged writes that nothing changed.
func (b *builder) unchanged(base blockstore.Catalogues, sum Summary) (*Built, error) {
	sum.Changes = 0
	built, err := b.put(base, func(*frameWriter) (Summary, error) { return sum, nil })
	if built != nil {
		built.Walked = false
	}
	return built, err
}

// missing settles what is not known of the point. That no volume holds a root is nothing to
// tell of a guest that never had one; a volume of a disk that was left out is not deleted.
func (b *builder) missing(sum *Summary, below Summary) {
	had := map[string]bool{}
	for _, t := range below.Trees {
		had[t.Name] = true
	}
	sum.Unread = slices.DeleteFunc(sum.Unread, func(u Unread) bool {
		return len(u.Key) == 0 && !had[""] && len(sum.Trees) > 0 && !lockedReason(sum.Unread)
	})
	for _, t := range sum.Trees {
		delete(had, t.Name)
	}
	for _, l := range b.p.LeftOut {
		for name := range had {
			if name != "" && strings.HasPrefix(name, l.Name) {
				sum.Unread = append(sum.Unread, Unread{Key: []byte(name), Why: l.Name + " was left out"})
			}
		}
	}
}

// lockedReason tells whether a volume other than the root is unread.
func lockedReason(list []Unread) bool {
	return slices.ContainsFunc(list, func(u Unread) bool { return len(u.Key) > 0 })
}

// write compares what was read with what was, and writes the difference, or all of it where
// the chain is long enough.
func (b *builder) write(names *sorter, sum Summary, base blockstore.Catalogues) (*Built, error) {
	if base != nil {
		if b.size.length > b.Longest || b.size.rest > b.size.whole/2+(256<<10) {
			return b.fill(names, sum, base, true)
		}
		built, err := b.fill(names, sum, base, false)
		if !errors.Is(err, errMuchChanged) {
			return built, err
		}
	}
	return b.fill(names, sum, base, true)
}

// errMuchChanged ends writing a difference that is as long as the whole.
var errMuchChanged = errors.New("much changed")

// fill writes the catalogue. A whole one needs the one below, too: for what could not be read
// now.
func (b *builder) fill(names *sorter, sum Summary, base blockstore.Catalogues, whole bool) (*Built, error) {
	on := base
	if whole {
		on = nil
	}
	return b.put(on, func(w *frameWriter) (_ Summary, err error) {
		var was entries = none{}
		if base != nil {
			chain, _, _, err := openChain(b.o.Vault, base)
			if err != nil {
				return sum, err
			}
			defer chain.close()
			was = chain
		}
		read := sum.Names
		sum.Names = 0
		err = compare(was, &sorted{m: newMerger(names.sources())}, newPrefixes(slices.Concat(sum.Unread, b.kept)), func(f finding, e *Entry) error {
			if f != gone {
				sum.Names++
			}
			if f == changed || !whole && f == gone || whole && f != gone {
				err = w.add(e)
			}
			if err == nil && !whole && w.entries > 1000 && w.entries > read/2 {
				err = errMuchChanged
			}
			return err
		})
		sum.Changes = w.entries
		return sum, err
	})
}

// put writes head, entries and summary.
func (b *builder) put(base blockstore.Catalogues, entries func(*frameWriter) (Summary, error)) (*Built, error) {
	built := &Built{Whole: base == nil, Walked: true}
	var on blockstore.CatalogueID
	if base != nil {
		on = base[len(base)-1].ID
	}
	c, err := b.o.WriteCatalogue(b.ctx, b.p, on, func(frame func([]byte) error) error {
		put := func(b []byte) error { built.Size += int64(len(b)); return frame(b) }
		head, err := encodeJSON(headFrame, Head{Version: formatVersion, Point: b.p.ID, Machine: b.p.Machine, Base: baseText(on), Made: b.Now().UTC()})
		if err == nil {
			err = put(head)
		}
		if err != nil {
			return err
		}
		w := &frameWriter{put: put}
		if built.Summary, err = entries(w); err == nil {
			err = w.flush()
		}
		if err != nil {
			return err
		}
		tail, err := encodeJSON(summaryFrame, built.Summary)
		if err == nil {
			err = put(tail)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	built.Catalogue = c
	if f, err := b.o.OpenCatalogue(c); err == nil {
		built.Size = f.Size()
		f.Close()
	}
	return built, nil
}
