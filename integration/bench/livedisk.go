package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

const liveGroup = "running machines"

// runningDisk measures a first backup and increments of one disk, and how long writes to
// it take meanwhile.
func (b *bench) runningDisk(ctx context.Context) (err error) {
	d, err := b.openLive()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := b.pulled(ctx); err != nil {
		return err
	}
	if err := d.fill(); err != nil {
		return err
	}
	q, err := b.startQEMU(ctx, diskArgs("vda", "raw", b.image)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.end()) }()
	if err := b.increments(ctx, d, q); err != nil {
		return err
	}
	return b.latency(ctx, d, q)
}

// pulled is a first backup of the disk through QEMU, beside one of the file itself.
func (b *bench) pulled(ctx context.Context) error {
	var live, file cost
	for round := range b.rounds {
		b.say("running machines, full backup, round %d of %d: through QEMU, from the file", round+1, b.rounds)
		var err error
		if live, err = b.pull(ctx, live); err != nil {
			return err
		}
		if file, _, err = b.fullOurs(ctx, file); err != nil {
			return err
		}
	}
	data, err := dataBytes(b.image)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("full backup of %s on 12 GiB", mib(data))
	b.table.compare(liveGroup, what+", wall", "s", live.Wall, file.Wall, "from the file", atMost(1.3))
	b.table.compare(liveGroup, what+", CPU with QEMU's", "s", live.CPU, file.CPU, "from the file", noTarget)
	b.table.memory(liveGroup, what, live.Anon)
	return nil
}

// pull backs the disk of a QEMU up into a vault of its own.
func (b *bench) pull(ctx context.Context, before cost) (after cost, err error) {
	q, err := b.startQEMU(ctx, diskArgs("vda", "raw", b.image)...)
	if err != nil {
		return before, err
	}
	defer func() { err = errors.Join(err, q.end()) }()
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return before, err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	if err := v.protect(ctx, q, "--consistency", "crash"); err != nil {
		return before, err
	}
	return b.timed(before, func() (cost, error) {
		return q.withQEMU(func() (cost, error) {
			c, _, err := v.backUpMachine(ctx, "scan")
			return c, err
		})
	})
}

// increments are backups of 160 MiB that changed all over the disk, beside borg's of the
// same bytes.
func (b *bench) increments(ctx context.Context, d *liveDisk, q *qemuVM) error {
	b.say("running machines, increments: the first backups")
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	defer v.remove()
	if err := v.protect(ctx, q, "--consistency", "crash"); err != nil {
		return err
	}
	if _, _, err := v.backUpMachine(ctx, "scan"); err != nil {
		return err
	}
	r, err := b.newBorg(ctx)
	if err != nil {
		return err
	}
	if r != nil {
		defer r.remove()
		if _, err := r.create(ctx, "day0"); err != nil {
			return err
		}
	}
	var ours, peer cost
	var read int64
	for round := range b.rounds + 1 {
		b.say("running machines, increments, round %d of %d: ours, borg", round+1, b.rounds+1)
		if err := d.written(ctx, q, int64(round+1)); err != nil {
			return err
		}
		before, err := q.readBytes()
		if err != nil {
			return err
		}
		ours, err = b.timedOn(512<<20, ours, func() (cost, error) {
			return q.withQEMU(func() (cost, error) {
				c, _, err := v.backUpMachine(ctx, "bitmap")
				return c, err
			})
		})
		if err != nil {
			return err
		}
		after, err := q.readBytes()
		if err != nil {
			return err
		}
		read = max(read, after-before)
		if r == nil {
			continue
		}
		if peer, err = b.timedOn(512<<20, peer, func() (cost, error) { return r.create(ctx, fmt.Sprint("day", round+1)) }); err != nil {
			return err
		}
	}
	data, err := dataBytes(b.image)
	if err != nil {
		return err
	}
	const sample = 32 << 16
	what := "160 MiB changed, " + mib(data) + " of data"
	b.table.compare(liveGroup, what+", wall", "s", ours.Wall, peer.Wall, "borg", atMost(0.10))
	b.table.compare(liveGroup, what+", CPU with QEMU's", "s", ours.CPU, peer.CPU, "borg", noTarget)
	b.table.compare(liveGroup, "read from the disk for it", "MiB", inMiB(read), inMiB(liveChanged*patchBlock+sample), "changed and sample", atMost(1.02))
	b.table.memory(liveGroup, what, ours.Anon)
	return nil
}

// written has QEMU write a version of the blocks.
func (d *liveDisk) written(ctx context.Context, q *qemuVM, version int64) error {
	w, err := q.writer(ctx, "vda")
	if err != nil {
		return err
	}
	return errors.Join(d.change(w, version), w.Close())
}

// dataBytes is what a file takes, without its holes.
func dataBytes(path string) (int64, error) {
	var s syscall.Stat_t
	err := syscall.Stat(path, &s)
	return s.Blocks * 512, err
}
