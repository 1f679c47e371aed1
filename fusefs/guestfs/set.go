package guestfs

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// setPart is a volume of a file system that lies on several.
type setPart struct {
	v *Volume
	tree.Member
}

// openSet opens a file system that lies on several volumes, together with the others
// that are in the point. The part with the lowest number shows it; the others say
// where it is. false: v is a file system by itself. v.mu is held.
func (v *Volume) openSet(f *tree.Format) (tree.FileSystem, bool, error) {
	mine, parts := v.parts(f)
	if parts == nil {
		return nil, false, nil
	}
	if first := parts[0].v; first != v {
		v.fsErr = &UnreadableError{v.Name, v.signature.kind,
			fmt.Sprintf("it is part %d of %d of the %s that volume %s shows", mine.Device, mine.Of, f.Name, first.Name), "read volume " + first.Name, false}
		return nil, true, v.fsErr
	}
	var readers []tree.Part
	for _, p := range parts {
		readers = append(readers, tree.Part{R: p.v.r, Size: p.v.Size})
	}
	fs, err := f.OpenSet(readers, v.options())
	if err != nil {
		return nil, true, fmt.Errorf("volume %s (%s): %w", v.Name, f.Name, err)
	}
	v.fs = fs
	return fs, true, nil
}

// parts finds the volumes of the point that are parts of the same file system as v, the
// one with the lowest number first. nil: v is one by itself, or opening it tells.
func (v *Volume) parts(f *tree.Format) (tree.Member, []setPart) {
	mine, err := f.Member(v.r, v.Size)
	if err != nil || mine.Of < 2 {
		return mine, nil
	}
	var parts []setPart
	for _, o := range v.g.volumes {
		if o.err != nil || o.pv != nil || o != v && !f.Probe(o.r, o.Size) {
			continue
		}
		if m, err := f.Member(o.r, o.Size); err == nil && m.Set == mine.Set {
			parts = append(parts, setPart{o, m})
		}
	}
	slices.SortStableFunc(parts, func(a, b setPart) int { return cmp.Compare(a.Device, b.Device) })
	return mine, parts
}

// shownBy is the volume that shows what v is a part of: mostly v itself.
func (v *Volume) shownBy() *Volume {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s, err := v.look(); err == nil && s.format != nil && s.format.Member != nil {
		if _, parts := v.parts(s.format); parts != nil {
			return parts[0].v
		}
	}
	return v
}
