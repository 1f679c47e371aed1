package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// liveRun is a backup of a VM that is on.
type liveRun struct {
	*machineRun
	vm     LiveVM
	backup *blockstore.Backup
	disks  []VMDisk
	left   []blockstore.LeftOut
	pace   *blockstore.Pace  // of reading
	moved  map[string][]span // by disk: what differs between the point that its bitmap counts from and the parent

	lied   bool // a bitmap called a block clean that had changed
	report quiesce.Report
	state  []ConfigFile // NVRAM and TPM
	lacks  []string     // what of the configuration is missing
}

func (r *machineRun) live(ctx context.Context, vm LiveVM) error {
	disks, err := vm.Disks(ctx)
	if err != nil {
		return err
	}
	l := &liveRun{machineRun: r, vm: vm, moved: map[string][]span{}, pace: blockstore.NewPace(r.Rate)}
	if err := l.choose(disks); err != nil {
		return err
	}
	asked := r.Machine.Protected.Consistency
	l.backup, err = r.owner.Begin(ctx, blockstore.BackupOptions{Machine: r.Machine.Name, Time: time.Now().UTC(), Tool: r.Tool, Asked: asked, Reached: blockstore.Crash,
		Beside: l.beside(), WriteRate: r.WriteRate,
		Workers: cmp.Or(r.Depth, 2*runtime.GOMAXPROCS(0)), // while QEMU answers half of them, the others compress
	})
	if err != nil {
		return err
	}
	defer l.backup.Abort()
	l.takeBack(disks)
	if err := l.clean(ctx); err != nil {
		return err
	}
	return l.snapshot(ctx)
}

// choose says which disks are read.
func (l *liveRun) choose(disks []VMDisk) error {
	var unknown []string
	var err error
	l.disks, l.left, unknown, err = Choose(l.Machine.Protected, disks)
	if err != nil {
		return err
	}
	for _, name := range unknown {
		l.warn("disk %s is to be left out, and the VM has no such disk", name)
	}
	for _, d := range l.disks {
		l.total += d.Size
		if l.holdsVault(&d) {
			return fmt.Errorf("vault %s lies on disk %s itself (%s): keep the vault on another disk", l.owner.Info().Path, d.Name, d.Source)
		}
	}
	return nil
}

// takeBack undoes the exclusion of disks that the point before held, where another disk
// was meant: a name that is made of the order of disks may have come to another one.
func (l *liveRun) takeBack(disks []VMDisk) {
	parent := l.backup.Parent()
	l.left = slices.DeleteFunc(l.left, func(out blockstore.LeftOut) bool {
		i := slices.IndexFunc(disks, func(d VMDisk) bool { return d.Name == out.Name })
		if parent == nil || out.Reason != Excluded || i < 0 {
			return false
		}
		d := &disks[i]
		then, meant := heldAs(parent, d), l.Machine.Protected.ExcludedAt[d.Name]
		if then == "" || meant == d.Source || meant == "" && then == d.Name || d.LeftOut != "" {
			return false
		}
		l.warn("disk %s (%s) is backed up although %s is excluded: the point before held it as %s, and another disk was meant%s; "+
			"`holdfast protect %s` says anew what shall be left out", d.Name, d.Source, d.Name, then, inParentheses(meant), l.Machine.Name)
		l.disks, l.total = append(l.disks, *d), l.total+d.Size
		return true
	})
}

