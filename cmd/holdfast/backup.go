package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func backupCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "make a recovery point of a machine",
		ArgsUsage: "MACHINE",
		Description: `Reads the disks of a machine and stores what the vault does not hold yet; every point is
complete in itself. A machine that is protected (holdfast protect) needs no more than its name: it is
backed up while it runs, at one instant across its disks, moving only what changed, or from its images
while it is off. With --disk the images of a machine that is off are named. IMAGE is a raw file, a
block device, or, with format=qcow2, a qcow2 file; backing=DIR names a folder in which its backing
files may lie. Nothing is guessed from an image's content. An image that QEMU uses is refused, and
a machine that is started meanwhile ends its backup.`,
		UsageText: `holdfast backup web1 --vault /srv/vault
holdfast backup web1 --disk vda=/vms/web1.qcow2,format=qcow2
holdfast backup db1 --disk vda=/dev/vg0/db1 --disk vdb=/vms/db1-data.raw`,
		Flags: append(append([]cli.Flag{
			&cli.StringSliceFlag{Name: "disk", Usage: "`NAME=IMAGE[,format=qcow2][,backing=DIR]`: a disk and its image; may be given several times"},
			&cli.BoolFlag{Name: "skip-unchanged", Usage: "take a disk over unread when its files were not touched since the point before"},
			&cli.BoolFlag{Name: "allow-in-use", Usage: "read images that somebody writes to; the point is then as after a power cut, at best"},
			&cli.IntFlag{Name: "acceleration", Usage: "compress `N` times more hastily: faster, larger (default 1)"},
			&cli.BoolFlag{Name: "paranoid", Usage: "decompress and compare whatever is stored"},
			&cli.StringFlag{Name: "memory", Usage: "use up to `SIZE` for buffers (default 128MiB)"},
			&cli.StringFlag{Name: "min-free", Usage: "`SIZE`: leave so much free where the vault lies, or none (default 5 %, or 20GiB if more)"},
			jsonFlag(),
		}, machineFlags()...), waitFlags()...),
		Action: func(c *cli.Context) error {
			o, err := backupOptionsOf(k, c)
			if err != nil {
				return err
			}
			if state, err := k.stateDir(c); err == nil {
				thawLeft(c.Context, k, freezesIn(state))
			}
			return backUp(c.Context, k, o)
		},
	}
}

// backupOptions say what is backed up, where to and how.
type backupOptions struct {
	vault       string
	request     backup.Request
	machine     *machineBackup // nil: the images are named
	own         blockstore.OwnOptions
	json, quiet bool
}

func backupOptionsOf(k *console, c *cli.Context) (o backupOptions, err error) {
	args, err := takeArgs(c, "MACHINE")
	if err != nil {
		return o, err
	}
	if err := checkMachine(args[0]); err != nil {
		return o, err
	}
	o.json, o.quiet = c.Bool("json"), c.Bool("quiet")
	o.request = backup.Request{Machine: args[0], Tool: toolName(), SkipUnchanged: c.Bool("skip-unchanged")}
	if len(c.StringSlice("disk")) > 0 {
		if o.request.Disks, err = parseDisks(c.StringSlice("disk"), c.Bool("allow-in-use")); err != nil {
			return o, err
		}
	}
	if o.own, err = ownOptionsOf(k, c); err != nil {
		return o, err
	}
	if o.vault, err = k.vaultPath(c); err != nil {
		return o, err
	}
	if len(o.request.Disks) == 0 {
		o.machine, err = machineBackupOf(k, c)
	}
	return o, err
}

