package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const pointMachines = 20 // that the points are spread over

// manyPoints opens a vault with many recovery points, lists them and shows them in
// a mount.
func (b *bench) manyPoints(ctx context.Context) error {
	group := fmt.Sprintf("%d points", b.points)
	v, err := b.newVault(ctx, "points")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("making %d points", b.points)
	if err := makePoints(ctx, v.path, b.points); err != nil {
		return fmt.Errorf("make points: %w", err)
	}
	for _, one := range []struct {
		what string
		args []string
	}{{"open (vault info)", []string{"vault", "info"}}, {"list (points)", []string{"points"}}} {
		var c cost
		for range b.rounds {
			again, err := v.run(ctx, one.args...)
			if err != nil {
				return err
			}
			c = best(c, again)
		}
		b.table.alone(group, one.what, "s", c.Wall, atMost(1))
		b.table.memory(group, one.what, c.Anon)
	}
	return b.listMount(ctx, group, v)
}

// listMount shows the points in a fresh mount: their names, then all there is.
func (b *bench) listMount(ctx context.Context, group string, v *vault) error {
	start := time.Now()
	s, _, err := v.mount(ctx)
	if err != nil {
		return err
	}
	mounted := time.Since(start).Seconds()
	names, err := measure(ctx, command{args: []string{"sh", "-c", `ls -l "$1"/*/`, "sh", s.mount}})
	var all cost
	if err == nil {
		all, err = measure(ctx, command{args: []string{"find", s.mount, "-name", "files", "-prune", "-o", "-ls"}})
	}
	anon, endErr := s.end()
	if err = errors.Join(err, endErr); err != nil {
		return err
	}
	b.table.alone(group, "mount", "s", mounted, atMost(1))
	b.table.alone(group, "first ls -l of the point names", "s", names.Wall, atMost(1))
	b.table.alone(group, "then find -ls of everything but the guests' files", "s", all.Wall, noTarget)
	b.table.memory(group, "mount and ls", anon)
	return nil
}

// makePoints commits n points of small disks, as years of backups would.
func makePoints(ctx context.Context, path string, n int) error {
	return withOwner(ctx, path, func(owner *blockstore.Owner) error {
		source, err := os.CreateTemp(filepath.Dir(path), "small-")
		if err != nil {
			return err
		}
		defer os.Remove(source.Name())
		defer source.Close()
		if err := source.Truncate(16 << 20); err != nil {
			return err
		}
		first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for i := range n {
			if _, err := fmt.Fprintf(source, "change %d\n", i); err != nil {
				return err
			}
			name, at := fmt.Sprintf("machine%02d", i%pointMachines), first.Add(time.Duration(i)*time.Minute)
			if _, err := backUpSource(ctx, owner, name, at, smallSource{source}); err != nil {
				return err
			}
		}
		return nil
	})
}

// smallSource is a disk whose only data is in its first MiB.
type smallSource struct{ *os.File }

func (s smallSource) Size() int64 { return 16 << 20 }

func (s smallSource) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	if err := fn(blockstore.Extent{Length: 1 << 20, Kind: blockstore.Data}); err != nil {
		return err
	}
	return fn(blockstore.Extent{Offset: 1 << 20, Length: 15 << 20, Kind: blockstore.Zero})
}
