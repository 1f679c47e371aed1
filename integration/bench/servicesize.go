package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const (
	yearsMachines = 200
	yearsDays     = 365
)

// yearsInDaemon asks a vault of 73,000 points what people ask, with a daemon and without.
func (b *bench) yearsInDaemon(ctx context.Context) (err error) {
	const group = "daemon: 73,000 points"
	v := &vault{b, filepath.Join(b.store, "years")}
	defer func() { err = errors.Join(err, v.remove()) }()
	if err := b.makeYears(ctx, v.path); err != nil {
		return fmt.Errorf("make the vault: %w", err)
	}
	h, err := b.newHost(v, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.remove()) }()
	began := 0.0
	for round := range b.rounds + 1 {
		if h.cmd != nil {
			if _, err := h.end(); err != nil {
				return err
			}
		}
		b.say("start of a daemon, round %d", round+1)
		took, err := h.begin(ctx)
		if err != nil {
			return err
		}
		if began == 0 || took < began {
			began = took
		}
	}
	b.table.alone(group, "start of the daemon", "s", began, atMost(2))
	if err := b.askYears(ctx, group, ", daemon", h.command); err != nil {
		return err
	}
	anon, err := h.end()
	if err != nil {
		return err
	}
	b.table.alone(group, "the daemon, peak RssAnon", "MiB", inMiB(anon), atMost(384))
	return b.askYears(ctx, group, "", v.command)
}

// askYears times questions of commands.
func (b *bench) askYears(ctx context.Context, group, how string, as func(...string) command) error {
	for _, args := range [][]string{{"status", "--no-host"}, {"points"}, {"points", "vm007"}, {"prune", "--dry-run"}} {
		var c cost
		for range b.rounds + 1 {
			run := as(args...)
			if args[0] == "status" { // which ends with 3 where something is at risk
				run.args = append([]string{"sh", "-c", `"$@"; code=$?; [ $code = 3 ] || exit $code`, "sh"}, run.args...)
			}
			again, err := measure(ctx, run)
			if err != nil {
				return err
			}
			c = best(c, again)
		}
		b.table.alone(group, strings.Join(args, " ")+how, "s", c.Wall, atMost(2))
	}
	return nil
}

// makeYears makes a vault of machines with a point a day, and a policy that lets many of them go. Its
// machines are not backed up by it.
func (b *bench) makeYears(ctx context.Context, path string) error {
	program := filepath.Join(b.work, "size.test")
	if _, err := measure(ctx, command{args: []string{"go", "test", "-c", "-o", program, "./blockstore"}}); err != nil {
		return err
	}
	defer os.Remove(program)
	b.say("making a vault of %d points", yearsMachines*yearsDays)
	_, _, err := measureOutput(ctx, command{args: []string{program, "-test.timeout", "0", "-test.run", "^TestSizeStep$"}, env: []string{
		"HOLDFAST_SIZE_DIR=" + path, "HOLDFAST_SIZE_STEP=make", "HOLDFAST_SIZE_BLOCKS=1000000",
		fmt.Sprintf("HOLDFAST_SIZE_MACHINES=%d", yearsMachines), fmt.Sprintf("HOLDFAST_SIZE_DAYS=%d", yearsDays)}})
	if err != nil {
		return err
	}
	return withOwner(ctx, path, func(o *blockstore.Owner) error {
		for n := range yearsMachines {
			_, err := o.Protect(ctx, stormName(n), blockstore.Protection{Since: time.Now(), Consistency: blockstore.Crash, VM: blockstore.VM{Kind: blockstore.KindImages},
				Images: []blockstore.ImageDisk{{Name: "vda", Path: "/images/" + stormName(n) + ".qcow2", Format: "qcow2"}}})
			if err != nil {
				return err
			}
		}
		_, err := o.SetPolicy(ctx, blockstore.Policy{Name: "all", Machines: []string{"*"}, Keep: blockstore.Keep{Last: 7, Daily: 30, Weekly: 12, Monthly: 24}})
		return err
	})
}
