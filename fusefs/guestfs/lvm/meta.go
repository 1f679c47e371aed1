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
	origin, cow string // of a snapshot; origin of a cache, too

	raid  *raidMeta // of RAID but level 1
	rmeta []string  // volumes with the state of each leg, of RAID; "" for none

	pool, metadata string // of a thin volume or cache: the pool; of a pool: its volumes
	device         int64  // number of a thin volume in its pool
	chunk          int64  // of a pool, bytes
	outside        bool   // a thin volume whose origin is not in the pool
	cacheMode      string // of a cache or its pool
}

// raidMeta is how a segment of RAID lies.
type raidMeta struct{ level, layout, spare int }

// raids are the kinds of RAID by level and layout of md, and how many legs hold no data
// of their own. raid4 of device-mapper has its parity first.
var raids = map[string]raidMeta{
	"raid0": {0, 2, 0}, "raid0_meta": {0, 2, 0}, "raid4": {5, 4, 1},
	"raid5": {5, 2, 1}, "raid5_la": {5, 0, 1}, "raid5_ra": {5, 1, 1}, "raid5_ls": {5, 2, 1}, "raid5_rs": {5, 3, 1}, "raid5_n": {5, 5, 1},
	"raid6": {6, 8, 2}, "raid6_zr": {6, 8, 2}, "raid6_nr": {6, 9, 2}, "raid6_nc": {6, 10, 2}, "raid6_n_6": {6, 5, 2},
	"raid6_la_6": {6, 16, 2}, "raid6_ra_6": {6, 17, 2}, "raid6_ls_6": {6, 18, 2}, "raid6_rs_6": {6, 19, 2},
	"raid10": {10, 0, 0}, "raid10_near": {10, 0, 0},
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
		seg.rmeta = names(s.list("raids"), 2)
	case "thin":
		seg.pool, seg.device, seg.outside = s.text("thin_pool"), s.number("device_id"), s.text("external_origin") != ""
		return seg, nil
	case "thin-pool":
		seg.pool, seg.metadata, seg.chunk = s.text("pool"), s.text("metadata"), s.number("chunk_size")*sectorSize
		return seg, nil
	case "cache", "cache+CACHE_USES_CACHEVOL":
		seg.pool, seg.cacheMode = s.text("cache_pool"), s.text("cache_mode")
		return seg, nil
	case "cache-pool", "cache-pool+METADATA_FORMAT":
		seg.cacheMode = s.text("cache_mode")
		return seg, nil
	default:
		kind, known := raids[seg.kind]
		if !known {
			return seg, nil // only named
		}
		return g.decodeRAID(s, seg, kind)
	}
	if err == nil && len(seg.parts) == 0 {
		err = errors.New("it lies nowhere")
	}
	return seg, err
}

// decodeRAID reads a segment of RAID that goes over stripes.
func (g *groupMeta) decodeRAID(s section, seg segMeta, kind raidMeta) (segMeta, error) {
	var err error
	if l := s.list("raid0_lvs"); l != nil {
		for _, name := range names(l, 1) {
			seg.parts = append(seg.parts, part{name: name})
		}
		seg.rmeta = make([]string, len(seg.parts))
	} else {
		seg.parts, err = g.decodeParts(s.list("raids"), 2, 1)
		seg.rmeta = names(s.list("raids"), 2)
	}
	stripe := s.number("stripe_size")
	switch {
	case err != nil:
		return seg, err
	case len(seg.parts) <= kind.spare || len(seg.parts) > maxStripes:
		return seg, fmt.Errorf("%s of %d legs is not possible", seg.kind, len(seg.parts))
	case stripe <= 0 || stripe > 1<<21:
		return seg, fmt.Errorf("stripes of %d sectors are not possible", stripe)
	}
	seg.stripe = stripe * sectorSize
	if kind.level == 10 {
		copies := max(s.number("data_copies"), 2)
		if copies > int64(len(seg.parts)) {
			return seg, fmt.Errorf("%d copies over %d legs are not possible", copies, len(seg.parts))
		}
		kind.layout = int(1<<8 | copies)
	}
	if s.number("delta_disks") != 0 || s.number("data_offset") != 0 || s.number("reshape_len") != 0 && s.number("reshape_len") > 1<<20 {
		seg.kind += " that is being reshaped"
		return seg, nil // only named
	}
	seg.raid = &kind
	return seg, nil
}

// names returns the first of each group of so many texts.
func names(l list, group int) []string {
	var out []string
	for i := 0; i < len(l) && len(out) <= maxStripes; i += group {
		name, _ := l[i].(string)
		out = append(out, name)
	}
	return out
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
