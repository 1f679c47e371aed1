package lvm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Bounds of a volume group.
const (
	maxSegments = 1 << 16 // of all its volumes
	maxStripes  = 128
	maxExtent   = 1 << 36 // bytes
	maxSize     = 1 << 60 // of a volume
)

// groupMeta is the metadata of a volume group, as numbers in bytes.
type groupMeta struct {
	name, id string
	seqno    int64
	extent   int64
	pvs      map[string]pvMeta // by the name that segments use: pv0
	lvs      map[string]*lvMeta
}

type pvMeta struct {
	id, device string // device: its path when the guest last saw it, a hint
	start      int64  // of its first extent
}

type lvMeta struct {
	name, id string
	visible  bool
	rebuild  bool // a leg that is not filled yet
	segments []segMeta
}

// segMeta is a run of extents of one kind.
type segMeta struct {
	kind        string
	start, len  int64
	stripe      int64 // bytes, 0 for one stripe
	parts       []part
	mirrored    bool   // each part holds all of it
	origin, cow string // of a snapshot
}

// part is where a stripe or a leg begins: on a physical volume or in another
// logical volume.
type part struct {
	name string
	off  int64 // in a physical volume: behind its first extent
}

func parseGroup(text string) (*groupMeta, error) {
	root, err := parseText(text)
	if err != nil {
		return nil, err
	}
	for name, v := range root {
		if s, ok := v.(section); ok && s.text("id") != "" {
			return decodeGroup(name, s)
		}
	}
	return nil, errors.New("it names no volume group")
}

func decodeGroup(name string, s section) (*groupMeta, error) {
	extent := s.number("extent_size")
	if extent <= 0 || extent > maxExtent/sectorSize {
		return nil, fmt.Errorf("extents of %d sectors are not possible", extent)
	}
	g := &groupMeta{name: name, id: s.text("id"), seqno: s.number("seqno"), extent: extent * sectorSize,
		pvs: map[string]pvMeta{}, lvs: map[string]*lvMeta{}}
	for n := range s.sub("physical_volumes") {
		p := s.sub("physical_volumes").sub(n)
		start := p.number("pe_start")
		if start < 0 || start > maxSize/sectorSize {
			return nil, fmt.Errorf("physical volume %.40q begins at sector %d", n, start)
		}
		g.pvs[n] = pvMeta{p.text("id"), p.text("device"), start * sectorSize}
	}
	lvs, segments := s.sub("logical_volumes"), 0
	for _, n := range slices.Sorted(maps.Keys(lvs)) {
		l := lvs.sub(n)
		v := &lvMeta{name: n, id: l.text("id"), visible: l.has("status", "VISIBLE"), rebuild: l.has("status", "REBUILD")}
		count := l.number("segment_count")
		if segments += int(min(max(count, 0), maxSegments)); segments > maxSegments || count < 0 || count > maxSegments {
			return nil, fmt.Errorf("its volumes have more than %d segments", maxSegments)
		}
		for i := range count {
			seg, err := g.decodeSegment(l.sub("segment" + strconv.FormatInt(i+1, 10)))
			if err != nil {
				return nil, fmt.Errorf("logical volume %.40q, segment %d: %w", n, i+1, err)
			}
			v.segments = append(v.segments, seg)
		}
		slices.SortStableFunc(v.segments, func(a, b segMeta) int { return int(min(max(a.start-b.start, -1), 1)) })
		g.lvs[n] = v
	}
	return g, nil
}

func (g *groupMeta) decodeSegment(s section) (seg segMeta, err error) {
	first, count := s.number("start_extent"), s.number("extent_count")
	if limit := maxSize / g.extent; first < 0 || count <= 0 || first > limit || count > limit {
		return seg, fmt.Errorf("extents %d+%d are not possible", first, count)
	}
	seg = segMeta{kind: s.text("type"), start: first * g.extent, len: count * g.extent, origin: s.text("origin"), cow: s.text("cow_store")}
	switch seg.kind {
	case "striped", "linear":
		seg.parts, err = g.decodeParts(s.list("stripes"), 2, 0)
		if stripe := s.number("stripe_size"); len(seg.parts) > 1 && (stripe <= 0 || stripe > 1<<31) {
			return seg, fmt.Errorf("stripes of %d sectors are not possible", stripe)
		} else if len(seg.parts) > 1 {
			seg.stripe = stripe * sectorSize
		}
	case "mirror":
		seg.mirrored = true
		seg.parts, err = g.decodeParts(s.list("mirrors"), 2, 0)
	case "raid1":
		seg.mirrored = true
		seg.parts, err = g.decodeParts(s.list("raids"), 2, 1) // pairs of metadata and data
	default:
		return seg, nil // only named
	}
	if err == nil && len(seg.parts) == 0 {
		err = errors.New("it lies nowhere")
	}
	return seg, err
}

// decodeParts reads a list of groups of so many values, of which the one at `at` is
// the name. In pairs of names (raid1) there is no offset.
func (g *groupMeta) decodeParts(l list, group, at int) ([]part, error) {
	if len(l)%group != 0 || len(l) > group*maxStripes {
		return nil, fmt.Errorf("a list of %d is no list of its parts", len(l))
	}
	var parts []part
	for ; len(l) > 0; l = l[group:] {
		name, _ := l[at].(string)
		p := part{name: name}
		if at == 0 {
			extents, ok := l[1].(int64)
			if !ok || extents < 0 || extents > maxSize/g.extent {
				return nil, fmt.Errorf("it begins at no extent of %.40q", name)
			}
			p.off = extents * g.extent
		}
		parts = append(parts, p)
	}
	return parts, nil
}
