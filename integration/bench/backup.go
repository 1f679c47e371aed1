package main

import (
	"context"
	"errors"
	"path/filepath"
)

// stores are our vault and borg's repository with the first day in them.
type stores struct {
	ours *vault
	borg *borg // nil when not installed
}

// withFirstDay makes both stores with the first day's disk in them. What it costs is
// measured by fullBackup.
func (b *bench) withFirstDay(ctx context.Context) (s stores, err error) {
	if err = b.showDay(1); err != nil {
		return s, err
	}
	if s.ours, err = b.newVault(ctx, "vault"); err != nil {
		return s, err
	}
	if _, err = s.ours.backup(ctx); err != nil {
		return s, err
	}
	if s.borg, err = b.newBorg(ctx); err != nil || s.borg == nil {
		return s, err
	}
	_, err = s.borg.create(ctx, "day1")
	return s, err
}

func (s stores) remove() error {
	if s.borg != nil {
		if err := s.borg.remove(); err != nil {
			return err
		}
	}
	return s.ours.remove()
}

// fullBackup is the first backup of the disk into an empty store.
func (b *bench) fullBackup(ctx context.Context) error {
	const group = "full backup"
	if err := b.showDay(1); err != nil {
		return err
	}
	var ours, peer cost
	var sizes [2]int64
	for round := range b.rounds {
		b.say("full backup, round %d of %d", round+1, b.rounds)
		var err error
		if ours, sizes[0], err = b.fullOurs(ctx, ours); err != nil {
			return err
		}
		if peer, sizes[1], err = b.fullBorg(ctx, peer); err != nil {
			return err
		}
	}
	one, _, err := b.fullOurs(ctx, cost{}, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	b.table.costs(group, "first day", ours, peer, "borg", atMost(0.50), atMost(1.0))
	b.table.compare(group, "stored", "MiB", inMiB(sizes[0]), inMiB(sizes[1]), "borg", atMost(1.02))
	b.table.compare(group, "all cores beside GOMAXPROCS=1, wall", "s", ours.Wall, one.Wall, "1 core", atMost(0.95))
	b.table.memory(group, "first day", ours.Anon)
	return b.others(ctx, group, ours)
}

// fullOurs makes a first backup in a vault of its own and returns what it cost and stored.
func (b *bench) fullOurs(ctx context.Context, before cost, env ...string) (cost, int64, error) {
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return before, 0, err
	}
	c, err := b.timed(before, func() (cost, error) { return v.backup(ctx, env...) })
	if err != nil {
		return before, 0, err
	}
	stored, err := v.stored()
	return c, stored, errors.Join(err, v.remove())
}

// fullBorg does the same with borg; where it is not installed, all is zero.
func (b *bench) fullBorg(ctx context.Context, before cost) (cost, int64, error) {
	r, err := b.newBorg(ctx)
	if err != nil || r == nil {
		return before, 0, err
	}
	c, err := b.timed(before, func() (cost, error) { return r.create(ctx, "day1") })
	if err != nil {
		return before, 0, err
	}
	stored, err := r.stored()
	return c, stored, errors.Join(err, r.remove())
}

// others runs the peers that no figure is promised against, once.
func (b *bench) others(ctx context.Context, group string, ours cost) error {
	if b.qemuPath != "" {
		target := filepath.Join(b.store, "convert.raw")
		c, err := b.timed(cost{}, func() (cost, error) {
			return measure(ctx, command{args: []string{b.qemuPath, "convert", "-f", "raw", "-O", "raw", b.image, target}})
		})
		if err != nil {
			return err
		}
		if err := removeAll(target); err != nil {
			return err
		}
		b.table.costs(group, "first day", ours, c, "qemu-img convert", noTarget, noTarget)
	}
	if b.restPath == "" || !b.restic {
		return nil
	}
	b.say("full backup with restic")
	defer removeAll(filepath.Join(b.store, "restic"), filepath.Join(b.store, "restic.cache"))
	if _, err := b.resticRun(ctx, "init"); err != nil {
		return err
	}
	c, err := b.timed(cost{}, func() (cost, error) { return b.resticRun(ctx, "backup", b.image) })
	if err != nil {
		return err
	}
	b.table.costs(group, "first day", ours, c, "restic", noTarget, noTarget)
	return nil
}

// secondDay backs the disk up after a day of changes, from the same state each round.
func (b *bench) secondDay(ctx context.Context) error {
	const group = "second day"
	b.say("second day: the first day's backups")
	s, err := b.withFirstDay(ctx)
	if err != nil {
		return err
	}
	defer s.remove()
	before, err := s.sizes()
	if err != nil {
		return err
	}
	if err := s.save(); err != nil {
		return err
	}
	if err := b.showDay(2); err != nil {
		return err
	}
	var ours, peer cost
	for round := range b.rounds {
		b.say("second day, round %d of %d", round+1, b.rounds)
		if err := s.goBack(ctx); err != nil {
			return err
		}
		if ours, err = b.timed(ours, func() (cost, error) { return s.ours.backup(ctx) }); err != nil {
			return err
		}
		if s.borg == nil {
			continue
		}
		if peer, err = b.timed(peer, func() (cost, error) { return s.borg.create(ctx, "day2") }); err != nil {
			return err
		}
	}
	after, err := s.sizes()
	if err != nil {
		return err
	}
	b.table.costs(group, "by scan", ours, peer, "borg", atMost(0.30), noTarget)
	b.table.compare(group, "bytes added", "MiB", inMiB(after[0]-before[0]), inMiB(after[1]-before[1]), "borg", atMost(1.10))
	b.table.memory(group, "by scan", ours.Anon)
	return nil
}

// sizes are what both stores hold, in bytes.
func (s stores) sizes() (sizes [2]int64, err error) {
	if sizes[0], err = s.ours.stored(); err != nil || s.borg == nil {
		return sizes, err
	}
	sizes[1], err = s.borg.stored()
	return sizes, err
}

func (s stores) save() error {
	if s.borg != nil {
		if err := s.borg.save(); err != nil {
			return err
		}
	}
	return s.ours.save()
}

func (s stores) goBack(ctx context.Context) error {
	if s.borg != nil {
		if err := s.borg.goBack(); err != nil {
			return err
		}
	}
	return s.ours.goBack(ctx)
}

// timed touches memory, runs something and keeps the better of it and what was
// there before.
func (b *bench) timed(before cost, run func() (cost, error)) (cost, error) {
	return b.timedOn(b.size, before, run)
}

// timedOn is timed for what takes so much memory, in bytes.
func (b *bench) timedOn(memory int64, before cost, run func() (cost, error)) (cost, error) {
	if err := b.touch(min(memory+memory/8, freeBytes(b.store)-1<<30)); err != nil {
		return before, err
	}
	c, err := run()
	if err != nil {
		return before, err
	}
	b.say("  %6.2f s wall, %6.2f s CPU, RssAnon %s", c.Wall, c.CPU, mib(c.Anon))
	return best(before, c), nil
}

func inMiB(bytes int64) float64 { return float64(bytes) / (1 << 20) }
