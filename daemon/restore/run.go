package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// maxWorkers bounds the memory of a restore, whatever is asked for.
const maxWorkers = 64

// Run restores every job's disk to its target. All is checked and prepared first;
// then files are written, after them devices and streams, which cannot be taken
// back; and when everything is whole the files get their names. After an error no
// file has appeared, unless the Result says that it is Done.
//
// Errors: a [*blockstore.CorruptError] for damaged data, [fs.ErrExist] for a
// target that exists, a [*MismatchError] from verifying, the cause of ctx.
func Run(ctx context.Context, jobs []Job, o Options) (Result, error) {
	return newRun(jobs, o).run(ctx)
}

// run is one restore.
type run struct {
	opt     Options
	workers int
	tasks   []*task
	prog    progress
	open    func(context.Context, *task, Options) (Target, error) // openTarget but in tests
}

func newRun(jobs []Job, o Options) *run {
	r := &run{opt: o, workers: o.Workers, open: openTarget}
	if r.workers <= 0 {
		r.workers = runtime.GOMAXPROCS(0) + 1 // one writes, the others decode
	}
	r.workers = min(r.workers, maxWorkers)
	for _, j := range jobs {
		r.tasks = append(r.tasks, &task{job: j})
	}
	return r
}

func (r *run) run(ctx context.Context) (_ Result, err error) {
	if err := r.plan(ctx); err != nil {
		return r.result(), err
	}
	defer func() {
		for _, t := range r.tasks {
			if t.target != nil && !t.result.Done {
				err = errors.Join(err, t.target.Abort())
			}
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return r.result(), err
	}
	order := slices.Clone(r.tasks)
	slices.SortStableFunc(order, func(a, b *task) int { return cmp.Compare(a.finality(), b.finality()) })
	for _, t := range order {
		if err := r.write(ctx, t); err != nil {
			return r.result(), t.failed(ended(ctx, err))
		}
	}
	if ctx.Err() != nil {
		return r.result(), fmt.Errorf("restore: %w", context.Cause(ctx))
	}
	for _, t := range r.tasks {
		if t.target != nil {
			if err := t.target.Commit(); err != nil {
				return r.result(), t.failed(err)
			}
		}
		t.result.Done = true
	}
	return r.result(), nil
}

// plan checks the jobs and walks the disks' maps: how much there is to do.
func (r *run) plan(ctx context.Context) error {
	if err := checkJobs(r.tasks, r.opt); err != nil {
		return err
	}
	r.prog.fn = r.opt.Progress
	pace := blockstore.NewPace(r.opt.Rate)
	for _, t := range r.tasks {
		spec := t.job.Target
		t.result = DiskResult{Disk: t.job.Disk.Info(), Target: spec.name(), Kind: spec.Kind}
		if err := t.plan(ctx, r.opt.SkipDamaged, pace); err != nil {
			return t.failed(err)
		}
		t.noteLink()
		work := t.data
		if spec.Kind != Raw && spec.Kind != Qcow2 {
			work = t.src.size // zeros are work there
		}
		if r.opt.Verify && spec.Kind != Stream {
			work *= 2
		}
		r.prog.total += work
	}
	return nil
}

// prepare checks space and opens every target.
func (r *run) prepare(ctx context.Context) error {
	needs := make(spaceNeeds)
	for _, t := range r.tasks {
		bytes := t.data
		if t.layout != nil {
			bytes = t.layout.clusters() << clusterBits
		}
		if k := t.job.Target.Kind; k == Raw || k == Qcow2 {
			t.result.Notes = append(t.result.Notes, sweepLeftovers(t.job.Target.Path)...) // before space is asked for
			if err := needs.add(t.job.Target.Path, bytes); err != nil {
				return t.failed(err)
			}
		}
	}
	if err := needs.check(); err != nil {
		return err
	}
	for _, t := range r.tasks {
		if t.job.Target.Kind == Stream {
			continue
		}
		target, err := r.open(ctx, t, r.opt)
		if err != nil {
			return t.failed(err)
		}
		t.target = target
		switch d := target.(type) {
		case *device:
			t.result.Tail = d.size - t.src.size
			t.result.Notes = append(t.result.Notes, d.notes(t.src.size, t.result.Disk.LogicalSector)...)
		case *export:
			t.result.Tail = d.Size() - t.src.size
			t.result.Notes = append(t.result.Notes, d.notes(t.src.size)...)
		}
	}
	return nil
}

// write fills one target and makes it durable, and reads it back when asked.
func (r *run) write(ctx context.Context, t *task) error {
	if t.job.Target.Kind == Stream {
		if r.opt.Verify {
			t.result.Notes = append(t.result.Notes, t.result.Target+" cannot be read back, so it was not verified")
		}
		return stream(ctx, t.src, t.job.Target.Writer, r.workers, &r.prog)
	}
	switch d := t.target.(type) {
	case *device:
		d.touched = true
	case *export:
		d.touched = true
	}
	if err := fill(ctx, t.src, t.target, r.workers, &r.prog); err != nil {
		return err
	}
	if err := t.target.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if !r.opt.Verify {
		return nil
	}
	back, ok := t.target.(readBack)
	if !ok {
		return fmt.Errorf("verify: a target of kind %s cannot be read back", t.job.Target.Kind)
	}
	lost, err := verify(ctx, t.src, back, t.result.Target, r.workers, &r.prog)
	if err != nil {
		return err
	}
	t.result.Uncompared, t.result.Verified = lost, true
	return nil
}

func (r *run) result() Result {
	var res Result
	for _, t := range r.tasks {
		if t.src != nil {
			t.result.Damaged = t.src.damaged.list()
		}
		res.Disks = append(res.Disks, t.result)
	}
	return res
}
