package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce/image"
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
a machine that is started meanwhile ends its backup. Images are opened as who runs this, also where a
daemon owns the vault; it is handed the open files.`,
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
			&cli.StringFlag{Name: "rate", Aliases: []string{"read-rate"}, Usage: "read at most `SIZE` a second"},
			&cli.StringFlag{Name: "write-rate", Usage: "add at most `SIZE` a second to the vault"},
			&cli.DurationFlag{Name: "max-duration", Usage: "give up after `TIME`, for example 2h; what was stored is used by the next backup"},
			jsonFlag(),
		}, machineFlags()...), waitFlags()...),
		Action: func(c *cli.Context) error {
			o, err := backupOptionsOf(k, c)
			if err != nil {
				return err
			}
			return backUp(c.Context, k, o)
		},
	}
}

// backupOptions say what is backed up, where to and how.
type backupOptions struct {
	use
	machine     string
	request     api.BackupOptions
	tuned       []string // flags about how this process writes, which mean nothing to a daemon
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
	o.machine, o.json, o.quiet = args[0], c.Bool("json"), c.Bool("quiet")
	o.request = api.BackupOptions{Disks: c.StringSlice("disk"), AllowInUse: c.Bool("allow-in-use"), SkipUnchanged: c.Bool("skip-unchanged"),
		Scan: c.Bool("scan"), IncludeSecrets: c.Bool("include-secrets")}
	if len(o.request.Disks) > 0 {
		if _, err = parseDisks(o.request.Disks, o.request.AllowInUse); err != nil {
			return o, err
		}
	}
	for _, name := range []string{"acceleration", "paranoid", "memory", "min-free"} {
		if c.IsSet(name) {
			o.tuned = append(o.tuned, "--"+name)
		}
	}
	if o.request.Rate, err = rateOf(c); err != nil {
		return o, err
	}
	if o.request.WriteRate, err = rateNamed(c, "write-rate"); err != nil {
		return o, err
	}
	if o.request.MaxDuration, err = maxDurationOf(c); err != nil {
		return o, err
	}
	if o.own, err = ownOptionsOf(k, c); err != nil {
		return o, err
	}
	o.wait = jobWait(c)
	if o.vault, err = k.vaultPath(c); err != nil {
		return o, err
	}
	o.own.Still = k.notYet(o.vault)
	if o.request.Scratch, err = scratchOf(c); err != nil {
		return o, err
	}
	if o.stateDir, err = k.stateDir(c); err != nil && len(o.request.Disks) > 0 {
		return o, nil // nothing has to be remembered of images that are named
	}
	return o, err
}

func rateOf(c *cli.Context) (int64, error) { return rateNamed(c, "rate") }

// rateNamed returns bytes a second; 0: no limit.
func rateNamed(c *cli.Context, flag string) (int64, error) {
	rate, err := sizeOf(c, flag, 0)
	if err == nil && c.IsSet(flag) && rate <= 0 {
		err = usagef("--%s is 0", flag)
	}
	return rate, err
}

// maxDurationOf returns seconds.
func maxDurationOf(c *cli.Context) (int64, error) {
	d := c.Duration("max-duration")
	if c.IsSet("max-duration") && d < time.Second {
		return 0, usagef("--max-duration is %v: choose a second or more", d)
	}
	return int64(d / time.Second), nil
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

// backUp makes one recovery point and prints it.
func backUp(ctx context.Context, k *console, o backupOptions) error {
	w, err := k.operations(ctx, o.use)
	if err != nil {
		return err
	}
	defer w.close()
	if w.daemon == "" && o.stateDir != "" {
		thawLeft(ctx, k, freezesIn(o.stateDir))
	}
	if w.daemon != "" && len(o.tuned) > 0 {
		k.say("note: %s: the daemon writes into the vault as its configuration says", strings.Join(o.tuned, ", "))
	}
	if w.daemon != "" {
		if o.request.Disks, err = absoluteDisks(o.request.Disks); err != nil {
			return err
		}
	}
	q := api.JobRequest{Kind: api.JobBackup, Machine: o.machine, Backup: &o.request}
	if w.daemon != "" && len(o.request.Disks) > 0 && !mayNamePaths(w.daemon) {
		if err := handOver(&q); err != nil {
			return err
		}
	}
	b, err := runJob[api.Backup](ctx, k, w, showing{"backup", true, o.quiet}, q)
	if err != nil {
		return err
	}
	return reportBackup(k, b, o.json)
}

// absoluteDisks are the values of --disk with paths that hold in any folder.
func absoluteDisks(values []string) (all []string, err error) {
	for _, value := range values {
		name, text, _ := strings.Cut(value, "=")
		spec, err := image.ParseSpec(text)
		if err == nil {
			spec.Path, err = filepath.Abs(spec.Path)
		}
		if err != nil {
			return nil, usagef("--disk %s: %v", name, err)
		}
		for i, b := range spec.Backing {
			if spec.Backing[i], err = filepath.Abs(b); err != nil {
				return nil, err
			}
		}
		all = append(all, writeDisk(name, spec))
	}
	return all, nil
}

// writeDisk writes a value of --disk.
func writeDisk(name string, spec image.Spec) string {
	written := name + "=" + strings.ReplaceAll(spec.Path, ",", ",,")
	if spec.Format != "" {
		written += ",format=" + spec.Format
	}
	for _, b := range spec.Backing {
		written += ",backing=" + strings.ReplaceAll(b, ",", ",,")
	}
	return written
}

func reportBackup(k *console, b api.Backup, json bool) error {
	if b.Outcome = service.Completed; k.warned() {
		b.Outcome = service.CompletedWarnings
	}
	if json {
		return k.json(b)
	}
	if b.Healed > 0 {
		k.printf("healed %s of the vault: points that name what was damaged can be read there again\n", count(b.Healed, "damaged piece"))
	}
	p, took := b.Point, time.Duration(b.Seconds*float64(time.Second))
	for _, d := range b.Skipped {
		k.printf("disk %s was not touched since the point before: taken over unread\n", d)
	}
	note := ""
	if p.ConsistencyReason == backup.InUse {
		note = ", " + consistency(p)
	}
	k.printf("made %s@%s (%s)%s\n", p.Machine, k.label(p, false), p.ID, note)
	rate := ""
	if p.Sizes.Read > 0 && took > 100*time.Millisecond {
		rate = fmt.Sprintf(" (%s/s)", formatSize(int64(float64(p.Sizes.Read)/took.Seconds())))
	}
	if words := readWords(p); words != "" {
		k.printf("%s consistency; read %s\n", p.Consistency, words)
	}
	k.printf("%s of disks, %s of data, %s read, %s changed, %s stored, in %s%s\n",
		formatSize(p.Sizes.Logical), formatSize(p.Sizes.Protected), formatSize(p.Sizes.Read), formatSize(p.Sizes.Changed),
		formatSize(p.Sizes.Stored), took.Round(100*time.Millisecond), rate)
	if k.warned() {
		k.printf("%s\n", b.Outcome)
	}
	return nil
}
