package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Machines that run: a QEMU whose disks the benchmark writes to as a guest would.

// running measures backups of running machines.
func (b *bench) running(ctx context.Context) error {
	if !b.haveQEMU() {
		return nil
	}
	err := b.runningDisk(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, b.manyDisks(ctx))
}

func (b *bench) haveQEMU() bool {
	_, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		b.say("qemu-system-x86_64 is not installed: the figures of running machines are left out (integration/install-deps bench)")
	}
	return err == nil
}

const (
	liveSize    = 12 << 30
	liveChanged = 2560 // blocks that a round changes: 160 MiB
)

// liveDisk is the image, made larger and with blocks of its own all over its data.
type liveDisk struct {
	b      *bench
	places []int64 // of the blocks, ascending by chance
	before []byte  // what the blocks held
}

// openLive makes the image a disk of 12 GiB. The blocks that rounds change are written
// once, so that they are no holes on any day: borg's chunks begin at the end of a hole.
func (b *bench) openLive() (_ *liveDisk, err error) {
	if err := b.showDay(1); err != nil {
		return nil, err
	}
	d := &liveDisk{b: b}
	rng := rand.New(rand.NewPCG(seed, 12))
	for _, n := range rng.Perm(liveSize / patchBlock)[:liveChanged] {
		d.places = append(d.places, int64(n)*patchBlock)
	}
	f, err := os.OpenFile(b.image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(liveSize); err != nil {
		return nil, err
	}
	d.before = make([]byte, liveChanged*patchBlock)
	for i, at := range d.places {
		if _, err := f.ReadAt(d.before[i*patchBlock:(i+1)*patchBlock], at); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	if err := d.change(f, 0); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// close makes the image again what it was.
func (d *liveDisk) close() error {
	f, err := os.OpenFile(d.b.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for i, at := range d.places {
		if _, err := f.WriteAt(d.before[i*patchBlock:(i+1)*patchBlock], at); err != nil {
			return err
		}
	}
	return f.Truncate(imageSize)
}

// fill gives the disk as much data as the one has that the target was set on, where there
// is memory for it: blocks of its first 8 GiB once more, which both stores have then, and both programs
// have to deal with.
func (d *liveDisk) fill() error {
	const data = 59 << 30 / 10
	had, err := dataBytes(d.b.image)
	if err != nil || had >= data {
		return err
	}
	if free := freeBytes(d.b.store); free < data-had+4<<30 {
		d.b.say("  the disk has %s of data instead of %s: %s are free", mib(had), mib(data), mib(free))
		return nil
	}
	f, err := os.OpenFile(d.b.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	taken := map[int64]bool{}
	for _, at := range d.places {
		taken[at] = true
	}
	buf := make([]byte, patchBlock)
	for from, to := int64(0), int64(imageSize); from < imageSize && to < liveSize && had < data; from += patchBlock {
		if _, err := f.ReadAt(buf, from); err != nil {
			return err
		}
		if slices.Max(buf) == 0 {
			continue
		}
		for taken[to] {
			to += patchBlock
		}
		if _, err := f.WriteAt(buf, to); err != nil {
			return err
		}
		to, had = to+patchBlock, had+patchBlock
	}
	return nil
}

// change writes a version of the blocks, whose content is that of files, cut elsewhere.
func (d *liveDisk) change(w io.WriterAt, version int64) error {
	f, err := os.Open(d.b.image)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, err := aligned(patchBlock)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, uint64(100+version)))
	for _, at := range d.places {
		if err := fileContent(f, rng, buf); err != nil {
			return err
		}
		if _, err := w.WriteAt(buf, at); err != nil {
			return fmt.Errorf("write to the disk: %w", err)
		}
	}
	return nil
}

// fileContent fills p with what lies somewhere on the image, but no hole.
func fileContent(f io.ReaderAt, rng *rand.Rand, p []byte) error {
	for {
		if _, err := f.ReadAt(p, rng.Int64N(imageSize-int64(len(p)))|1); err != nil {
			return err
		}
		for _, c := range p[:512] {
			if c != 0 {
				return nil
			}
		}
	}
}

// protect tells the vault of a machine of QEMU's.
func (v *vault) protect(ctx context.Context, q *qemuVM, more ...string) error {
	_, err := measure(ctx, v.live(append([]string{"protect", machine, "--qmp", q.qmp, "--shareable",
		"--scratch", filepath.Join(v.b.store, "scratch"), "--scratch-free", "64MiB"}, more...)...))
	return err
}

// live is a command about a protected machine, which leaves nothing on this host.
func (v *vault) live(args ...string) command {
	c := v.command(args...)
	c.env = append(c.env, "HOLDFAST_STATE="+filepath.Join(v.b.store, "state"))
	return c
}

// made is what a backup says of the point that it made.
type made struct {
	Point struct {
		Sizes struct{ Read, Changed int64 }
		Disks []struct {
			Name       string
			Mode       string
			ModeReason string `json:"mode_reason"`
		}
		Consistency       string
		ConsistencyReason string `json:"consistency_reason"`
		Quiesced          *struct {
			WindowMS float64 `json:"window_ms"`
		}
	}
	Warnings []string
}

// backUpMachine makes a point of the protected machine, whose disks must be read as
// mode says.
func (v *vault) backUpMachine(ctx context.Context, mode string, more ...string) (cost, made, error) {
	var m made
	c, out, err := measureOutput(ctx, v.live(append([]string{"backup", machine, "--json", "--quiet", "--min-free", "none"}, more...)...))
	if err != nil {
		return c, m, err
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return c, m, fmt.Errorf("what the backup printed: %w", err)
	}
	for _, d := range m.Point.Disks {
		if d.Mode != mode {
			return c, m, fmt.Errorf("disk %s was read by %s (%s), not by %s", d.Name, d.Mode, d.ModeReason, mode)
		}
	}
	return c, m, nil
}
