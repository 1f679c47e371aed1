package lvm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/thin"
)

// thin opens a thin volume, or a snapshot of one, in its pool.
func (b *builder) thin(v *Volume, s segMeta, depth int) (place, error) {
	if s.outside {
		return place{}, &KindError{v.Name, "thin with an origin outside its pool"}
	}
	pool := b.g.lvs[s.pool]
	if pool == nil || len(pool.segments) != 1 || pool.segments[0].kind != "thin-pool" {
		return place{}, fmt.Errorf("logical volume %s: %.40q is no pool of thin volumes", v.Name, s.pool)
	}
	p := pool.segments[0]
	data, metadata := b.g.lvs[p.pool], b.g.lvs[p.metadata]
	if data == nil || metadata == nil {
		return place{}, fmt.Errorf("pool %s lies on %.40q and %.40q, which the group does not have", pool.name, p.pool, p.metadata)
	}
	d, m := b.nested(data, depth+1), b.nested(metadata, depth+1)
	if err := errors.Join(d.Err, m.Err); err != nil {
		return place{}, err
	}
	opened, known := b.pools[s.pool]
	if !known {
		var err error
		if opened, err = thin.Open(m, m.Size, d, d.Size); err != nil {
			return place{}, fmt.Errorf("pool %s: %w", pool.name, err)
		}
		b.pools[s.pool] = opened
	}
	if opened.BlockSize() != p.chunk {
		return place{}, fmt.Errorf("pool %s: its metadata has blocks of %d bytes, its group chunks of %d", pool.name, opened.BlockSize(), p.chunk)
	}
	r, err := opened.Volume(uint64(s.device), s.start+s.len)
	if err != nil {
		return place{}, fmt.Errorf("logical volume %s: %w", v.Name, err)
	}
	if opened.NeedsCheck() {
		v.Note = "its pool says that it needs to be checked (thin_check)"
	}
	return place{r, s.start}, nil
}

// cached reads the origin of a cached volume where that has all that was written.
func (b *builder) cached(v *Volume, s segMeta, depth int) (place, error) {
	mode := s.cacheMode
	if pool := b.g.lvs[s.pool]; mode == "" && pool != nil && len(pool.segments) > 0 {
		mode = pool.segments[0].cacheMode
	}
	switch {
	case mode == "":
		return place{}, &KindError{v.Name, "cache, in which mode is not known"}
	case mode != "writethrough" && mode != "passthrough":
		return place{}, &KindError{v.Name, "cache in mode " + strings.ToValidUTF8(mode, "�") + ": what was written last may lie in its cache alone"}
	}
	origin := b.g.lvs[s.origin]
	if origin == nil {
		return place{}, fmt.Errorf("logical volume %s caches %.40q, which the group does not have", v.Name, s.origin)
	}
	o := b.nested(origin, depth+1)
	v.Note = "it is cached (" + mode + "), and read from below its cache, which has the same"
	return place{o, s.start}, o.Err
}