func inParentheses(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// heldAs is the name under which a point holds a disk, by its serial number and where it lies;
// "" where it does not, or several of its disks could be it.
func heldAs(p *blockstore.Point, d *VMDisk) (name string) {
	for _, then := range p.Disks {
		if then.Source != d.Source || then.Serial != d.Serial || d.Source == "" {
			continue
		}
		if name != "" {
			return ""
		}
		name = then.Name
	}
	return name
}

// beside are paths of what grows while the machine runs: its disks, and the scratch files.
func (l *liveRun) beside() []string {
	scratch := l.Machine.Protected.Scratch
	if scratch == "" {
		scratch = qemu.DefaultScratch
	}
	paths := []string{scratch}
	for _, d := range l.disks {
		if filepath.IsAbs(d.Source) {
			paths = append(paths, d.Source)
		}
	}
	return paths
}

// holdsVault tells whether the vault lies on a disk of the VM, as far as that can be seen
// from outside.
func (l *liveRun) holdsVault(d *VMDisk) bool {
	if !filepath.IsAbs(d.Source) || d.Format != "raw" && d.Format != "qcow2" && d.Format != "host_device" {
		return false
	}
	spec := image.Spec{Path: d.Source, Format: "raw"} // whatever it holds: it is not read
	holds, err := image.Holds(spec, l.owner.Info().Path)
	return err == nil && holds
}

// bitmapName is what the bitmap of a point is called in a VM.
func bitmapName(vault blockstore.VaultID, point blockstore.PointID) string {
	return qemu.BitmapName(string(vault), string(point))
}

// clean removes what is left of runs that died. Bitmaps that they began are merged into
// the parent's, so that nothing is lost.
func (l *liveRun) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	removed, err := l.vm.Clean(ctx, string(l.owner.Info().ID), BitmapSince(l.owner.Info().ID, l.backup.Parent()))
	for _, what := range removed {
		l.note("removed what an earlier run left in the VM: %s", what)
	}
	return err
}

// snapshot takes the snapshot, has it read, and takes it away.
func (l *liveRun) snapshot(ctx context.Context) (err error) {
	parent := l.backup.Parent()
	q := SnapshotRequest{Parent: BitmapSince(l.owner.Info().ID, parent), Point: bitmapName(l.owner.Info().ID, l.backup.PointID()), Hold: l.hold}
	why := doubts(parent, l.disks, l.backup.ParentDisk)
	for i, d := range l.disks {
		if l.Scan && why[i] == "" {
			why[i] = "a scan was asked for"
		}
		if why[i] == "" {
			then := l.backup.ParentDisk(d.DiskInfo())
			l.moved[d.Name], why[i] = movedSince(ctx, l.owner, parent, then)
		}
		q.Disks = append(q.Disks, DiskRequest{Name: d.Name, Scan: why[i]})
	}
	l.phase(PhaseQuiesce)
	s, err := l.vm.Snapshot(ctx, q)
	if err != nil {
		return err
	}
	defer func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		e := s.Release(release, l.result.Point != nil)
		if l.lied && l.result.Point == nil {
			e = errors.Join(e, l.forget(release))
		}
		switch {
		case e == nil:
		case l.result.Point != nil:
			l.warn("the point was made, but taking its snapshot away failed: %v; `holdfast doctor %s --clean` tries again", e, l.Machine.Name)
		default:
			err = errors.Join(err, fmt.Errorf("take the snapshot away: %w", e))
		}
	}()
	return l.watched(ctx, s, func(ctx context.Context) error { return l.make(ctx, s) })
}

// forget removes the bitmaps of the vault after a run that found them out and made no
// point: the sample of the next one may not come upon what they miss.
func (l *liveRun) forget(ctx context.Context) error {
	_, err := l.vm.Clean(ctx, string(l.owner.Info().ID), "")
	return err
}

// hold is called by the snapshot: it holds the guest still while during takes it.
func (l *liveRun) hold(ctx context.Context, during func(context.Context) error) error {
	p := l.Machine.Protected
	o := quiesce.Options{
		Machine: l.Machine.Name, Asked: p.Consistency, FallBack: p.FallBack, Hooks: hooksOf(p), Mounts: p.Mounts,
		Journal: l.Journal, Guard: l.Guard, FreezeTimeout: p.FreezeLimit(),
	}
	var guest quiesce.Guest
	if p.Consistency != blockstore.Crash || len(p.Hooks) > 0 {
		guest, o.Reach, o.NoGuest = l.vm.Guest(ctx)
	}
	var err error
	l.report, err = quiesce.Quiesce(ctx, guest, o, func(ctx context.Context) error {
		l.phase(PhaseSnapshot)
		if err := during(ctx); err != nil {
			return err
		}
		l.state, l.lacks = l.vm.State(ctx)
		return nil
	})
	return err
}

// hooksOf are the hooks of a machine's record.
func hooksOf(p *blockstore.Protection) (hooks []quiesce.Hook) {
	for _, h := range p.Hooks {
		place := quiesce.OnHost
		if h.Guest {
			place = quiesce.InGuest
		}
		hooks = append(hooks, quiesce.Hook{Place: place, Pre: h.Pre, Post: h.Post, Timeout: time.Duration(h.Limit) * time.Millisecond, ContinueOnFailure: h.GoOn})
	}
	return hooks
}

