package lvm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/thin"
)

// Volume is a logical volume. Reading is safe from several goroutines when its
// devices are.
type Volume struct {
	Name, UUID string
	Size       int64 // bytes
	Err        error // why it cannot be read: *MissingError, *KindError or damage; nil if it can

	// Note says from which leg a mirrored volume is read; "" for others.
	Note string

	runs []run // ascending, without gaps
}

// run is a piece of a volume that lies in stripes on as many places.
type run struct {
	start, len int64
	stripe     int64 // bytes; of no meaning with one place
	at         []place
}

type place struct {
	r   io.ReaderAt
	off int64
}

// ReadAt reads as io.ReaderAt does.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	if v.Err != nil {
		return 0, v.Err
	}
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	done := 0
	for i := sort.Search(len(v.runs), func(i int) bool { return v.runs[i].start+v.runs[i].len > off }); done < len(p); {
		if i == len(v.runs) {
			return done, io.EOF
		}
		r := &v.runs[i]
		n, err := r.readAt(p[done:], off-r.start)
		done, off = done+n, off+int64(n)
		if err != nil {
			return done, err
		}
		if off >= r.start+r.len {
			i++
		}
	}
	return done, nil
}

// readAt reads at least a byte of the run, at most to the end of a stripe.
func (r *run) readAt(p []byte, off int64) (int, error) {
	place, off, left := r.find(off)
	p = p[:min(int64(len(p)), left)]
	n, err := place.r.ReadAt(p, place.off+off)
	if n == len(p) {
		return n, nil
	}
	return n, orEOF(err)
}

// builder makes readers of the volumes of one group.
type builder struct {
	g    *groupMeta
	here map[string]io.ReaderAt // physical volumes by id

	// built are the volumes by name, each made once however many lie on it; nil
	// while it is being made, so that one that lies in itself is found out.
	built map[string]*Volume
	pools map[string]*thin.Pool // of thin volumes, that were opened
}

// maxNesting is how deep volumes lie in volumes: a mirror in a mirror that is being
// converted is the most that LVM makes.
const maxNesting = 4

func (b *builder) volume(l *lvMeta) *Volume { return b.nested(l, 0) }

func (b *builder) nested(l *lvMeta, depth int) *Volume {
	v, known := b.built[l.name]
	if known && v != nil {
		return v
	}
	v = &Volume{Name: l.name, UUID: l.id, Size: l.size()}
	if known || depth > maxNesting {
		v.Err = fmt.Errorf("logical volume %s lies in itself", l.name)
		return v
	}
	b.built[l.name] = nil
	v.runs, v.Err = b.runs(v, l, depth)
	b.built[l.name] = v
	return v
}

func (b *builder) runs(v *Volume, l *lvMeta, depth int) ([]run, error) {
	if len(l.segments) == 0 {
		return nil, fmt.Errorf("logical volume %s has no segments", l.name)
	}
	var runs []run
	end := int64(0)
	missing := &MissingError{Volume: v.Name}
	for _, s := range l.segments {
		if s.start != end {
			return nil, fmt.Errorf("logical volume %s: its segments leave a gap or overlap at %d", l.name, end)
		}
		end += s.len
		r, err := b.run(v, s, depth)
		if lacks := (*MissingError)(nil); errors.As(err, &lacks) {
			missing.add(lacks.Missing)
			continue
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	if len(missing.Missing) > 0 {
		return nil, missing
	}
	return runs, nil
}

func (e *MissingError) add(list []Missing) {
	for _, m := range list {
		if !slices.Contains(e.Missing, m) {
			e.Missing = append(e.Missing, m)
		}
	}
}

func (b *builder) run(v *Volume, s segMeta, depth int) (run, error) {
	r := run{start: s.start, len: s.len, stripe: s.stripe}
	switch {
	case s.raid != nil:
		at, err := b.raid(v, s, depth)
		r.at = []place{at}
		return r, err
	case s.kind == "thin":
		at, err := b.thin(v, s, depth)
		r.at = []place{at}
		return r, err
	case strings.HasPrefix(s.kind, "cache") && !strings.HasPrefix(s.kind, "cache-pool"):
		at, err := b.cached(v, s, depth)
		r.at = []place{at}
		return r, err
	case len(s.parts) == 0 || strings.Contains(s.kind, "reshaped"):
		return r, &KindError{v.Name, s.kind}
	case s.mirrored:
		at, err := b.leg(v, s, depth)
		r.at = []place{at}
		return r, err
	}
	missing := &MissingError{Volume: v.Name}
	for _, p := range s.parts {
		at, err := b.place(v, p, depth)
		if lacks := (*MissingError)(nil); errors.As(err, &lacks) {
			missing.add(lacks.Missing)
			continue
		}
		if err != nil {
			return r, err
		}
		r.at = append(r.at, at)
	}
	if len(missing.Missing) > 0 {
		return r, missing
	}
	return r, nil
}

// leg picks the first leg of a mirror that is whole here. Legs that are being filled
// are not.
func (b *builder) leg(v *Volume, s segMeta, depth int) (place, error) {
	missing := &MissingError{Volume: v.Name}
	states := b.states(s, depth)
	for i, p := range s.parts {
		if l := b.g.lvs[p.name]; l != nil && l.rebuild || states[i] != 0 {
			continue
		}
		at, err := b.place(v, p, depth)
		if lacks := (*MissingError)(nil); errors.As(err, &lacks) {
			missing.add(lacks.Missing)
			continue
		}
		if err == nil {
			v.Note = "it is mirrored, and read from its leg " + p.name
			// A leg of a mirror begins where it begins, whatever the segment's own start.
			if s.kind == "raid1" {
				at.off += s.start
			}
		}
		return at, err
	}
	if len(missing.Missing) > 0 {
		return place{}, missing
	}
	return place{}, fmt.Errorf("logical volume %s: none of its legs is filled", v.Name)
}

// place finds where a part lies.
func (b *builder) place(v *Volume, p part, depth int) (place, error) {
	if pv, ok := b.g.pvs[p.name]; ok {
		r := b.here[pv.id]
		if r == nil {
			return place{}, &MissingError{v.Name, []Missing{{pv.id, pv.device}}}
		}
		return place{r, pv.start + p.off}, nil
	}
	l := b.g.lvs[p.name]
	if l == nil {
		return place{}, fmt.Errorf("logical volume %s lies on %.40q, which the group does not have", v.Name, p.name)
	}
	inner := b.nested(l, depth+1)
	return place{inner, p.off}, inner.Err
}
