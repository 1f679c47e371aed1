package history

import (
	"context"
	"path"
	"slices"
)

// inodeOf names an inode of a volume.
type inodeOf struct {
	volume string
	ino    uint64
}

// match finds out what was moved among what was removed and added. A folder that was is
// compared as one that stayed; one that was not is looked into, since what it held may
// have been moved out of it, or into it.
func (d *differ) match(ctx context.Context) error {
	for more := true; more; {
		pairs := d.byInode(ctx)
		for _, p := range pairs {
			if err := d.moved(ctx, p[0], p[1]); err != nil {
				return err
			}
		}
		opened, err := d.open(ctx)
		if err != nil {
			return err
		}
		more = opened || len(pairs) > 0
	}
	for _, p := range d.byContent(ctx) {
		if err := d.moved(ctx, p[0], p[1]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// byInode pairs what was removed with what was added under the same number.
func (d *differ) byInode(ctx context.Context) (pairs [][2]int) {
	from := map[inodeOf]int{}
	for i := range d.held {
		if h := &d.held[i]; h.a != nil && !h.gone {
			from[inodeOf{d.names[h.a.at.Volume.Name], h.a.Ino}] = i
		}
	}
	for i := range d.held {
		h := &d.held[i]
		if h.b == nil || h.gone {
			continue
		}
		key := inodeOf{h.b.at.Volume.Name, h.b.Ino}
		j, ok := from[key]
		if !ok || !h.b.sameInode(&d.held[j].a.meta) || !d.sure(ctx, d.held[j].a, h.b) {
			continue
		}
		delete(from, key) // of several names of a file one is the one
		pairs = append(pairs, [2]int{j, i})
	}
	return pairs
}

// sure tells whether two with the same number are one file: they were born at the same
// time, or hold the same.
func (d *differ) sure(ctx context.Context, a, b *node) bool {
	switch {
	case !a.Btime.IsZero():
		return true
	case a.is(typeFile):
		same, err := sameFile(ctx, a, b)
		return same && err == nil && a.Size > 0
	}
	return a.Mtime.Equal(b.Mtime) && a.target == b.target
}

// moved tells that what was removed is what was added, and compares the two.
func (d *differ) moved(ctx context.Context, i, j int) error {
	from, to := d.held[i], d.held[j]
	details, err := d.details(ctx, from.a, to.b)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return nil // they are told as removed and added
	}
	h := d.described("moved", from.a, to.b, details)
	h.From, h.gone = text(from.a.path()), false
	d.held[i].gone = true
	d.held[j] = h
	switch {
	case !from.a.is(typeDir):
		return nil
	case !from.opened && !to.opened:
		return d.folders(ctx, from.a, to.b, 1)
	case !from.opened: // what the other held is paired one by one
		return d.below(ctx, from.a, 1, d.removed)
	case !to.opened:
		return d.below(ctx, to.b, 1, d.added)
	}
	return nil
}

// open looks into folders that were removed or added and not moved, one level deep.
func (d *differ) open(ctx context.Context) (opened bool, err error) {
	for i := range len(d.held) { // which grows meanwhile
		h := d.held[i]
		if h.gone || h.opened || err != nil {
			continue
		}
		switch {
		case h.a != nil && h.a.is(typeDir):
			opened, d.held[i].opened = true, true
			err = d.below(ctx, h.a, 1, d.removed)
		case h.b != nil && h.b.is(typeDir):
			opened, d.held[i].opened = true, true
			err = d.below(ctx, h.b, 1, d.added)
		}
	}
	return opened, err
}

// implied leaves out what was moved with the folder that it lies in, and only so.
func (d *differ) implied() {
	folders := map[string]string{}
	for i := range d.held {
		if h := &d.held[i]; h.Change == "moved" && h.After.Type == "folder" && !h.gone {
			folders[h.Path] = h.From
		}
	}
	for i := range d.held {
		h := &d.held[i]
		if from, ok := folders[path.Dir(h.Path)]; ok && h.Change == "moved" && len(h.Details) == 0 && h.From == path.Join(from, path.Base(h.Path)) {
			h.gone = true
		}
	}
}

// maxCompared bounds what is read to find moved files that got another number, in bytes.
const maxCompared = 256 << 20

// byContent pairs files that hold the same and were made at the same time or are called the
// same: copied and removed, or moved where numbers go with places (FAT).
func (d *differ) byContent(ctx context.Context) (pairs [][2]int) {
	type likeness struct {
		size, mtime int64
		name        string
	}
	from := map[likeness][]int{}
	keys := func(n *node) []likeness {
		return []likeness{{n.Size, n.Mtime.UnixNano(), ""}, {n.Size, 0, n.name}}
	}
	for i := range d.held {
		if h := &d.held[i]; h.a != nil && !h.gone && h.a.is(typeFile) && h.a.Size > 0 {
			for _, k := range keys(h.a) {
				from[k] = append(from[k], i)
			}
		}
	}
	used, left := map[int]bool{}, int64(maxCompared)
	for i := range d.held {
		h := &d.held[i]
		if h.b == nil || h.gone || !h.b.is(typeFile) || h.b.Size == 0 {
			continue
		}
		candidates := slices.Concat(from[keys(h.b)[0]], from[keys(h.b)[1]])
		for n, j := range candidates {
			if used[j] || n > 8 || ctx.Err() != nil {
				continue
			}
			if left -= 2 * h.b.Size; left < 0 {
				return pairs
			}
			if same, err := sameFile(ctx, d.held[j].a, h.b); same && err == nil {
				used[j] = true
				pairs = append(pairs, [2]int{j, i})
				break
			}
		}
	}
	return pairs
}
