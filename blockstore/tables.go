package blockstore

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// tableSet is what readers look IDs up in.
type tableSet struct {
	names  []string              // of all segments, as they were listed
	tables []*segment.Table      // newest first
	broken map[string]error      // segments that are damaged, by name
	last   atomic.Int32          // index of the table that answered last
	order  atomic.Pointer[[]int] // what largestFirst returns, once it was asked
	// loose are the records of packs that no table names, found only when an ID was in none:
	// a segment is lost then. Nil until that happened.
	loose atomic.Pointer[looseRecords]
	gone  atomic.Pointer[map[string]bool] // what dropped returns, once it was asked
	there atomic.Pointer[map[string]bool] // what committed returns, once it was asked
}

// looseRecords are found by ID.
type looseRecords map[ID][]place

// place is where a record lies.
type place struct {
	writer WriterID
	pack   pack.ID
	pack.Location
}

func writerID(b [8]byte) WriterID { return WriterID(hex.EncodeToString(b[:])) }

func (w WriterID) bytes() (b [8]byte) {
	hex.Decode(b[:], []byte(w)) // checked when it was read
	return b
}

// refresh opens segments that appeared and forgets those that are gone. A
// segment that cannot be read is remembered and passed over.
func (v *Vault) refresh(ctx context.Context) error {
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	for range 100 {
		again, err := v.refreshOnce(ctx)
		if err != nil || !again {
			return err
		}
	}
	return errors.New("segments come and go too fast")
}

// refreshOnce returns true when a segment vanished between the listing and its
// opening: it was merged, and the listing is to be read again.
func (v *Vault) refreshOnce(ctx context.Context) (again bool, err error) {
	old := v.tables.Load()
	byName := map[string]*segment.Table{}
	for _, t := range old.tables {
		byName[t.Name] = t
	}
	names, err := v.segmentNames()
	if err != nil {
		return false, err
	}
	if slices.Equal(names, old.names) {
		return false, nil
	}
	set := &tableSet{names: names, broken: map[string]error{}}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		t := byName[name]
		if t == nil {
			t, err = v.openSegment(name)
		}
		switch {
		case err == nil:
			set.tables = append(set.tables, t)
		case isNotExist(err):
			return true, nil
		case errors.Is(err, segment.ErrVersion):
			return false, err
		default:
			v.warn(err.Error())
			set.broken[name] = err
			err = nil
		}
	}
	slices.SortStableFunc(set.tables, func(a, b *segment.Table) int { return int(int64(b.Seq) - int64(a.Seq)) })
	v.tables.Store(set)
	return false, nil
}

// openSegment opens a segment: mapped on a file system of this host, read where
// a server may stop to answer.
func (v *Vault) openSegment(name string) (*segment.Table, error) {
	if v.local {
		defer v.dir.Call("open", name)()
		return segment.Open(v.dir.Path(name), name, v.keys)
	}
	f, err := v.dir.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := v.dir.Size(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t, err := segment.OpenFile(&remoteFile{v.dir, f, name}, size, name, v.keys)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil // the file is closed with what refers to it
}

// remoteFile reads a file whose server may stop to answer.
type remoteFile struct {
	dir  *backend.Dir
	f    *os.File
	name string
}

func (r *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	defer r.dir.Call("read", r.name)()
	return r.f.ReadAt(p, off)
}

// segmentNames lists the segments of all writers.
func (v *Vault) segmentNames() ([]string, error) {
	writers, err := v.dir.List(segmentsDir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, w := range writers {
		if !hexID.MatchString(w) {
			continue
		}
		files, err := v.dir.List(path.Join(segmentsDir, w))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			names = append(names, path.Join(segmentsDir, w, f))
		}
	}
	return names, nil
}

// find calls fn for each place that id is stored at, as far as the tables say,
// until fn returns true. The table that answered last is asked first, then the
// others, the largest first: it knows most.
func (s *tableSet) find(id ID, fn func(place) bool) error {
	start := int(s.last.Load())
	var errs []error
	ask := func(at int) bool {
		found, err := s.findIn(at, id, fn)
		if err != nil {
			errs = append(errs, err)
		}
		if found && at != start {
			s.last.Store(int32(at))
		}
		return found
	}
	if start < len(s.tables) && ask(start) {
		return nil
	}
	for _, at := range s.largestFirst() {
		if at != start && ask(at) {
			return nil
		}
	}
	if loose := s.loose.Load(); loose != nil {
		for _, p := range (*loose)[id] {
			if fn(p) {
				return nil
			}
		}
	}
	return errors.Join(errs...)
}

// largestFirst returns the indices of the tables by the number of their entries.
func (s *tableSet) largestFirst() []int {
	if order := s.order.Load(); order != nil {
		return *order
	}
	order := make([]int, len(s.tables))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(s.tables[j].Count, s.tables[i].Count) })
	s.order.Store(&order)
	return order
}

