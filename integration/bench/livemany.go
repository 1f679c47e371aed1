package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	manyCount = 20
	manySize  = 1 << 40
)

// manyDisks measures the memory of backups of a machine with 20 disks of 1 TiB.
func (b *bench) manyDisks(ctx context.Context) (err error) {
	folder := filepath.Join(b.store, "many")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b.say("running machines: %d disks of 1 TiB", manyCount)
	var args, ids []string
	for i := range manyCount {
		id := "vd" + string(rune('a'+i))
		path := filepath.Join(folder, id+".qcow2")
		if out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", path, fmt.Sprint(int64(manySize))).CombinedOutput(); err != nil {
			return fmt.Errorf("qemu-img: %w: %s", err, out)
		}
		ids, args = append(ids, id), append(args, diskArgs(id, "qcow2", path)...)
	}
	q, err := b.startQEMU(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.end()) }()
	v, err := b.newVault(ctx, "many-vault")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	if err := v.protect(ctx, q, "--consistency", "crash"); err != nil {
		return err
	}
	for n, run := range []struct {
		what, mode string
		blocks     int // that are written to each disk before
	}{{"first backup of 20 disks of 1 TiB", "scan", 400}, {"160 MiB changed on them", "bitmap", 128}} {
		for i, id := range ids {
			if err := q.strew(ctx, b.image, id, run.blocks, uint64(1000*n+i)); err != nil {
				return err
			}
		}
		c, err := b.timedOn(1<<30, cost{}, func() (cost, error) {
			c, _, err := v.backUpMachine(ctx, run.mode)
			return c, err
		})
		if err != nil {
			return err
		}
		b.table.alone(liveGroup, run.what+", wall", "s", c.Wall, noTarget)
		b.table.memory(liveGroup, run.what, c.Anon)
	}
	return nil
}

// strew writes blocks with the content of files all over a disk.
func (q *qemuVM) strew(ctx context.Context, image, id string, blocks int, seed uint64) (err error) {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := q.writer(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	buf, err := aligned(patchBlock)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 20))
	for range blocks {
		if err := fileContent(f, rng, buf); err != nil {
			return err
		}
		if _, err := w.WriteAt(buf, rng.Int64N(manySize/patchBlock)*patchBlock); err != nil {
			return fmt.Errorf("write to disk %s: %w", id, err)
		}
	}
	return nil
}
