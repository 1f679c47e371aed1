package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// tracker reads the disks of a VM that is off by the bitmaps that QEMU left in their images. It
// writes nothing there: each goes on counting from where it did.
type tracker struct {
	run    *machineRun
	parent *blockstore.Point // as it was before the disks were opened; nil: no bitmap can be used
	disks  map[string]*trackedDisk

	describe func(*blockstore.DiskInfo) // as the run does it
}

// trackedDisk is a disk that may be read by its bitmap.
type trackedDisk struct {
	openDisk
	marked bool                 // the image says what is the same
	source blockstore.Source    // nil: it is read whole
	then   *blockstore.DiskInfo // of the parent
	doubt  string
}

// track arranges that images are opened with the bitmaps that cover the time since the newest point.
func (r *machineRun) track(ctx context.Context, images []Disk) (*tracker, error) {
	t := &tracker{run: r, disks: map[string]*trackedDisk{}}
	if r.Scan {
		return t, nil
	}
	points, err := r.owner.Points(ctx)
	for _, p := range points {
		if p.Machine == r.Machine.ID && (t.parent == nil || t.parent.Compare(p) < 0) {
			t.parent = p
		}
	}
	name := BitmapSince(r.owner.Info().ID, t.parent)
	if name == "" || err != nil {
		t.parent = nil
		return t, nil //nolint:nilerr // a vault that cannot be listed is for others to report
	}
	for i := range images {
		d := &images[i]
		open := d.OpenTracked
		if open == nil {
			continue
		}
		d.Open = func(ctx context.Context) (Image, error) {
			image, doubt, err := open(ctx, name)
			if err == nil {
				t.disks[d.Name] = &trackedDisk{openDisk: openDisk{*d, image}, marked: doubt == "", doubt: doubt}
			}
			return image, err
		}
	}
	return t, nil
}

// settle decides, once the parent is certain, which disks are read by their bitmaps. Where a
// sample finds that one of them lies, none is believed.
func (t *tracker) settle(ctx context.Context, b *blockstore.Backup) error {
	parent := b.Parent()
	for name, d := range t.disks {
		if d.doubt == "" {
			d.doubt = t.doubtOf(ctx, b, d)
		}
		if d.doubt != "" && t.expected(name) {
			t.run.note("disk %s was read whole: %s", name, d.doubt)
		}
	}
	for name, d := range t.disks {
		if d.source == nil {
			continue
		}
		err := t.run.sampleDisk(ctx, parent, d.then.Name, name, d.source)
		var stale *StaleError
		if errors.As(err, &stale) {
			t.run.warn("%v: all disks were read whole; something wrote to the VM's disks past QEMU, or QEMU lost track", stale)
			for _, other := range t.disks {
				other.source = nil
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expected tells whether the parent says that a disk has a bitmap.
func (t *tracker) expected(name string) bool {
	d, err := t.parent.Disk(name)
	return err == nil && d.Format == "qcow2" && countsFrom(t.parent, d) != ""
}

// doubtOf says why the bitmap of a disk is not to be believed, or makes its source.
func (t *tracker) doubtOf(ctx context.Context, b *blockstore.Backup, d *trackedDisk) string {
	parent := b.Parent()
	if parent == nil || parent.ID != t.parent.ID {
		return "another point was made meanwhile"
	}
	info := d.info()
	t.describe(&info)
	then := b.ParentDisk(info)
	switch {
	case then == nil:
		return "the disk is new"
	case then.Source != info.Source:
		return fmt.Sprintf("the disk lay in %s before", then.Source)
	case then.Mode == "":
		return "it was read whole before"
	case countsFrom(parent, then) != since(parent):
		return "its bitmap counts from another point than those of the other disks"
	case then.Size != d.image.Size():
		return fmt.Sprintf("the disk was resized, from %d to %d bytes", then.Size, d.image.Size())
	case len(then.Chain) != 1:
		return "the chain of images changed since the point before"
	}
	moved, doubt := movedSince(ctx, t.run.owner, parent, then)
	if doubt != "" {
		return doubt
	}
	d.source, d.then = sameAsParent(d.image, moved), then
	return ""
}

// source is what Request.tracked asks for.
func (t *tracker) source(o *openDisk) (blockstore.Source, *blockstore.DiskInfo) {
	d := t.disks[o.Name]
	switch {
	case d == nil || d.source == nil && !d.marked:
		return nil, nil
	case d.source == nil:
		return wholly{d.image}, nil
	}
	continued := *d.then
	continued.Mode, continued.Since = blockstore.ByBitmap, countsFrom(t.parent, d.then)
	return d.source, &continued
}
