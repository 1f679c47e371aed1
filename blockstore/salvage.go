package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// SalvageOptions of Salvage. The zero value works.
type SalvageOptions struct {
	Options
	KeepHarmed bool                    // write harmed points, too: what they lost is an error to read there
	MinFree    int64                   // as in OwnOptions
	Workers    int                     // 0: one per processor
	Progress   func(done, total int64) // bytes of packs; may be nil
}

// SalvageReport is what Salvage found and wrote.
type SalvageReport struct {
	Vault   VaultInfo // the new one
	Points  int       // written whole
	Packs   int       // looked into
	Records int64     // copied
	Bytes   int64     // copied
	Bad     int64     // records that do not hash, or cannot be read; most vaults have other copies of some
	Harmed  []HarmedPoint
	Lost    []Fault // files of the old vault that could not be used: points, attributes, packs
}

// HarmedPoint is a point that is not whole.
type HarmedPoint struct {
	Point *Point
	Kept  bool // it was written nevertheless
	Lost  []Harm
}

// LostAny tells whether anything that points held is lost, or a record of one.
func (r *SalvageReport) LostAny() bool { return len(r.Harmed)+len(r.Lost) > 0 }

// Salvage builds a new vault in a folder that does not exist, with the keys and
// block size of a broken one, from whatever of that still hashes: packs are
// searched whether or not their footers or any segment can be read, points are
// taken from their records or from segments, VAULT from packs where it must. Points of which
// everything was found are written as they were. The old vault is only read. What was
// copied before an interruption is found by the next run with the same folder.
func Salvage(ctx context.Context, from, to string, o SalvageOptions) (*SalvageReport, error) {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	s, err := openSalvage(ctx, from, to, o)
	if err != nil {
		return nil, fmt.Errorf("salvage vault %s: %w", from, err)
	}
	defer s.from.Close()
	err = s.run(ctx)
	if e := s.to.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = moveFolder(to+salvaging, to)
	}
	if err != nil {
		return nil, fmt.Errorf("salvage vault %s: %w", from, err)
	}
	s.report.Vault.Path = to
	return s.report, nil
}

// moveFolder gives a folder its name, durably.
func moveFolder(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	f, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// salvaging ends the name of the folder that a new vault has until it is whole.
const salvaging = ".salvaging"

// salvage is one run.
type salvage struct {
	o    SalvageOptions
	from *Vault
	to   *Owner
	b    *Backup // never committed: what is stored counts on it

	mu     sync.Mutex // guards report
	report *SalvageReport
}

func openSalvage(ctx context.Context, from, to string, o SalvageOptions) (*salvage, error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s: %w", to, ErrExists), err)
	}
	v, err := openBroken(from, o.Options)
	if err != nil {
		return nil, err
	}
	if err := createFor(v, to); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	owner, err := Own(ctx, to+salvaging, OwnOptions{Options: o.Options, MinFree: o.MinFree})
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	if owner.head.Secret != v.head.Secret || owner.head.BlockSize != v.head.BlockSize {
		err := fmt.Errorf("%s is what was salvaged from another vault: remove it, or choose another name", to+salvaging)
		return nil, errors.Join(err, owner.Close(), v.Close())
	}
	s := &salvage{o: o, from: v, to: owner, b: &Backup{o: owner, counts: map[*openPack]bool{}}, report: &SalvageReport{Vault: owner.Info()}}
	for name, err := range v.tables.Load().broken {
		s.lost(name, fmt.Errorf("%w; a point that it told of and whose own record is gone, too, cannot be named", err))
	}
	return s, nil
}

// openBroken opens a vault of which nothing is believed but its keys. Segments
// that cannot be read are noted as broken.
func openBroken(dir string, o Options) (*Vault, error) {
	v := &Vault{dir: backend.NewDir(dir), warn: o.Warn, files: newPackFiles(), unlock: o.Unlock}
	if v.warn == nil {
		v.warn = func(string) {}
	}
	if err := v.readVault(); err != nil {
		return nil, err
	}
	set := &tableSet{broken: map[string]error{}}
	names, err := v.segmentNames()
	if err != nil {
		v.warn(err.Error())
	}
	for _, name := range names {
		t, err := v.openSegment(name)
		if err != nil {
			set.broken[name] = err
			continue
		}
		set.tables = append(set.tables, t)
	}
	v.tables.Store(set)
	return v, v.makeCaches(o)
}

