package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/index"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// defaultStateDir is where a host keeps what it alone needs.
const defaultStateDir = "/var/lib/holdfast"

// indexPath is the folder of the index: in the vault when that lies on a local
// file system, in the host's state directory otherwise.
func (o *Owner) indexPath() string {
	w := string(o.claim.owner.Writer)
	if o.dir.Local() {
		return filepath.Join(o.dir.Root(), indexDir, w)
	}
	state := o.opts.StateDir
	if state == "" {
		state = defaultStateDir
	}
	return filepath.Join(state, indexDir, string(o.head.ID)+"-"+w)
}

// openIndex opens the index, or an empty one where there is none, it cannot be
// opened, or it is to be rebuilt: packs that it does not know are entered next.
// What cannot be opened is kept aside until the next time.
func (o *Owner) openIndex(rebuild bool) error {
	dir := o.indexPath()
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if rebuild {
		if err := setAside(dir); err != nil {
			return err
		}
	}
	if err := o.checkIndexRoom(); err != nil {
		return err
	}
	var err error
	if o.index, err = index.Open(dir, nil); err == nil {
		return nil
	}
	o.warn(fmt.Sprintf("%v; it is set aside and made anew from the packs", err))
	if err := setAside(dir); err != nil {
		return err
	}
	o.index, err = index.Open(dir, nil)
	return err
}

func setAside(dir string) error {
	aside := dir + ".aside"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// indexPacks brings index and packs together: packs that are gone are
// forgotten, and packs that an owner sealed before it died, or all of them when
// the index is new, are entered. Packs that no segment names wait for the next
// one.
func (o *Owner) indexPacks(ctx context.Context, progress func(packs, total int)) error {
	s := &o.store
	indexed, named := o.index.Packs(), o.tables.Load().named()
	for id := range indexed {
		if !s.present[id] {
			if err := o.index.ForgetPacks(id); err != nil {
				return err
			}
		}
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	outlived, err := o.outlived()
	if err != nil {
		return err
	}
	loaded, err := o.loadSegments(ctx, func(id pack.ID) bool { _, known := indexed[id]; return !known }, progress)
	if err != nil {
		return err
	}
	done := len(loaded)
	for id := range s.present {
		if err := ctx.Err(); err != nil {
			return err
		}
		records, again := outlived[id]
		if loaded[id] && !again {
			continue
		}
		_, known := indexed[id]
		known = known || loaded[id] || o.noIndex // the next owner enters it
		if err := o.enterPack(id, known, named[id] && !again, records); err != nil {
			return err
		}
		if !loaded[id] {
			done++
		}
		progress(done, len(s.present))
	}
	return nil
}

// enterPack enters a pack that is there into the index and notes it for the
// next segment, as far as that was not done. A pack that cannot be read is not
// believed: what it held is stored again. One that lists fewer records than
// least is not told of by its list.
func (o *Owner) enterPack(id pack.ID, indexed, named bool, least uint32) error {
	if indexed && named {
		return nil
	}
	entries, size, err := o.packEntries(o.claim.owner.Writer, id)
	if err != nil {
		o.warn(fmt.Sprintf("pack %s: %v; what it holds counts as not stored", id, err))
		o.store.mu.Lock()
		defer o.store.mu.Unlock()
		delete(o.store.present, id)
		return nil
	}
	if !indexed {
		if err := o.checkIndexRoom(); err != nil {
			return err
		}
		if err := o.index.AddPack(id, indexEntries(o.undamaged(id, entries))); err != nil {
			return err
		}
		o.opts.Event("pack.entered")
	}
	if named || len(entries) < int(least) {
		return nil
	}
	o.store.mu.Lock()
	o.store.addUnnamed(newSealed(id, size, entries))
	crowded := o.store.waiting > maxUnnamed
	o.store.mu.Unlock()
	if crowded {
		o.nameSealed()
	}
	return nil
}

// undamaged returns the records of a pack that are not noted as damaged.
func (o *Owner) undamaged(id pack.ID, entries []pack.Entry) []pack.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e pack.Entry) bool { return o.damage.isNoted(e.ID, id) })
}

// putBack brings the records of points and what segments tell of them
// together. Records of points that a segment tells as committed and not as
// dropped, and that are not there, are written: all that they name is durable.
// It returns how many. Points that no segment tells of any more, since one was
// lost, are told again.
func (o *Owner) putBack(ctx context.Context) (count int, err error) {
	o.committing.Lock()
	defer o.committing.Unlock()
	paths, err := pointPaths(o.dir.List)
	if err != nil {
		return 0, err
	}
	told, err := o.toldPoints(ctx)
	if err != nil {
		return 0, err
	}
	done := map[string]bool{}
	for _, p := range paths {
		done[p] = true
	}
	for _, p := range o.undone {
		done[p.Path] = true
	}
	for _, t := range o.tables.Load().tables {
		err := t.EachPoint(func(p segment.Point) error {
			if done[p.Path] || told[p.Path] == segment.Dropped {
				return ctx.Err()
			}
			done[p.Path] = true
			wrote, err := o.putBackPoint(p)
			if wrote {
				count++
			}
			return err
		})
		if err != nil {
			return count, err
		}
	}
	return count, o.tellAgain(paths, told)
}

// toldPoints returns what segments tell of points, by path.
func (o *Owner) toldPoints(ctx context.Context) (map[string]segment.Event, error) {
	told := map[string]segment.Event{}
	for _, t := range o.tables.Load().tables {
		err := t.EachPoint(func(p segment.Point) error {
			if told[p.Path] != segment.Dropped {
				told[p.Path] = p.Event
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return told, nil
}

// tellAgain writes a segment for points that none tells of, and for drops that
// one alone does. The caller holds committing.
func (o *Owner) tellAgain(paths []string, told map[string]segment.Event) error {
	var points []segment.Point
	for _, p := range paths {
		if told[p] != 0 {
			continue
		}
		b, err := o.dir.ReadFile(p, maxRecord)
		if err == nil {
			_, err = o.decodePoint(p, b)
		}
		if err != nil {
			o.warn(err.Error())
			continue
		}
		points = append(points, segment.Point{Event: segment.Committed, Path: p, Record: b})
	}
	once, err := o.toldOnce()
	if points = append(points, once...); err != nil || len(points) == 0 {
		return err
	}
	return o.writeSegment(points)
}

func (o *Owner) putBackPoint(p segment.Point) (wrote bool, err error) {
	if _, err := o.dir.Size(p.Path); !isNotExist(err) {
		return false, err
	}
	point, err := o.decodePoint(p.Path, p.Record)
	if err != nil {
		return false, err
	}
	if p.Path != pointPath(point.Machine, point.Seq, point.ID) {
		return false, fmt.Errorf("a segment tells of a point at %.200q, where it does not belong: %w", p.Path, errRecord)
	}
	for i := range point.Disks {
		d := &point.Disks[i]
		if d.Root.IsZero() {
			continue
		}
		if _, err := o.loadPage(d.Root, diskmap.Levels(o.blocksOf(d.Size))); err != nil {
			o.warn(fmt.Sprintf("point %s@%s is lost, and cannot be put back from a segment: %v", point.MachineName, point.ID, err))
			return false, nil
		}
	}
	if err := o.dir.Write(p.Path, p.Record); err != nil {
		return false, err
	}
	o.history.putBack(point)
	o.warn(fmt.Sprintf("point %s@%s of %s was put back from a segment", point.MachineName, point.ID, point.Time.Format(time.RFC3339)))
	return true, nil
}
