package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/integration/bench/slowfs"
)

const (
	slowRate      = 20_000_000 // bytes a second
	latencyWindow = 4 * time.Second
	latencyThink  = 2 * time.Millisecond // between a write and the next
	latencyBytes  = 4096
)

// serveSlowly is `bench slowfs MOUNTPOINT FOLDER RATE`.
func serveSlowly(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: bench slowfs MOUNTPOINT FOLDER BYTES-A-SECOND")
	}
	rate, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	return slowfs.Serve(args[0], args[1], rate)
}

// latency is how long single writes of 4 KiB to the disk take while a first backup reads
// it: into a vault that takes 20 MB/s, into one that takes all, and with a job of QEMU's like ours that nobody
// reads from. Each write but few is the first to its block since the snapshot, so that QEMU copies
// the block first.
func (b *bench) latency(ctx context.Context, d *liveDisk, q *qemuVM) (err error) {
	w, err := q.writer(ctx, "vda")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	var bare, slow, quick windows
	for round := range 2*b.rounds + 1 {
		b.say("running machines, writes of the guest, round %d of %d: bare job, vault of 20 MB/s, vault", round+1, 2*b.rounds+1)
		for _, way := range []struct {
			to  *windows
			run func(func() error) error
		}{
			{&bare, func(do func() error) error { return b.besideJob(ctx, q, do) }},
			{&slow, func(do func() error) error { return b.besideBackup(ctx, q, slowRate, do) }},
			{&quick, func(do func() error) error { return b.besideBackup(ctx, q, 0, do) }},
		} {
			err := way.run(func() error {
				took, err := d.timeWrites(ctx, w, uint64(round))
				b.say("  %4d writes: p50 %.2f ms, p99 %.2f ms", len(took), millis(took, 50), millis(took, 99))
				*way.to = append(*way.to, took)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	what := "write of 4 KiB during a backup at 20 MB/s"
	b.table.compare(liveGroup, what+", p99", "ms", slow.median(99), quick.median(99), "unthrottled", atMost(1.1))
	b.table.compare(liveGroup, what+", p99", "ms", slow.median(99), bare.median(99), "QEMU's job alone", atMost(1.2))
	b.table.compare(liveGroup, what+", p50", "ms", slow.median(50), bare.median(50), "QEMU's job alone", noTarget)
	return nil
}

// windows are the times of writes, round by round.
type windows [][]time.Duration

// median is the middle one of the rounds' percentiles: what else the machine does
// strikes some of the rounds.
func (w windows) median(percent int) float64 {
	var all []float64
	for _, took := range w {
		all = append(all, millis(took, percent))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// millis is a percentile.
func millis(took []time.Duration, percent int) float64 {
	if len(took) == 0 {
		return 0
	}
	took = slices.Sorted(slices.Values(took))
	return took[(len(took)-1)*percent/100].Seconds() * 1000
}

// timeWrites writes what is there already, here and there on the disk.
func (d *liveDisk) timeWrites(ctx context.Context, w *writer, round uint64) (took []time.Duration, err error) {
	f, err := os.Open(d.b.image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf, err := aligned(latencyBytes)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, round))
	for end := time.Now().Add(latencyWindow); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(latencyThink) {
		at := rng.Int64N(imageSize/latencyBytes) * latencyBytes
		if _, err := f.ReadAt(buf, at); err != nil {
			return nil, err
		}
		if slices.Max(buf) == 0 {
			continue // a hole is to stay one
		}
		begin := time.Now()
		if _, err := w.WriteAt(buf, at); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, ctx.Err()
}

// bareJobs has QEMU keep what is overwritten on disks, by jobs like ours and a bitmap for
// each, while do runs, which has to call take at the instant to be kept.
func (q *qemuVM) bareJobs(ctx context.Context, folder string, sizes map[string]int64, do func(take func() error) error) (err error) {
	late := context.WithoutCancel(ctx)
	careless := object{"no-flush": true}
	var actions []object
	for id, size := range sizes {
		node, scratch := "n-"+id, "bare-"+id
		path := filepath.Join(folder, scratch+".qcow2")
		defer os.Remove(path)
		if out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", path, fmt.Sprint(size)).CombinedOutput(); err != nil {
			return fmt.Errorf("qemu-img: %w: %s", err, out)
		}
		file := object{"driver": "file", "filename": path, "cache": careless, "discard": "unmap"}
		if err := q.do(ctx, "blockdev-add", object{"driver": "qcow2", "node-name": scratch, "file": file, "backing": node, "cache": careless, "discard": "unmap"}, nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, q.do(late, "blockdev-del", object{"node-name": scratch}, nil)) }()
		actions = append(actions,
			object{"type": "block-dirty-bitmap-add", "data": object{"node": node, "name": "bare", "granularity": patchBlock}},
			object{"type": "blockdev-backup", "data": object{"job-id": scratch, "device": node, "target": scratch, "sync": "none"}})
	}
	return do(func() error {
		return q.do(ctx, "transaction", object{"actions": actions}, nil)
	})
}

// endBareJobs takes away what the transaction of bareJobs began.
func (q *qemuVM) endBareJobs(ctx context.Context, sizes map[string]int64) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for id := range sizes {
		job := "bare-" + id
		errs = append(errs, q.do(ctx, "job-cancel", object{"id": job}, nil), q.until(ctx, "query-jobs", func(id string) bool { return id == job }, false),
			q.do(ctx, "block-dirty-bitmap-remove", object{"node": "n-" + id, "name": "bare"}, nil))
	}
	return errors.Join(errs...)
}

// besideJob calls do while a bare job keeps what is overwritten.
func (b *bench) besideJob(ctx context.Context, q *qemuVM, do func() error) error {
	disk := map[string]int64{"vda": liveSize}
	return q.bareJobs(ctx, b.store, disk, func(take func() error) error {
		if err := take(); err != nil {
			return err
		}
		return errors.Join(do(), q.endBareJobs(ctx, disk))
	})
}

// until waits until a list has, or has not, something with such an id.
func (q *qemuVM) until(ctx context.Context, list string, is func(id string) bool, there bool) error {
	for range 2000 {
		var all []struct{ ID string }
		if err := q.do(ctx, list, nil, &all); err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(x struct{ ID string }) bool { return is(x.ID) }) == there {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s: what was waited for does not come", list)
}

// besideBackup calls do while the disk is read into a vault that takes so many bytes a
// second, and gives the backup up then.
func (b *bench) besideBackup(ctx context.Context, q *qemuVM, rate int64, do func() error) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	below := filepath.Join(b.store, "below")
	if err := os.MkdirAll(below, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(below)
	at := filepath.Join(b.store, "slow")
	s, err := serve(ctx, command{args: []string{self, "slowfs", at, below, fmt.Sprint(rate)}}, at)
	if err != nil {
		return err
	}
	defer func() {
		_, e := s.end()
		err = errors.Join(err, e)
	}()
	v := &vault{b, filepath.Join(at, "vault")}
	if _, err := v.run(ctx, "vault", "create", v.path); err != nil {
		return err
	}
	if err := v.protect(ctx, q, "--consistency", "crash"); err != nil {
		return err
	}
	cmd := v.live("backup", machine, "--quiet", "--min-free", "none").prepare(ctx)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ours := func(id string) bool { return strings.HasPrefix(id, "hf-exp-") }
	err = q.until(ctx, "query-block-exports", ours, true)
	if err == nil {
		time.Sleep(300 * time.Millisecond)
		err = do()
	}
	if e := q.until(ctx, "query-block-exports", ours, true); err == nil && e != nil {
		err = errors.New("the backup ended before the writes did")
	}
	cmd.Process.Signal(os.Interrupt)
	if e := cmd.Wait(); e == nil && err == nil {
		b.say("  the backup was done before it was given up: %s", said.String())
	}
	return errors.Join(err, q.until(context.WithoutCancel(ctx), "query-block-exports", ours, false))
}
