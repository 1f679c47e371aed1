package main

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
)

// A disk of 6 TiB that is almost all hole: what a backup of it costs must not
// depend on its size. Its data lies in neighbourhoods as large as a leaf of the disk map
// covers, so that the leaves that a change rewrites are full ones.
const (
	sparseSize     = 6 << 40
	neighbourhoods = 2500
	neighbours     = 64 // blocks
	mapBlock       = 64 << 10
)

func (b *bench) sparseDisk(ctx context.Context) error {
	const group = "disk of 6 TiB"
	b.say("sparse disk")
	disk := filepath.Join(b.store, "sparse.raw")
	defer os.Remove(disk)
	if err := scatter(disk, neighbours, 1); err != nil {
		return err
	}
	v, err := b.newVault(ctx, "sparse")
	if err != nil {
		return err
	}
	defer v.remove()
	backup := func(more ...string) (cost, int64, error) {
		before, err := v.stored()
		if err != nil {
			return cost{}, 0, err
		}
		c, err := v.run(ctx, append([]string{"backup", machine, "--quiet", "--disk", "vda=" + disk}, more...)...)
		if err != nil {
			return c, 0, err
		}
		after, err := v.stored()
		return c, after - before, err
	}
	if _, _, err := backup(); err != nil {
		return err
	}
	var skipped, changed cost
	var added int64
	for range b.rounds {
		var c cost
		if c, added, err = backup("--skip-unchanged"); err != nil {
			return err
		}
		skipped = best(skipped, c)
	}
	b.table.alone(group, "unchanged and skipped, wall", "s", skipped.Wall, atMost(1))
	b.table.alone(group, "unchanged and skipped, added", "KiB", float64(added)/1024, atMost(64))
	if err := scatter(disk, 1, 2); err != nil {
		return err
	}
	if changed, added, err = backup(); err != nil {
		return err
	}
	b.table.alone(group, "2,500 scattered blocks, wall", "s", changed.Wall, noTarget)
	b.table.alone(group, "2,500 scattered blocks, added", "MiB", inMiB(added), atMost(16))
	b.table.memory(group, "2,500 scattered blocks", changed.Anon)
	return nil
}

// scatter writes the first n blocks of each neighbourhood. A block holds numbers that
// differ by day, and zeros, so that what a backup adds is almost only the map.
func scatter(path string, n, day uint64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(sparseSize); err != nil {
		return err
	}
	const every = sparseSize / mapBlock / neighbourhoods / neighbours * neighbours // begins with a leaf
	for i := range uint64(neighbourhoods) {
		for j := range n {
			words := binary.LittleEndian.AppendUint64(nil, i*neighbours+j)
			words = binary.LittleEndian.AppendUint64(words, day)
			if _, err := f.WriteAt(words, int64(i*every+j)*mapBlock); err != nil {
				return err
			}
		}
	}
	return nil
}
