package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const yearKept = 30 // points

// keepSpread keeps the last fourteen days, eight weeks before them and eight months
// before those, as retention does; keepLast keeps what is newest.
func keepSpread(day int) bool {
	age := yearDays - 1 - day
	switch {
	case age < 14:
		return true
	case age < 14+8*7:
		return (age-14)%7 == 6
	default:
		return (age-14-8*7)%30 == 29 && age < 14+8*7+8*30
	}
}

func keepLast(day int) bool { return day >= yearDays-yearKept }

// yearSweep forgets all but thirty points of a year of daily backups, beside a full
// backup of that disk.
func (b *bench) yearSweep(ctx context.Context) error {
	const group = "sweep of a year"
	size := min(b.size/2, 1<<30) &^ (1<<20 - 1)
	disk, err := b.denseFile(yearDisk, size)
	if err != nil {
		return err
	}
	defer os.Remove(disk)
	v, err := b.newVault(ctx, "year")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("sweep: making %d daily points of a disk of %s", yearDays, mib(size))
	if err := withOwner(ctx, v.path, func(o *blockstore.Owner) error {
		_, err := makeYear(ctx, o, disk, yearDays)
		return err
	}); err != nil {
		return fmt.Errorf("make a year: %w", err)
	}
	if err := v.save(); err != nil {
		return err
	}
	stored, err := v.stored()
	if err != nil {
		return err
	}
	full, spread, last := cost{}, cost{}, cost{}
	for round := range max(b.rounds, 2) {
		b.say("sweep, round %d: full backup, sweep to spread points, to the last ones", round+1)
		if full, err = b.fullOf(ctx, disk, full); err != nil {
			return err
		}
		if spread, err = v.sweepYear(ctx, spread, keepSpread); err != nil {
			return err
		}
		if round == 0 {
			left, err := v.stored()
			if err != nil {
				return err
			}
			b.say("  %s of %s are left", mib(left), mib(stored))
			if _, err := v.run(ctx, "check"); err != nil {
				return err
			}
		}
		if last, err = v.sweepYear(ctx, last, keepLast); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("%d to %d points", yearDays, yearKept)
	b.table.costs(group, what+", spread", spread, full, "full backup", atMost(0.5), noTarget)
	b.table.costs(group, what+", the last", last, full, "full backup", atMost(0.5), noTarget)
	b.table.memory(group, what, max(spread.Anon, last.Anon))
	return b.besideSweep(ctx, group, v, disk)
}

// fullOf is a full backup of a disk into a vault of its own.
func (b *bench) fullOf(ctx context.Context, disk string, before cost) (cost, error) {
	v, err := b.newVault(ctx, "full")
	if err != nil {
		return before, err
	}
	c, err := b.timedOn(b.size/2, before, func() (cost, error) { return v.backUp(ctx, disk) })
	return c, errors.Join(err, v.remove())
}

// deleteBut goes back to the whole year and moves all but some days to the trash.
func (v *vault) deleteBut(ctx context.Context, keep func(day int) bool) error {
	if err := v.goBack(ctx); err != nil {
		return err
	}
	return withOwner(ctx, v.path, func(o *blockstore.Owner) error {
		points, err := o.Points(ctx)
		if err != nil {
			return err
		}
		kept := 0
		for day, p := range slices.All(points) {
			if keep(day) {
				kept++
				continue
			}
			if err := o.Delete(p); err != nil {
				return err
			}
		}
		if kept != yearKept {
			return fmt.Errorf("%d of %d points are kept, want %d", kept, len(points), yearKept)
		}
		return nil
	})
}

func (v *vault) sweepYear(ctx context.Context, before cost, keep func(day int) bool) (cost, error) {
	if err := v.deleteBut(ctx, keep); err != nil {
		return before, err
	}
	return v.b.timedOn(v.b.size/2, before, func() (cost, error) {
		return v.run(ctx, "trash", "empty", "--now", "--yes", "--quiet")
	})
}

func withOwner(ctx context.Context, path string, do func(*blockstore.Owner) error) error {
	owner, err := blockstore.Own(ctx, path, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		return err
	}
	return errors.Join(do(owner), owner.Close())
}

// besideSweep measures a full backup of another machine that runs while the sweep
// does, in one process, beside one that runs alone.
func (b *bench) besideSweep(ctx context.Context, group string, v *vault, disk string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var alone, beside float64
	for round := range b.rounds + 1 {
		for _, sweeps := range []string{"alone", "sweep"} {
			b.say("backup beside a sweep, round %d: %s", round+1, sweeps)
			if err := v.deleteBut(ctx, keepSpread); err != nil {
				return err
			}
			if err := b.touch(b.size / 2); err != nil {
				return err
			}
			_, out, err := measureOutput(ctx, command{args: []string{self, "beside", v.path, disk, sweeps}})
			if err != nil {
				return err
			}
			var backup, sweep float64
			if _, err := fmt.Sscan(string(out), &backup, &sweep); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(self), err)
			}
			b.say("  %6.2f s backup, %6.2f s sweep", backup, sweep)
			to := &alone
			if sweeps == "sweep" {
				to = &beside
			}
			if *to == 0 || backup < *to {
				*to = backup
			}
		}
	}
	b.table.compare(group, "backup beside it, wall", "s", beside, alone, "without sweep", atMost(1.3))
	return nil
}
