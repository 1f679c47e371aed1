package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// PlaceJob is one disk and the place that is to hold it.
type PlaceJob struct {
	Disk  Disk
	Place *Place

	// Before is a disk of the same vault that holds what the place holds now, or held before the
	// restore that was interrupted there and is run again. Nil: the place is
	// read and compared, on all processors.
	Before Disk

	// Mark is left at the place as long as it is half restored. Where it does not go on with one that
	// is there, Before is not believed.
	Mark Mark
}

// HalfRestoredError reports places that hold neither their old content nor the new one.
// No machine starts from them until the restore was run again.
type HalfRestoredError struct {
	Places []string // each with what was done to it
	Before blockstore.PointID
	Err    error
}

func (e *HalfRestoredError) Error() string { return e.Err.Error() }
func (e *HalfRestoredError) Unwrap() error { return e.Err }

// InPlace makes places hold what disks of points held, by writing only the blocks that differ.
// First it finds those, and changes nothing. Then files get another name, under which no
// machine finds them, and devices and exports a mark in place of their partition
// table; then the blocks are written and synced, in all places; then the names and the tables
// come back. A restore that ends in between is a *HalfRestoredError, and is run
// again to be finished.
func InPlace(ctx context.Context, jobs []PlaceJob, o Options) (Result, error) {
	r := &placeRun{run: newRun(nil, o)}
	r.prog.fn = o.Progress
	for _, j := range jobs {
		t := &placeTask{job: j}
		t.result = DiskResult{Disk: j.Disk.Info(), Target: j.Place.Name(), Kind: j.Place.kind()}
		r.places = append(r.places, t)
	}
	err := r.work(ctx)
	return r.outcome(), err
}

type placeRun struct {
	*run
	places []*placeTask
}

// placeTask is one job of a restore in place.
type placeTask struct {
	job    PlaceJob
	src    *source
	parts  []span // that differ
	tail   int64  // bytes behind the disk's end that are to be zeros
	begun  bool   // the place is hidden or marked
	dirty  bool   // something may have been written
	result DiskResult
}

func (t *placeTask) failed(err error) error {
	return fmt.Errorf("restore disk %s to %s in place: %w", t.result.Disk.Name, t.result.Target, err)
}

func (r *placeRun) work(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = r.left(err)
		}
	}()
	pace := blockstore.NewPace(r.opt.Rate)
	for _, t := range r.places {
		if err := t.plan(ctx, r, pace); err != nil {
			return t.failed(ended(ctx, err))
		}
	}
	for _, t := range r.places {
		if err := t.begin(); err != nil {
			return t.failed(err)
		}
	}
	for _, t := range r.places {
		if err := t.change(ctx, r); err != nil {
			return t.failed(ended(ctx, err))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("restore in place: %w", context.Cause(ctx))
	}
	for _, t := range r.places {
		if err := t.finish(); err != nil {
			return t.failed(err)
		}
		t.result.Done = true
	}
	return nil
}

// plan finds what differs, and changes nothing.
func (t *placeTask) plan(ctx context.Context, r *placeRun, pace *blockstore.Pace) (err error) {
	if t.src, err = newSource(ctx, t.job.Disk, r.opt.SkipDamaged, pace); err != nil {
		return err
	}
	if !t.job.Place.continues(t.job.Mark) {
		t.job.Before, t.job.Mark.Mixed = nil, true
	}
	if err := t.fits(); err != nil {
		return err
	}
	now, err := t.job.Place.reader(ctx)
	if err != nil {
		return err
	}
	defer now.Close() // it was only read
	if t.job.Before == nil {
		r.prog.total += min(t.src.size, now.Size())
	}
	if t.parts, err = differences(ctx, t.src, t.job.Before, now, r.workers, &r.prog); err != nil {
		return err
	}
	if zero, err := isZero(ctx, now, span{t.src.size, t.src.size + t.tail}); err != nil {
		return err
	} else if zero {
		t.tail = 0
	}
	for _, p := range t.parts {
		t.result.Data += p.len()
	}
	r.prog.total += t.result.Data
	if r.opt.Verify {
		r.prog.total += t.src.size
	}
	return nil
}

