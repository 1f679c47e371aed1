package blockstore

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Health is what can be told of a vault without walking maps: it costs a list of its
// packs. Sizes are bytes.
type Health struct {
	Packs   int   // that are there
	Stored  int64 // their sizes
	Unique  int64 // of the blocks in them, before compression; the last one of a disk counts as a whole one
	Damaged int   // pieces that are noted as damaged

	Free, Size int64 // of the file system
	// Floor is the free space below which no backup begins: as this process was told where it is the vault's owner, else
	// as it is for an owner that was not told otherwise and knows of nothing that grows beside the vault.
	Floor int64

	// Swept is when a sweep ran, or a person looked at the clock, at the latest a day before
	// the last time that one did; zero: never.
	Swept time.Time
	// Clock is ErrClock where nothing is deleted by this host's clock.
	Clock error
}

// Health tells how the vault is at a time. Where something cannot be read, the rest is
// returned with the error.
func (v *Vault) Health(ctx context.Context, now time.Time) (*Health, error) {
	return v.health(ctx, now, once(v.dir.Glance))
}

func (v *Vault) health(ctx context.Context, now time.Time, list lister) (*Health, error) {
	h := &Health{}
	errs := []error{v.refresh(ctx), v.countStored(ctx, h, list)}
	notes, unread, err := v.damageNotes(ctx)
	errs = append(errs, err)
	for _, of := range notes.inPacks() {
		h.Damaged += len(of)
	}
	for _, err := range unread {
		errs = append(errs, err)
	}
	h.Free, h.Size, err = v.dir.Space()
	h.Floor, errs = v.floor(h.Size), append(errs, err)
	note, _, err := v.clockNote()
	h.Swept, errs = note.Time, append(errs, err)
	if h.Clock = v.believes(ctx, now, list); !errors.Is(h.Clock, ErrClock) {
		errs, h.Clock = append(errs, h.Clock), nil
	}
	return h, errors.Join(errs...)
}

// floor is how much stays free of a file system of total bytes.
func (v *Vault) floor(total int64) int64 {
	if v.keepsFree != nil {
		return v.keepsFree(total)
	}
	return backend.Floor(total)
}

// countStored adds up packs. Segments tell the sizes of those that they name.
func (v *Vault) countStored(ctx context.Context, h *Health, list lister) error {
	type size struct{ bytes, blocks int64 }
	told := map[pack.ID]size{}
	for _, t := range v.tables.Load().tables {
		for _, p := range t.Packs {
			s := size{bytes: p.Size}
			if pack.Class(p.Class) == pack.Blocks {
				s.blocks = int64(p.Records)
			}
			told[p.ID] = s
		}
	}
	return v.eachPack(list, func(w WriterID, id pack.ID) error {
		s, known := told[id]
		if !known {
			n, err := v.dir.Size(packPath(w, id))
			if isNotExist(err) {
				return nil // swept meanwhile
			}
			if err != nil {
				return err
			}
			s.bytes = n
		}
		h.Packs++
		h.Stored += s.bytes
		h.Unique += s.blocks * int64(v.head.BlockSize)
		return ctx.Err()
	})
}
