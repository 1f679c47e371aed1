package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"
)

// inPlace takes the disk back by a day where it lies, beside a restore of all of it: with
// its present state in the vault already, with a point made of it first, and without one.
func (b *bench) inPlace(ctx context.Context) error {
	const group = "restore in place"
	b.say("restore in place: both days")
	if err := b.showDay(1); err != nil {
		return err
	}
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	defer v.remove()
	target, fresh := filepath.Join(b.store, "inplace.raw"), filepath.Join(b.store, "restored.raw")
	defer removeAll(target, fresh)
	first, err := v.keep(ctx, b.image)
	if err != nil {
		return err
	}
	if _, err := measure(ctx, command{args: []string{"cp", "--sparse=always", b.image, target}}); err != nil {
		return err
	}
	if err := b.showDay(2); err != nil {
		return err
	}
	if _, err := measure(ctx, command{args: []string{"cp", "--sparse=always", b.image, target}}); err != nil {
		return err
	}
	second, err := v.keep(ctx, target)
	if err != nil {
		return err
	}
	back := func(point string, more ...string) (cost, error) {
		return v.run(ctx, append([]string{"restore", machine + "@" + point, "--in-place", "--yes", "--quiet", "--disk", "vda=" + target}, more...)...)
	}
	forth := func() error { // the second day again, and at rest
		_, err := back(second, "--no-safety-point")
		time.Sleep(100 * time.Millisecond)
		return err
	}
	var full, known, kept, none cost
	for round := range b.rounds {
		b.say("restore in place, round %d of %d: all of it, in place", round+1, b.rounds)
		if full, err = b.timed(full, func() (cost, error) { return v.run(ctx, "restore", machine+"@"+first, "--to", fresh, "--quiet") }); err != nil {
			return err
		}
		if err := removeAll(fresh); err != nil {
			return err
		}
		if _, err = v.keep(ctx, target); err != nil { // the last backup before the machine is taken back
			return err
		}
		time.Sleep(100 * time.Millisecond)
		for _, way := range []struct {
			to   *cost
			more []string
		}{{&known, nil}, {&kept, nil}, {&none, []string{"--no-safety-point"}}} {
			if *way.to, err = b.timed(*way.to, func() (cost, error) { return back(first, way.more...) }); err != nil {
				return err
			}
			if round == 0 {
				if err := b.showDay(1); err != nil {
					return err
				}
				if err := sameFile(ctx, b.image, target); err != nil {
					return err
				}
				if err := b.showDay(2); err != nil {
					return err
				}
			}
			if err := forth(); err != nil {
				return err
			}
		}
	}
	b.table.costs(group, "present state backed up before", known, full, "full restore", atMost(0.15), noTarget)
	b.table.costs(group, "with a point of the present state made first", kept, full, "full restore", noTarget, noTarget)
	b.table.costs(group, "without one, by reading the disk", none, full, "full restore", noTarget, noTarget)
	b.table.memory(group, "by reading the disk", none.Anon)
	return nil
}

// keep backs an image up and returns the id of the point.
func (v *vault) keep(ctx context.Context, image string) (string, error) {
	if _, err := v.run(ctx, "backup", machine, "--disk", "vda="+image, "--quiet"); err != nil {
		return "", err
	}
	return v.newest(ctx)
}

// newest is the id of the newest point.
func (v *vault) newest(ctx context.Context) (string, error) {
	_, out, err := measureOutput(ctx, v.command("points", machine, "--json"))
	if err != nil {
		return "", err
	}
	var points []struct{ ID string }
	if err := json.Unmarshal(out, &points); err != nil || len(points) == 0 {
		return "", errors.Join(errors.New("no point is listed"), err)
	}
	return points[len(points)-1].ID, nil
}