func (s *tableSet) findIn(at int, id ID, fn func(place) bool) (bool, error) {
	t := s.tables[at]
	first, after, err := t.Find(id)
	if err != nil {
		return false, err
	}
	for i := first; i < after; i++ {
		e, err := t.Entry(i)
		if err != nil {
			return false, err
		}
		if fn(place{writerID(t.Writer), t.Packs[e.Pack].ID, pack.Location{Offset: e.Offset, Length: e.Length}}) {
			return true, nil
		}
	}
	return false, nil
}

// eachPack calls fn for every pack that is there.
func (v *Vault) eachPack(list lister, fn func(WriterID, pack.ID) error) error {
	writers, err := list(packsDir)
	if err != nil {
		return err
	}
	for _, w := range writers {
		if !hexID.MatchString(w) {
			continue
		}
		folders, err := list(path.Join(packsDir, w))
		if err != nil {
			return err
		}
		for _, folder := range folders {
			if len(folder) != 2 {
				continue
			}
			names, err := list(path.Join(packsDir, w, folder))
			if err != nil {
				return err
			}
			for _, name := range names {
				id, err := pack.ParseID(name)
				if err != nil || name[:2] != folder {
					continue
				}
				if err := fn(WriterID(w), id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// entriesOf lists what the tables say of a pack whose footer is damaged, in the
// order of its records. It reads all tables.
func (s *tableSet) entriesOf(id pack.ID) (entries []pack.Entry) {
	for _, t := range s.tables {
		for i := range t.Count {
			e, err := t.Entry(i)
			if err == nil && t.Packs[e.Pack].ID == id {
				entries = append(entries, pack.Entry{ID: e.ID, Location: pack.Location{Offset: e.Offset, Length: e.Length}})
			}
		}
	}
	slices.SortFunc(entries, func(a, b pack.Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.Compact(entries)
}

// brokenErr names the segments that are damaged.
func (s *tableSet) brokenErr() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.broken)) {
		errs = append(errs, s.broken[name])
	}
	return errors.Join(errs...)
}

// named returns the packs that some table names.
func (s *tableSet) named() map[pack.ID]bool {
	named := map[pack.ID]bool{}
	for _, t := range s.tables {
		for _, p := range t.Packs {
			named[p.ID] = true
		}
	}
	return named
}

// namedByGood returns the packs that some table names whose entries are not
// damaged. It reads tables whole, each once in a vault's life.
func (v *Vault) namedByGood(s *tableSet) map[pack.ID]bool {
	named := map[pack.ID]bool{}
	for _, t := range s.tables {
		bad, known := v.verified.Load(t.Name)
		if !known {
			err := t.Verify(v.keys)
			if bad = err != nil; err != nil {
				v.warn(fmt.Sprintf("%v; its packs are looked into", err))
			}
			v.verified.Store(t.Name, bad)
		}
		for _, p := range t.Packs {
			if bad == false {
				named[p.ID] = true
			}
		}
	}
	return named
}

// loadLoose reads the footers of packs that no good table names. It does so once for
// a set of tables, and only when something was not found.
func (v *Vault) loadLoose(s *tableSet) error {
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	if s.loose.Load() != nil {
		return nil
	}
	named, loose := v.namedByGood(s), looseRecords{}
	err := v.eachPack(v.dir.List, func(w WriterID, id pack.ID) error {
		if named[id] {
			return nil
		}
		entries, _, err := v.packEntries(w, id)
		if err != nil {
			v.warn(fmt.Sprintf("pack %s: %v", id, err))
			return nil
		}
		for _, e := range entries {
			loose[e.ID] = append(loose[e.ID], place{w, id, e.Location})
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.loose.Store(&loose)
	return nil
}

// packEntries lists the records of a pack and returns its size; where the
// footer is damaged they are searched for.
func (v *Vault) packEntries(w WriterID, id pack.ID) ([]pack.Entry, int64, error) {
	f, err := v.dir.Open(packPath(w, id))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	entries, err := pack.ReadFooter(f, st.Size(), id)
	if err == nil || !errors.Is(err, pack.ErrDamaged) {
		return entries, st.Size(), err
	}
	v.warn(fmt.Sprintf("the footer of pack %s: %v; its records are searched for", id, err))
	entries = nil
	err = pack.Salvage(f, st.Size(), v.opener(id), func(e pack.Entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, st.Size(), err
}