// parseDisks reads the values of --disk.
func parseDisks(values []string, allowInUse bool) ([]backup.Disk, error) {
	if len(values) == 0 {
		return nil, usagef("no disk is named").hinted("for example --disk vda=/vms/web1.raw")
	}
	var disks []backup.Disk
	seen := map[string]bool{}
	for _, value := range values {
		name, spec, _ := strings.Cut(value, "=")
		if spec == "" {
			return nil, usagef("--disk %.80q: write NAME=IMAGE, for example vda=/vms/web1.raw", value)
		}
		if err := blockstore.CheckDiskName(name); err != nil {
			return nil, usagef("--disk: %v", err)
		}
		if seen[name] {
			return nil, usagef("disk %s is named twice", name)
		}
		seen[name] = true
		d, err := backup.ParseImage(name, spec, allowInUse)
		if err != nil {
			return nil, usagef("--disk %s: %v", name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

func ownOptionsOf(k *console, c *cli.Context) (o blockstore.OwnOptions, err error) {
	open, err := k.vaultOptions(c.Context)
	if err != nil {
		return o, err
	}
	o = blockstore.OwnOptions{
		Options: open, Wait: waitOf(c), Waiting: k.waiting,
		Acceleration: c.Int("acceleration"), Paranoid: c.Bool("paranoid"),
	}
	if c.IsSet("acceleration") && (o.Acceleration < 1 || o.Acceleration > 65537) {
		return o, usagef("--acceleration is %d: choose 1 to 65537", o.Acceleration)
	}
	memory, err := sizeOf(c, "memory", 0)
	if err != nil {
		return o, err
	}
	if memory > 0 {
		o.Budget = blockstore.NewBudget(memory)
	} else if c.IsSet("memory") {
		return o, usagef("--memory is 0")
	}
	if c.String("min-free") == "none" {
		o.MinFree = -1
		return o, nil
	}
	if o.MinFree, err = sizeOf(c, "min-free", 0); err == nil && o.MinFree == 0 && c.IsSet("min-free") {
		o.MinFree = -1
	}
	return o, err
}

const nothingMade = "no recovery point was made; what was stored is used by the next backup of the machine"

// backUp makes one recovery point and prints it.
func backUp(ctx context.Context, k *console, o backupOptions) error {
	if _, err := os.Stat(o.vault); err == nil && o.machine == nil { // else there is more to say than that it is missing
		if err := o.request.Check(o.vault); err != nil {
			return fmt.Errorf("back up %s: %w", o.request.Machine, err)
		}
	}
	owner, err := blockstore.Own(ctx, o.vault, o.own)
	if errors.Is(err, blockstore.ErrFull) {
		err = whatHelps(ctx, k, o.vault, err)
	}
	if err != nil {
		return leaving(ctx, orUnreachable(o.vault, err), "nothing was stored")
	}
	began := time.Now()
	var result *backup.Result
	err = k.measure("backup", true, o.quiet, func(set func(done, total int64)) error {
		progress := func(p backup.Progress) {
			k.phase("backup", p.Phase)
			set(p.Done, p.Total)
		}
		if o.machine != nil {
			result, err = o.machine.run(ctx, k, owner, o.request.Machine, progress)
			return err
		}
		if m, err := owner.Machine(ctx, o.request.Machine); err == nil {
			if err := owner.CheckHeld(m); err != nil {
				return err
			}
		}
		o.request.Progress = progress
		result, err = backup.Run(ctx, owner, o.request)
		return err
	})
	if p := owner.Beside(); p != "" {
		k.say("note: %s lies on the file system of the vault: twice as much is kept free there as elsewhere; --min-free SIZE says how much", p)
	}
	closed := owner.Close()
	if errors.Is(err, blockstore.ErrFull) {
		err = whatHelps(ctx, k, o.vault, err)
	}
	if err != nil {
		return leaving(ctx, err, nothingMade)
	}
	if closed != nil {
		k.warn(fmt.Sprintf("the point was made, but leaving the vault failed: %v", closed))
	}
	return reportBackup(k, result, o.json, time.Since(began))
}

func reportBackup(k *console, r *backup.Result, json bool, took time.Duration) error {
	for _, n := range r.Notes {
		k.say("note: %s", n)
	}
	for _, w := range r.Warnings {
		k.warn(w)
	}
	outcome := "completed"
	if k.warned() {
		outcome = "completed with warnings"
	}
	if json {
		return k.json(api.Backup{
			Point: service.DescribePoint(r.Point), Skipped: append([]string{}, r.Skipped...), Outcome: outcome, Notes: append([]string{}, r.Notes...),
			Warnings: append([]string{}, r.Warnings...), Healed: r.Healed, Seconds: took.Seconds(),
		})
	}
	if r.Healed > 0 {
		k.printf("healed %d damaged pieces of the vault: points that name them can be read there again\n", r.Healed)
	}
	p := r.Point
	for _, d := range r.Skipped {
		k.printf("disk %s was not touched since the point before: taken over unread\n", d)
	}
	note := ""
	if p.Reason == backup.InUse {
		note = ", " + consistency(p)
	}
	k.printf("made %s@%s (%s)%s\n", p.MachineName, p.Label(), p.ID, note)
	rate := ""
	if p.Sizes.Read > 0 && took > 100*time.Millisecond {
		rate = fmt.Sprintf(" (%s/s)", formatSize(int64(float64(p.Sizes.Read)/took.Seconds())))
	}
	if words := readWords(p); words != "" {
		k.printf("%s consistency; read %s\n", p.Reached, words)
	}
	k.printf("%s of disks, %s of data, %s read, %s changed, %s stored, in %s%s\n",
		formatSize(p.Sizes.Logical), formatSize(p.Sizes.Protected), formatSize(p.Sizes.Read), formatSize(p.Sizes.Changed),
		formatSize(p.Sizes.Stored), took.Round(100*time.Millisecond), rate)
	if k.warned() {
		k.printf("%s\n", outcome)
	}
	return nil
}
