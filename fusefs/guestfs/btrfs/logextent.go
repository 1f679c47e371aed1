package btrfs

// extent puts an extent of the log in place of what the file has there.
func (r *logReplay) extent(i item) error {
	e, err := r.v.parseExtent(i)
	if err != nil {
		return err
	}
	if err := r.dropExtents(i.id, e.off, e.end()); err != nil {
		return err
	}
	r.resized[i.id] = true
	if e.kind == extentInline || e.at != 0 || r.v.incompat&incompatNoHoles == 0 {
		r.to.over.set(i.key, i.b)
	}
	return nil
}

// dropExtents takes a part out of a file: extents that reach into it are cut.
func (r *logReplay) dropExtents(id, from, to uint64) error {
	if from >= to {
		return nil
	}
	start := from
	first, ok, err := r.to.floor(key{id, typeExtentData, from}, key{id, typeExtentData, 0})
	if err != nil {
		return err
	}
	if ok {
		start = first.off
	}
	err = r.each(&r.to, id, typeExtentData, start, func(i item) error {
		if i.off >= to {
			return errEnough
		}
		e, err := r.v.parseExtent(i)
		if err != nil {
			return err
		}
		if e.end() <= from {
			return nil
		}
		r.resized[id] = true
		if e.kind == extentInline {
			r.to.over.set(i.key, nil)
			return nil
		}
		r.to.over.set(i.key, nil)
		if e.off < from {
			r.to.over.set(i.key, cut(i.b, 0, from-e.off))
		}
		if e.end() > to {
			r.to.over.set(key{id, typeExtentData, to}, cut(i.b, to-e.off, e.end()-to))
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}

// cut is a part of an extent's item, skip bytes behind where it began.
func cut(b []byte, skip, n uint64) []byte {
	b = append([]byte(nil), b...)
	if le.Uint64(b[21:]) != 0 {
		le.PutUint64(b[37:], le.Uint64(b[37:])+skip)
	}
	le.PutUint64(b[45:], n)
	return b
}

// countBytes counts what files take whose extents changed.
func (r *logReplay) countBytes() error {
	for id := range r.resized {
		k := key{id, typeInode, 0}
		i, ok, err := r.to.get(k)
		if err != nil {
			return err
		}
		if !ok || len(i.b) < inodeItemSize {
			continue
		}
		total := uint64(0)
		err = r.each(&r.to, id, typeExtentData, 0, func(i item) error {
			e, err := r.v.parseExtent(i)
			if e.kind == extentInline {
				total += e.plain
			} else if e.at != 0 {
				total += e.n
			}
			return err
		})
		if err != nil {
			return err
		}
		b := append([]byte(nil), i.b...)
		le.PutUint64(b[24:], total)
		r.to.over.set(k, b)
	}
	return nil
}
