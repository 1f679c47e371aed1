package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// A year of a file system of which a day changes one file in a hundred: what its history and
// the comparison of two days cost, in blocks that were read beside those of the disks.
const (
	historyDisk    = 256 << 20 // bytes
	historyFiles   = 5000
	historySize    = 32 << 10 // bytes of a file, about
	historyDaily   = 50       // files that a day changes
	historyChanges = 12       // of the file that changes
)

// fileHistory asks for the history of a file that never changed and of one that did, and for what
// differs between two days.
func (b *bench) fileHistory(ctx context.Context, group string) error {
	v, err := b.newVault(ctx, "history")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("files: a year of points of a file system")
	y := &fileYear{b: b, stage: filepath.Join(b.store, "history.files"), image: filepath.Join(b.store, "history.raw"), rng: rand.New(rand.NewPCG(1, 2))}
	defer removeAll(y.stage, y.image)
	points, err := y.make(ctx, v)
	if err != nil {
		return fmt.Errorf("make a year: %w", err)
	}
	for _, ask := range []struct {
		what    string
		args    []string
		most    float64 // hundredths of the blocks of the disks
		history bool
	}{
		{fmt.Sprintf("history of a file that never changed, %d points", yearDays), []string{"history", machine + ":vda:/still"}, 1, true},
		{fmt.Sprintf("history of one that changed %d times", historyChanges), []string{"history", machine + ":vda:/changing"}, 1, true},
		{"diff of two days, 1 % of the files changed", []string{"diff", machine + "@" + points[200] + ":vda:/", machine + "@" + points[201] + ":vda:/"}, 10, false},
		{"diff of the first and the last day", []string{"diff", machine + "@" + points[0] + ":vda:/", machine + "@" + points[yearDays-1] + ":vda:/"}, 0, false},
	} {
		c, out, err := measureOutput(ctx, v.command(append(ask.args, "--json", "--quiet")...))
		if err != nil {
			return err
		}
		var said struct {
			Cost  readCost
			Total struct{ Cost readCost }
		}
		if err := json.Unmarshal(out, &said); err != nil {
			return err
		}
		took := said.Total.Cost
		if ask.history {
			took = said.Cost
		}
		goal := noTarget
		if ask.most > 0 {
			goal = atMost(ask.most)
		}
		b.table.alone(group, ask.what, "s", c.Wall, noTarget)
		b.table.alone(group, "  blocks that it reads", "blocks", float64(took.Blocks), noTarget)
		b.table.alone(group, fmt.Sprintf("  of %d blocks of the disks", took.DiskBlocks), "%", 100*float64(took.Blocks)/float64(took.DiskBlocks), goal)
		b.table.memory(group, ask.args[0], c.Anon)
	}
	return nil
}

type readCost struct {
	Blocks     int64 `json:"blocks_read"`
	DiskBlocks int64 `json:"blocks_of_disk"`
}

// fileYear makes the points.
type fileYear struct {
	b            *bench
	stage, image string
	rng          *rand.Rand
	before       []byte
	made         int
}

func (y *fileYear) content() []byte {
	p := make([]byte, historySize/2+y.rng.IntN(historySize))
	for i := 0; i < len(p); i += 2 {
		p[i] = byte(y.rng.Uint32())
	}
	return p
}

// put writes new content for debugfs to take in, and returns the file that has it.
func (y *fileYear) put() (string, error) {
	y.made++
	path := filepath.Join(y.stage, fmt.Sprintf("new-%d", y.made%(2*historyDaily)))
	return path, os.WriteFile(path, y.content(), 0o600)
}

func (y *fileYear) make(ctx context.Context, v *vault) (ids []string, err error) {
	root := filepath.Join(y.stage, "root")
	for i := range historyFiles {
		name := filepath.Join(root, historyName(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, y.content(), 0o600); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"still", "changing"} {
		if err := os.WriteFile(filepath.Join(root, name), bytes.Repeat(y.content(), 20), 0o600); err != nil {
			return nil, err
		}
	}
	if err := y.b.format(ctx, root, y.image, historyDisk, "-b", "4096"); err != nil {
		return nil, err
	}
	err = withOwner(ctx, v.path, func(o *blockstore.Owner) error {
		for day := range yearDays {
			if day > 0 {
				if err := y.change(ctx, day); err != nil {
					return err
				}
			}
			id, err := y.point(ctx, o, day)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

func historyName(i int) string { return fmt.Sprintf("folder-%02d/file-%04d", i/100, i) }

// change has debugfs replace what a day changes.
func (y *fileYear) change(ctx context.Context, day int) error {
	var script strings.Builder
	names := map[string]bool{}
	for len(names) < historyDaily {
		names[historyName(y.rng.IntN(historyFiles))] = true
	}
	if day%(yearDays/historyChanges) == 0 {
		names["changing"] = true
	}
	for name := range names {
		from, err := y.put()
		if err != nil {
			return err
		}
		fmt.Fprintf(&script, "rm /%s\nwrite %s /%s\n", name, from, name)
	}
	c := exec.CommandContext(ctx, "debugfs", "-w", "-f", "-", y.image)
	c.Stdin = strings.NewReader(script.String())
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("debugfs: %w: %s", err, out)
	}
	return nil
}

// point backs up what differs from the day before.
func (y *fileYear) point(ctx context.Context, o *blockstore.Owner, day int) (string, error) {
	now, err := os.ReadFile(y.image)
	if err != nil {
		return "", err
	}
	var changed []int64
	for block := range int64(len(now)) / patchBlock {
		if at := block * patchBlock; y.before == nil || !bytes.Equal(now[at:at+patchBlock], y.before[at:at+patchBlock]) {
			changed = append(changed, block)
		}
	}
	y.before = now
	f, err := os.Open(y.image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := o.Begin(ctx, blockstore.BackupOptions{Machine: machine, Time: time.Now().AddDate(0, 0, day-yearDays), Reached: blockstore.Crash})
	if err != nil {
		return "", err
	}
	defer b.Abort()
	source := &changing{File: f, size: int64(len(now)), changed: changed, whole: day == 0}
	if err := b.AddDisk(ctx, blockstore.DiskInfo{Name: "vda", Size: source.size, Format: "raw"}, source, nil); err != nil {
		return "", err
	}
	p, err := b.Commit(ctx)
	if err != nil {
		return "", errors.Join(err, ctx.Err())
	}
	return string(p.ID), nil
}
