package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// task is one job of a run.
type task struct {
	job    Job
	src    *source
	data   int64   // bytes in extents of data
	layout *layout // of a Qcow2
	target Target  // nil for a Stream
	result DiskResult
}

// finality orders tasks so that what cannot be taken back comes last.
func (t *task) finality() int {
	switch t.job.Target.Kind {
	case Device, NBD:
		return 1
	case Stream:
		return 2
	}
	return 0
}

func (t *task) failed(err error) error {
	return fmt.Errorf("restore disk %s to %s: %w", t.result.Disk.Name, t.result.Target, err)
}

// plan walks the disk's map once: how much there is, and for a qcow2 what lies where.
func (t *task) plan(ctx context.Context, skip bool, pace *blockstore.Pace) (err error) {
	if t.src, err = newSource(ctx, t.job.Disk, skip, pace); err != nil {
		return err
	}
	if t.job.Target.Kind == Qcow2 {
		if t.layout, err = newLayout(t.src.size); err != nil {
			return err
		}
	}
	err = t.src.extents(ctx, func(e blockstore.Extent) error {
		if e.Kind == blockstore.Data {
			t.data += e.Length
		}
		if t.layout != nil {
			t.layout.add(e)
		}
		return nil
	})
	if t.layout != nil {
		t.layout.place()
		if t.result.Rounded = t.layout.size - t.src.size; t.result.Rounded > 0 {
			t.result.Notes = append(t.result.Notes, fmt.Sprintf(
				"the disk has %d bytes; a qcow2 has whole sectors of 512, so %d zeros follow", t.src.size, t.result.Rounded))
		}
	}
	t.result.Data = t.data
	return err
}

// noteLink says that a symbolic link will be replaced, if one is in the way:
// who made it may have meant the file behind it.
func (t *task) noteLink() {
	if k := t.job.Target.Kind; k != Raw && k != Qcow2 {
		return
	}
	if behind, err := os.Readlink(t.job.Target.Path); err == nil {
		t.result.Notes = append(t.result.Notes, fmt.Sprintf("%s was a symbolic link to %s: the link was replaced, what it points to is as it was", t.result.Target, behind))
	}
}

// openTarget opens or makes what a task writes to.
func openTarget(ctx context.Context, t *task, o Options) (Target, error) {
	spec := t.job.Target
	opt := fileOptions{force: o.Force, mode: cmp.Or(o.Mode, 0o600), owner: o.Owner}
	switch spec.Kind {
	case Raw:
		return opened(createRaw(spec.Path, t.src.size, opt))
	case Qcow2:
		return opened(createQcow2(spec.Path, t.layout, opt))
	case Device:
		return opened(openDevice(spec.Path, o.VaultPath, t.src.size))
	case NBD:
		return opened(openExport(ctx, spec.Path, t.src.size, o.Force))
	}
	return nil, fmt.Errorf("target of %s: %w", spec.Kind, errors.ErrUnsupported)
}

// opened keeps a nil pointer from becoming a Target that is not nil.
func opened[T Target](t T, err error) (Target, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}
