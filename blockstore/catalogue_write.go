package blockstore

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// catalogueRoom is how much space is asked for at a time while a catalogue is written.
const catalogueRoom = 64 << 20

// WriteCatalogue writes the catalogue of a point, whole or on top of base, which is to be
// one of the same machine. Fill hands over its frames, in order, each of 1 to
// [MaxCatalogueFrame] bytes that it may use again. The catalogue is there whole when
// WriteCatalogue returns nil, and not at all otherwise. ErrNotFound: its point, or what it
// builds on, is gone. ErrFull: there is no room above the floor.
func (o *Owner) WriteCatalogue(ctx context.Context, p *Point, base CatalogueID, fill func(frame func([]byte) error) error) (c Catalogue, err error) {
	id, err := pack.ParseID(randomHex(16))
	if err != nil {
		return c, err
	}
	c = Catalogue{Machine: p.Machine, Seq: p.Seq, Point: p.ID, ID: CatalogueID(id), Base: base}
	err = unlessHung(ctx, o.dir, func(ctx context.Context) error { return o.writeCatalogue(ctx, p, c, fill) })
	if err != nil {
		return Catalogue{}, fmt.Errorf("write the catalogue of %s@%s: %w", p.MachineName, p.ID, err)
	}
	return c, nil
}

func (o *Owner) writeCatalogue(ctx context.Context, p *Point, c Catalogue, fill func(func([]byte) error) error) error {
	if err := o.checkSpace(catalogueRoom); err != nil {
		return err
	}
	f, err := o.dir.Create(c.path())
	if err != nil {
		return err
	}
	defer f.Abort()
	w := &catalogueWriter{ctx: ctx, o: o, rec: o.encoder(), room: catalogueRoom}
	o.store.mu.Lock() // replaceKeys writes these
	h := pack.Header{ID: pack.ID(c.ID), Writer: o.claim.owner.Writer.bytes(), Class: pack.Pages, Seal: o.packSeal(), Created: time.Now(), VaultName: o.name, Vault: o.raw}
	o.store.mu.Unlock()
	if w.w, err = pack.NewWriter(f, h, o.keys); err != nil {
		return err
	}
	if err := fill(w.frame); err != nil {
		return err
	}
	if _, _, err := w.w.Seal(); err != nil {
		return err
	}
	o.opts.Event("catalogue.written")
	return o.commitCatalogue(p, c, f)
}

// commitCatalogue makes a catalogue visible, unless what it is for was removed meanwhile.
func (o *Owner) commitCatalogue(p *Point, c Catalogue, f *backend.File) error {
	o.cataloguing.Lock()
	defer o.cataloguing.Unlock()
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	if _, err := o.dir.Size(pointPath(p.Machine, p.Seq, p.ID)); isNotExist(err) {
		return fmt.Errorf("the point: %w", ErrNotFound)
	} else if err != nil {
		return err
	}
	if !c.Base.IsZero() {
		all, err := o.Catalogues(c.Machine)
		if err != nil {
			return err
		}
		if !all.have(c.Base) {
			return fmt.Errorf("catalogue %s, which it builds on: %w", c.Base, ErrNotFound)
		}
	}
	if err := f.Commit(); err != nil {
		return err
	}
	o.opts.Event("catalogue.committed")
	return nil
}

func (all Catalogues) have(id CatalogueID) bool {
	for _, c := range all {
		if c.ID == id {
			return true
		}
	}
	return false
}

// catalogueWriter writes the frames of one catalogue.
type catalogueWriter struct {
	ctx  context.Context
	o    *Owner
	w    *pack.Writer
	rec  *recorder
	room int64 // bytes for which there is room
}

func (w *catalogueWriter) frame(b []byte) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if len(b) > MaxCatalogueFrame {
		return fmt.Errorf("a frame of %d bytes, at most %d are allowed", len(b), MaxCatalogueFrame)
	}
	if size, _ := w.w.Size(); size+MaxCatalogueFrame > w.room {
		if err := w.o.checkSpace(catalogueRoom); err != nil {
			return err
		}
		w.room += catalogueRoom
	}
	rec, err := w.rec.Encode(w.rec.buf, content.Blob, w.o.keys.ID(content.Blob, b), b)
	if err != nil {
		return err
	}
	w.rec.buf = rec[:0]
	_, err = w.w.Append(rec)
	return err
}

// DropCatalogues removes catalogues, and says how many bytes that freed. What builds on
// them is of no use any more, and goes with the next sweep.
func (o *Owner) DropCatalogues(list Catalogues) (freed int64, err error) {
	o.cataloguing.Lock()
	defer o.cataloguing.Unlock()
	return o.dropCatalogues(list)
}

// dropCatalogues is DropCatalogues for who holds cataloguing.
func (o *Owner) dropCatalogues(list Catalogues) (freed int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	var names []string
	folders := map[string]bool{}
	for _, c := range list {
		if size, err := o.dir.Size(c.path()); err == nil {
			freed += size
		}
		names = append(names, c.path())
		folders[path.Dir(c.path())] = true
	}
	err = o.removing(func() error { return o.dir.Remove(names...) })
	if err != nil {
		return 0, fmt.Errorf("remove catalogues: %w", err)
	}
	for folder := range folders {
		if err := o.dir.RemoveDir(folder); err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// sweepCatalogues removes what no point needs: catalogues of points that were dropped and
// on which none builds, and those of which something is missing.
func (o *Owner) sweepCatalogues(ctx context.Context) error {
	machines, err := o.dir.List(cataloguesDir)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !hexID.MatchString(m) {
			continue
		}
		if err := o.sweepCataloguesOf(MachineID(m)); err != nil {
			return err
		}
	}
	return nil
}

func (o *Owner) sweepCataloguesOf(m MachineID) error {
	o.cataloguing.Lock()
	defer o.cataloguing.Unlock()
	all, err := o.Catalogues(m)
	if err != nil {
		return err
	}
	names, err := o.dir.List(path.Join(pointsDir, string(m)))
	if err != nil {
		return err
	}
	alive := map[PointID]bool{}
	for _, name := range names {
		if _, id, ok := parseNumbered(name); ok {
			alive[PointID(id)] = true
		}
	}
	needed := all.needed(func(p PointID) bool { return alive[p] })
	var gone Catalogues
	for _, c := range all {
		if !needed[c.ID] {
			gone = append(gone, c)
		}
	}
	_, err = o.dropCatalogues(gone)
	return err
}