// createFor makes the new vault, unless an interrupted run did.
func createFor(v *Vault, to string) error {
	head := v.head
	head.ID, head.Created = VaultID(randomHex(8)), time.Now().UTC().Truncate(time.Second)
	dir := to + salvaging
	err := makeEmpty(dir)
	if errors.Is(err, ErrExists) {
		if _, e := os.Stat(filepath.Join(dir, vaultDir)); e == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return (&Vault{dir: backend.NewDir(dir), head: head, keys: v.keys}).writeSkeleton()
}

// run copies records, makes them durable and findable, and then the points that
// name them.
func (s *salvage) run(ctx context.Context) error {
	defer s.b.Abort()
	if err := s.copyPacks(ctx); err != nil {
		return err
	}
	if err := s.b.seal(); err != nil {
		return err
	}
	if err := s.name(ctx, 0); err != nil {
		return err
	}
	return s.points(ctx)
}

// name writes a segment for what was copied, and merges segments where there
// are more than so many.
func (s *salvage) name(ctx context.Context, many int) error {
	o := s.to
	o.committing.Lock()
	defer o.committing.Unlock()
	if many == 0 {
		if err := o.writeSegment(nil); err != nil {
			return err
		}
	}
	if len(o.tables.Load().tables) <= many {
		return nil
	}
	return o.mergeSegments(ctx)
}

// copyPacks copies whatever hashes of all packs.
func (s *salvage) copyPacks(ctx context.Context) error {
	type found struct {
		writer WriterID
		id     pack.ID
		size   int64
	}
	var list []found
	var total int64
	err := s.from.eachPack(s.from.dir.List, func(w WriterID, id pack.ID) error {
		size, err := s.from.dir.Size(packPath(w, id))
		if err != nil {
			s.lost(packPath(w, id), err)
			return nil
		}
		list = append(list, found{w, id, size})
		total += size
		return nil
	})
	if err != nil {
		return err
	}
	s.report.Packs = len(list)
	var done atomic.Int64
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Workers)
	for _, p := range list {
		g.Go(func() error {
			if err := s.copyPack(groupCtx, p.writer, p.id); err != nil {
				return err
			}
			s.o.Progress(done.Add(p.size), total)
			return nil
		})
	}
	return g.Wait()
}

// copyPack copies the records of one pack that the new vault does not have. An
// error is the new vault's.
func (s *salvage) copyPack(ctx context.Context, w WriterID, id pack.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	where := packPath(w, id)
	f, err := s.from.dir.Open(where)
	if err != nil {
		s.lost(where, err)
		return nil
	}
	defer f.Close()
	entries := s.entries(f, id, where)
	plain, opener := make([]byte, pack.MaxContent), s.from.opener(id)
	var moved []byte // a record without its seal: it gets that of its new place
	none := func(int64) error { return nil }
	err = eachRecord(ctx, f, entries, none, func(i int, rec []byte, err error) error {
		if err == nil {
			var kind content.Kind
			if kind, err = good(opener, entries[i], rec, plain); err == nil {
				moved, err = opener.Unseal(moved, rec)
			}
			if err == nil {
				return s.copyRecord(kind, entries[i].ID, moved)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.report.Bad++
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.b.settle(); err != nil {
		return err
	}
	return s.name(ctx, 4*maxPerClass)
}

// entries lists what may lie in a pack: what its footer says, or else what can be found
// by searching and what segments say.
func (s *salvage) entries(f *os.File, id pack.ID, where string) []pack.Entry {
	st, err := f.Stat()
	if err != nil {
		s.lost(where, err)
		return nil
	}
	entries, err := pack.ReadFooter(f, st.Size(), id)
	if err == nil {
		return entries
	}
	s.from.warn(fmt.Sprintf("the footer of pack %s: %v; its records are searched for", id, err))
	err = pack.Salvage(f, st.Size(), s.from.opener(id), func(e pack.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil { // it cannot be read to its end
		s.lost(where, err)
		entries = append(entries, s.from.tables.Load().entriesOf(id)...)
	}
	return entries
}

// good tells what a record holds, if that hashes to its ID.
func good(opener *pack.Opener, e pack.Entry, rec, plain []byte) (content.Kind, error) {
	kind, n, err := pack.Describe(rec)
	if err != nil {
		return 0, err
	}
	return kind, opener.Decode(kind, e.ID, rec, plain[:n])
}

func (s *salvage) copyRecord(kind content.Kind, id ID, rec []byte) error {
	known, err := s.to.find(id, s.b)
	if known || err != nil {
		return err
	}
	n, err := s.to.put(kind, id, rec, s.b)
	if n > 0 {
		s.mu.Lock()
		s.report.Records++
		s.report.Bytes += n
		s.mu.Unlock()
	}
	return err
}

// settle forgets packs that are durable, so that a long run does not remember
// them all.
func (b *Backup) settle() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.counts {
		select {
		case <-p.done:
			if p.err != nil {
				return p.err
			}
			delete(b.counts, p)
		default:
		}
	}
	return nil
}

// lost notes a file of the old vault that cannot be used.
func (s *salvage) lost(where string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Lost = append(s.report.Lost, Fault{Where: where, What: err.Error()})
}

// sort makes the report the same for every run.
func (r *SalvageReport) sort() {
	slices.SortFunc(r.Lost, func(a, b Fault) int { return slices.Compare([]byte(a.Where), []byte(b.Where)) })
}