// watched calls do with a context that ends, with the reason as its cause, when the
// snapshot must end.
func (l *liveRun) watched(ctx context.Context, s Snapshot, do func(context.Context) error) error {
	guard, stop := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		if err := s.Watch(guard); err != nil && guard.Err() == nil {
			stop(err)
		}
	})
	err := do(guard)
	lost := guard.Err() != nil && ctx.Err() == nil
	cause := context.Cause(guard)
	stop(nil)
	watcher.Wait()
	switch {
	case err == nil || l.result.Point != nil || ctx.Err() != nil:
		return err
	case lost:
		return cause
	}
	// What a read says when QEMU dies is not why.
	if why := s.Check(ctx); why != nil && !errors.Is(err, why) {
		return fmt.Errorf("%w (%w)", why, err)
	}
	return err
}

// make reads the snapshot into the point and commits it.
func (l *liveRun) make(ctx context.Context, s Snapshot) error {
	l.describe(s)
	disks, err := l.believed(ctx, s)
	if err != nil {
		return err
	}
	for i := range disks {
		if err := l.take(ctx, &disks[i]); err != nil {
			return err // it names the disk
		}
	}
	l.phase(PhaseStore)
	if err := l.addConfig(ctx, l.vm, l.backup, l.state, l.lacks); err != nil {
		return err
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	l.phase(PhaseCommit)
	l.result.Point, err = l.backup.Commit(ctx)
	l.result.Healed = l.backup.Healed()
	return err
}

// describe records when and how the snapshot was taken.
func (l *liveRun) describe(s Snapshot) {
	r := &l.report
	l.backup.SetTime(s.Time())
	l.backup.SetConsistency(r.Reached, r.Reason)
	q := &blockstore.Quiesced{WindowMS: float64(r.Window.Microseconds()) / 1000, Agent: r.Agent}
	for _, h := range r.Hooks {
		q.Hooks = append(q.Hooks, blockstore.HookResult{Command: h.Command, Guest: h.Place == quiesce.InGuest, After: h.Phase == "post", Error: h.Error, Millis: h.Took.Milliseconds()})
	}
	l.backup.SetVM(l.facts.VM, q)
	l.held = r.Reached != blockstore.Crash
	for _, d := range l.left {
		l.backup.LeaveOut(d)
	}
	l.result.Warnings = append(l.result.Warnings, r.Warnings...)
	if weaker(r.Reached, r.Asked) {
		l.warn("consistency %s was asked for, and %s was reached: %s", r.Asked, r.Reached, r.Reason)
	}
}

// weaker tells whether a consistency is less than another.
func weaker(a, b blockstore.Consistency) bool {
	rank := map[blockstore.Consistency]int{blockstore.Filesystem: 1, blockstore.Application: 2}
	return rank[a] < rank[b]
}

// info is what the point says of a disk of the snapshot.
func (l *liveRun) info(d *SnapshotDisk) blockstore.DiskInfo {
	for i := range l.disks {
		if l.disks[i].Name == d.Name {
			info := l.disks[i].DiskInfo()
			info.Size, info.Mode, info.Reason = d.Size(), d.Mode, d.Reason
			return info
		}
	}
	return blockstore.DiskInfo{Name: d.Name, Size: d.Size(), Mode: d.Mode, Reason: d.Reason}
}

// take reads one disk into the point.
func (l *liveRun) take(ctx context.Context, d *SnapshotDisk) error {
	var mu sync.Mutex // guards last
	var last blockstore.Sizes
	info := l.info(d)
	err := l.backup.AddDisk(ctx, info, paced(ctx, d.Source, l.pace), func(s blockstore.Sizes, done int64) {
		mu.Lock()
		defer mu.Unlock()
		last = s
		if l.Progress != nil {
			s.Add(l.sizes)
			l.Progress(Progress{Phase: PhaseRead, Disk: d.Name, Done: l.done + done, Total: l.total, Sizes: s})
		}
	})
	l.done += info.Size
	mu.Lock()
	defer mu.Unlock()
	l.sizes.Add(last)
	return err
}