// fits sees to the size of the place.
func (t *placeTask) fits() error {
	p, need := t.job.Place, t.src.size
	switch more := p.size - need; {
	case more > 0 && more < 512 && p.kind() == Qcow2:
		t.result.Rounded = more
	case more > 0 && p.isFile():
		t.tail = more
		t.result.Notes = append(t.result.Notes, fmt.Sprintf("%s is %s larger than the disk was: it stays so, and the end is zeros", p.path, mib(more)))
	case more > 0:
		t.result.Tail = more
		t.result.Notes = append(t.result.Notes, fmt.Sprintf("the last %s of %s lie behind the disk's end and are left as they were", mib(more), p.path))
	case more < 0 && p.kind() == Raw:
		t.result.Notes = append(t.result.Notes, fmt.Sprintf("%s was %s smaller than the disk: it grows", p.path, mib(-more)))
	case more < 0 && p.kind() == Qcow2:
		return fmt.Errorf("it is too small: it has %s, the disk %s; make it larger first: qemu-img resize -f qcow2 %s %d", mib(p.size), mib(need), p.path, ceil(need, 512)*512)
	case more < 0:
		return fmt.Errorf("it is too small: it has %s, the disk %s", mib(p.size), mib(need))
	}
	if !p.isFile() {
		t.result.Notes = append(t.result.Notes, map[bool]string{true: otherClients, false: otherHosts}[p.held == nil])
	} else if !p.held.Locked() {
		t.result.Notes = append(t.result.Notes, "the file system has no locks: only the other name kept machines from starting")
	}
	return nil
}

// nothing says whether there is nothing to be done.
func (t *placeTask) nothing() bool {
	p := t.job.Place
	return len(t.parts) == 0 && p.mark == nil && !p.away && t.tail == 0 && p.size >= t.src.size
}

// begin hides a file. Devices and exports are marked by their first change.
func (t *placeTask) begin() error {
	p := t.job.Place
	if t.nothing() || !p.isFile() {
		return nil
	}
	m := t.mark()
	if err := writeMarkFile(p.path, &m); err != nil {
		return fmt.Errorf("mark it: %w", err)
	}
	if p.away { // half restored before
		t.begun, t.dirty = true, true
		return nil
	}
	if err := hide(p.path); err != nil {
		return fmt.Errorf("hide it from machines: %w", errors.Join(err, removeMarkFile(p.path)))
	}
	t.begun, p.away = true, true
	p.held.Moved(hiddenAway(p.path))
	return nil
}

func (t *placeTask) mark() Mark {
	m := t.job.Mark
	if m.Began.IsZero() {
		m.Began = time.Now().UTC().Truncate(time.Second)
	}
	return m
}

// finish gives a file its name back.
func (t *placeTask) finish() error {
	p := t.job.Place
	if !p.isFile() {
		return nil
	}
	if !t.begun {
		return removeMarkFile(p.path) // one that was killed in its last moment may have left it
	}
	if err := show(p.path); err != nil {
		return err
	}
	t.begun, p.away, p.mark = false, false, nil
	p.held.Moved(p.path)
	return removeMarkFile(p.path)
}

// left undoes what can be undone after err, and says what was left half restored.
func (r *placeRun) left(err error) error {
	half := &HalfRestoredError{Err: err}
	for _, t := range r.places {
		p := t.job.Place
		if !t.begun && !p.away && p.mark == nil {
			continue
		}
		if !t.dirty && p.mark == nil && t.begun {
			if e := t.finish(); e == nil {
				continue
			} else {
				half.Err = errors.Join(half.Err, e)
			}
		}
		half.Before = t.job.Mark.Before
		if p.isFile() {
			half.Places = append(half.Places, fmt.Sprintf("%s is called %s until then", p.path, hiddenAway(p.path)))
		} else {
			half.Places = append(half.Places, fmt.Sprintf("%s has a mark in place of its partition table until then", p.path))
		}
	}
	if len(half.Places) == 0 {
		return half.Err
	}
	return half
}

func (r *placeRun) outcome() Result {
	res := Result{InPlace: true}
	for _, t := range r.places {
		if t.src != nil {
			t.result.Damaged = t.src.damaged.list()
		}
		res.Disks = append(res.Disks, t.result)
	}
	return res
}
