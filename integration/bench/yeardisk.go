package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// A year of daily backups of one disk, made in a minute: the disk is dense with what
// the benchmark's disk holds, and a day changes about one block in a hundred: pages of a
// database and logs in the same places again and again, what a package brings in runs
// of neighbours, and new files in space that follows that of the day before. Which
// blocks differ is known, as it is of a running machine, so that nothing else is read.

const (
	yearDays   = 365
	yearHot    = 40 // blocks of 64 KiB a day, of a twentieth of the disk
	yearRuns   = 3  // of packages
	yearRun    = 20 // blocks
	yearNew    = 60 // blocks of new files
	yearDisk   = "year.raw"
	shiftBytes = 4321 // what makes old content new: it lies elsewhere in its blocks
)

// denseFile makes a file of so many bytes of the image's data, without its holes: an even
// sample, so that what a byte costs does not depend on how many there are.
func (b *bench) denseFile(name string, size int64) (string, error) {
	src, err := os.Open(b.image)
	if err != nil {
		return "", err
	}
	defer src.Close()
	runs, err := dataRuns(src)
	if err != nil {
		return "", err
	}
	var pieces []int64 // offsets of as many bytes as are copied at once
	const piece = 1 << 20
	for _, r := range runs {
		for at := r[0]; at+piece <= r[1]; at += piece {
			pieces = append(pieces, at)
		}
	}
	want, have := size/piece, int64(len(pieces))
	if want > have {
		return "", fmt.Errorf("the disk holds %s, and %s of it are needed", mib(have*piece), mib(size))
	}
	path := filepath.Join(b.store, name)
	dst, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer dst.Close()
	for i, at := range pieces {
		if int64(i+1)*want/have == int64(i)*want/have {
			continue
		}
		if _, err := io.Copy(dst, io.NewSectionReader(src, at, piece)); err != nil {
			return "", err
		}
	}
	return path, nil
}

// changing is a disk of which only some blocks changed since its last backup.
type changing struct {
	*os.File
	size    int64
	changed []int64 // numbers of blocks, ascending
	whole   bool    // all of it is read
}

func (c *changing) Size() int64 { return c.size }

func (c *changing) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	if c.whole {
		return fn(blockstore.Extent{Length: c.size, Kind: blockstore.Data})
	}
	at := int64(0)
	for _, block := range c.changed {
		off := block * patchBlock
		if off > at {
			if err := fn(blockstore.Extent{Offset: at, Length: off - at, Kind: blockstore.Same}); err != nil {
				return err
			}
		}
		if err := fn(blockstore.Extent{Offset: off, Length: patchBlock}); err != nil {
			return err
		}
		at = off + patchBlock
	}
	if at == c.size {
		return nil
	}
	return fn(blockstore.Extent{Offset: at, Length: c.size - at, Kind: blockstore.Same})
}

// write puts other content into a block: what lies in another place of the disk,
// shifted, with the day in it.
func (c *changing) write(rng *rand.Rand, block int64, day int) error {
	buf := make([]byte, patchBlock)
	if _, err := c.ReadAt(buf, rng.Int64N(c.size-patchBlock-shiftBytes)/patchBlock*patchBlock+shiftBytes); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(buf, uint64(day)<<32|uint64(block))
	c.changed = append(c.changed, block)
	_, err := c.WriteAt(buf, block*patchBlock)
	return err
}

// nextDay changes what a day changes.
func (c *changing) nextDay(rng *rand.Rand, day int) error {
	c.changed = c.changed[:0]
	blocks := c.size / patchBlock
	hot, fresh := blocks/20, blocks/2
	list := make([]int64, 0, yearHot+yearRuns*yearRun+yearNew)
	for range yearHot {
		list = append(list, rng.Int64N(hot))
	}
	for range yearRuns {
		at := hot + rng.Int64N(fresh-hot-yearRun)
		for i := range int64(yearRun) {
			list = append(list, at+i)
		}
	}
	for i := range int64(yearNew) {
		list = append(list, fresh+(int64(day)*yearNew+i)%(blocks-fresh))
	}
	slices.Sort(list)
	for _, block := range slices.Compact(list) {
		if err := c.write(rng, block, day); err != nil {
			return err
		}
	}
	return nil
}

// makeYear backs the disk up as on each day of a year, and returns its points.
func makeYear(ctx context.Context, owner *blockstore.Owner, disk string, days int) (points []*blockstore.Point, err error) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c := &changing{File: f, size: st.Size(), whole: true}
	rng := rand.New(rand.NewPCG(seed, 365))
	first := time.Date(2025, 11, 1, 22, 0, 0, 0, time.UTC)
	for day := range days {
		if day > 0 {
			if err := c.nextDay(rng, day); err != nil {
				return nil, err
			}
		}
		p, err := backUpSource(ctx, owner, machine, first.AddDate(0, 0, day), c)
		if err != nil {
			return nil, fmt.Errorf("day %d: %w", day, err)
		}
		points, c.whole = append(points, p), false
	}
	return points, nil
}

// backUpSource makes a point of a machine with one disk.
func backUpSource(ctx context.Context, owner *blockstore.Owner, machine string, at time.Time, src blockstore.Source) (*blockstore.Point, error) {
	backup, err := owner.Begin(ctx, blockstore.BackupOptions{
		Machine: machine, Time: at, Asked: blockstore.Crash, Reached: blockstore.Crash, Tool: "bench",
	})
	if err != nil {
		return nil, err
	}
	defer backup.Abort()
	info := blockstore.DiskInfo{Name: "vda", Size: src.Size(), LogicalSector: 512, PhysicalSector: 512, Format: "raw", Source: "bench"}
	if err := backup.AddDisk(ctx, info, src, func(blockstore.Sizes, int64) {}); err != nil {
		return nil, err
	}
	return backup.Commit(ctx)
}
