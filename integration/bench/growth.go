package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// How cost grows: with the disk at 1, 4 and 16 times the blocks, and with the points at
// 10, 100 and 1,000 of one disk. The ratio of each line is the growth of the time,
// beside the growth of what it may follow; what follows nothing may grow by a half, for
// noise. The time of a command is that of the processor, which others on the machine
// disturb less.

const (
	growthChange = 16       // blocks that a day changes
	growthRead   = 48 << 20 // bytes read through the mount
	linear       = 1.2      // what may grow in step may grow by so much more
	constant     = 1.5
)

// grown is what one vault costs: seconds by what is done, and the most memory of its
// own that a command took, in bytes.
type grown struct {
	seconds map[string]float64
	anon    int64
}

func (g *grown) cost(what string, c cost) {
	g.note(what, c.CPU)
	g.anon = max(g.anon, c.Anon)
}

func (g *grown) note(what string, seconds float64) {
	if before, ok := g.seconds[what]; !ok || seconds < before {
		g.seconds[what] = seconds
	}
}

// costsOf gives the order of lines, and whether each may grow with the blocks of the disk
// and with the number of points. Who opens a vault reads its points: a command grows with
// them, a backup in a vault that is open does not.
var costsOf = []struct {
	what           string
	blocks, points bool
}{
	{"first backup", true, false},
	{"command that scans an unchanged disk", true, true},
	{"run over 16 changed blocks, known", false, false},
	{"mount, first read of 48 MiB", false, false},
	{"sweep", true, true},
	{"open (vault info)", false, true},
	{"list (points)", false, true},
}

func (b *bench) growth(ctx context.Context) error {
	base := b.size / 24 &^ (1<<20 - 1)
	group := fmt.Sprintf("cost by blocks (1x: a disk of %s)", mib(base))
	var first *grown
	var anon int64
	for _, times := range []int64{1, 4, 16} {
		g, err := b.growthOf(ctx, times*base, 10)
		if err != nil {
			return err
		}
		anon = max(anon, g.anon)
		if first == nil {
			first = g
			continue
		}
		for _, c := range costsOf {
			b.growthLine(group, c.what, g, first, times, "1x", c.blocks)
		}
	}
	b.table.memory(group, "all of these", anon)
	group, anon = fmt.Sprintf("cost by points (of a disk of %s)", mib(base)), 0
	for _, points := range []int64{100, 1000} {
		g, err := b.growthOf(ctx, base, int(points))
		if err != nil {
			return err
		}
		anon = max(anon, g.anon)
		for _, c := range costsOf[1:] { // the first backup has no point before it
			b.growthLine(group, c.what, g, first, points/10, "10 points", c.points)
		}
	}
	b.table.memory(group, "all of these", anon)
	return nil
}

func (b *bench) growthLine(group, what string, g, first *grown, times int64, with string, follows bool) {
	limit := atMost(constant)
	if follows {
		limit = atMost(float64(times) * linear)
	}
	b.table.compare(group, fmt.Sprintf("%s, %dx", what, times), "ms", 1000*g.seconds[what], 1000*first.seconds[what], with, limit)
}

// growthOf measures a vault with so many points of a disk of size bytes.
func (b *bench) growthOf(ctx context.Context, size int64, points int) (*grown, error) {
	b.say("growth: %d points of a disk of %s", points, mib(size))
	disk, err := b.denseFile("growth.raw", size)
	if err != nil {
		return nil, err
	}
	defer os.Remove(disk)
	g := &grown{seconds: map[string]float64{}}
	var v *vault
	for range b.rounds {
		if v, err = b.newVault(ctx, "growth"); err != nil {
			return nil, err
		}
		c, err := b.timedOn(size, cost{}, func() (cost, error) { return v.backUp(ctx, disk) })
		if err != nil {
			return nil, err
		}
		g.cost("first backup", c)
	}
	defer v.remove()
	if err := v.growPoints(ctx, g, disk, size, points); err != nil {
		return nil, err
	}
	return g, v.measureGrown(ctx, g, disk)
}

func (v *vault) backUp(ctx context.Context, disk string) (cost, error) {
	return v.run(ctx, "backup", machine, "--disk", "vda="+disk, "--quiet")
}

// growPoints makes points that know what changed, and notes the quickest of the last.
func (v *vault) growPoints(ctx context.Context, g *grown, disk string, size int64, points int) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	c := &changing{File: f, size: size}
	rng := rand.New(rand.NewPCG(seed, 16))
	return withOwner(ctx, v.path, func(o *blockstore.Owner) error {
		for day := range points {
			if err := c.someDay(rng, day); err != nil {
				return err
			}
			start := time.Now()
			if _, err := backUpSource(ctx, o, machine, start, c); err != nil {
				return err
			}
			if day >= points-8 {
				g.note("run over 16 changed blocks, known", time.Since(start).Seconds())
			}
		}
		return nil
	})
}

// someDay changes blocks in as many neighbourhoods of the first 128 MiB, so that what a
// map costs does not depend on the disk's size.
func (c *changing) someDay(rng *rand.Rand, day int) error {
	c.changed = c.changed[:0]
	const apart = 128 << 20 / patchBlock / growthChange
	for i := range int64(growthChange) {
		if err := c.write(rng, i*apart+rng.Int64N(apart), day); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) measureGrown(ctx context.Context, g *grown, disk string) error {
	for range v.b.rounds + 1 {
		c, err := v.backUp(ctx, disk)
		if err != nil {
			return err
		}
		g.cost("command that scans an unchanged disk", c)
		for what, args := range map[string][]string{"open (vault info)": {"vault", "info"}, "list (points)": {"points"}} {
			if c, err = v.run(ctx, args...); err != nil {
				return err
			}
			g.cost(what, c)
		}
		if err := v.readGrown(ctx, g); err != nil {
			return err
		}
		if err := v.sweepOne(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) readGrown(ctx context.Context, g *grown) error {
	s, path, err := v.mount(ctx)
	if err != nil {
		return err
	}
	err = withFile(path, func(f *os.File) error {
		rate, err := readThrough(f, growthRead)
		g.note("mount, first read of 48 MiB", growthRead/1e6/rate)
		return err
	})
	if _, endErr := s.end(); err == nil {
		err = endErr
	}
	return err
}

// sweepOne drops one point and sweeps.
func (v *vault) sweepOne(ctx context.Context, g *grown) error {
	err := withOwner(ctx, v.path, func(o *blockstore.Owner) error {
		points, err := o.Points(ctx)
		if err != nil {
			return err
		}
		return o.Delete(points[len(points)/2])
	})
	if err != nil {
		return err
	}
	c, err := v.run(ctx, "trash", "empty", "--now", "--yes", "--quiet")
	g.cost("sweep", c)
	return err
}
