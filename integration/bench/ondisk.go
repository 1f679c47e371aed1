package main

import (
	"context"
	"os"
	"path/filepath"
)

// onDisk runs full backup, second day and restore once on a real disk, each until
// all is synced. It is apart because such disks swing: no targets.
func (b *bench) onDisk(ctx context.Context) (err error) {
	const group = "on disk, with sync"
	folder, err := os.MkdirTemp("/var/tmp", "holdfast-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if onTmpfs(folder) {
		b.say("on disk: %s is on tmpfs, there is no disk to measure", folder)
		return nil
	}
	store, tmpfs := b.store, b.tmpfs
	b.store, b.tmpfs = folder, false
	defer func() { b.store, b.tmpfs = store, tmpfs }()

	if err := b.showDay(1); err != nil {
		return err
	}
	ours, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	peer, err := b.newBorg(ctx)
	if err != nil {
		return err
	}
	target, out := filepath.Join(folder, "restored.raw"), filepath.Join(folder, "restored")
	steps := []struct {
		what       string
		day        int
		ours, peer func() (cost, error)
	}{
		{"full backup", 1, func() (cost, error) { return ours.backup(ctx) }, func() (cost, error) { return peer.create(ctx, "day1") }},
		{"second day", 2, func() (cost, error) { return ours.backup(ctx) }, func() (cost, error) { return peer.create(ctx, "day2") }},
		{"restore", 2, func() (cost, error) { return ours.restore(ctx, target) }, func() (cost, error) { return peer.extract(ctx, "day2", out) }},
	}
	for _, step := range steps {
		b.say("on disk: %s", step.what)
		if err := b.showDay(step.day); err != nil {
			return err
		}
		c, err := b.synced(step.ours)
		if err != nil {
			return err
		}
		var p cost
		if peer != nil {
			if p, err = b.synced(step.peer); err != nil {
				return err
			}
		}
		b.table.costs(group, step.what, c, p, "borg", noTarget, noTarget)
	}
	return nil
}

// synced adds the time until all is on disk.
func (b *bench) synced(run func() (cost, error)) (cost, error) {
	if _, err := syncStore(b.store); err != nil {
		return cost{}, err
	}
	c, err := run()
	if err != nil {
		return c, err
	}
	sync, err := syncStore(b.store)
	c.Wall += sync
	b.say("  %6.2f s wall of which sync %.2f, %6.2f s CPU", c.Wall, sync, c.CPU)
	return c, err
}
