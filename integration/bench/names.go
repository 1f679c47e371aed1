package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// catalogue lists the names of a million files at a point, and again at one for which one of a hundred was
// removed, and searches both.
func (b *bench) catalogue(ctx context.Context, group string, v *vault, disk string) error {
	build := func() (cost, int64, error) {
		before, err := folderSize(filepath.Join(v.path, "catalogues"))
		if err != nil {
			return cost{}, 0, err
		}
		c, err := v.run(ctx, "catalogue", "build", machine+"@latest")
		if err != nil {
			return c, 0, err
		}
		after, err := folderSize(filepath.Join(v.path, "catalogues"))
		return c, after - before, err
	}
	whole, size, err := build()
	if err != nil {
		return err
	}
	b.table.alone(group, "catalogue of a million files", "s", whole.Wall, noTarget)
	b.table.memory(group, "catalogue of a million files", whole.Anon)
	b.table.alone(group, "bytes of a catalogue a file, whole", "B", float64(size)/manyFiles, atMost(40))
	if err := b.removeSome(ctx, disk); err != nil {
		return err
	}
	if _, err := v.run(ctx, "backup", machine, "--quiet", "--disk", "vda="+disk+",format=raw"); err != nil {
		return err
	}
	next, size, err := build()
	if err != nil {
		return err
	}
	b.table.alone(group, "catalogue after 1 % of them went", "s", next.Wall, noTarget)
	b.table.alone(group, "bytes of a catalogue a file, 1 % changed", "B", float64(size)/manyFiles, atMost(40))
	if _, err := v.run(ctx, "catalogue", "build", machine); err != nil { // of the points before
		return err
	}
	c, err := v.run(ctx, "find", machine+"@all", "--name", "file-*7", "--deleted", "-0")
	if err != nil {
		return err
	}
	b.table.alone(group, "find @all --deleted over all points", "s", c.Wall, atMost(2))
	return nil
}

// removeSome removes every hundredth file.
func (b *bench) removeSome(ctx context.Context, disk string) error {
	var script strings.Builder
	for n := range manyFiles / manyFolder {
		for i := 7; i < manyFolder; i += 100 {
			fmt.Fprintf(&script, "rm /folder-%04d/file-%06d\n", n, i)
		}
	}
	c := exec.CommandContext(ctx, "debugfs", "-w", "-f", "-", disk)
	c.Stdin = strings.NewReader(script.String())
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("debugfs: %w: %.200s", err, out)
	}
	return nil
}

// folderSize adds up the files below a folder; one that is not there is empty.
func folderSize(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			sum += st.Size()
		}
		return err
	})
	return sum, err
}
