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
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

const restoreExamples = `holdfast restore web1@latest --to /vms/restored/
holdfast restore web1@2026-11-22 --disk vda --to /vms/web1.qcow2 --format qcow2 --verify
holdfast restore web1@latest --disk vda=/dev/vg0/web1 --disk vdb=/vms/data.raw --device
holdfast restore web1@latest --disk vda --to - | ssh host2 'cat > web1.raw'
holdfast restore web1@latest --to /vms/web1-copy/ --define --name web1-copy --new-macs --start
holdfast restore web1@latest --disk vda --to nbd://storage2/web1
holdfast restore web1@2026-11-22 --in-place`

func restoreCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "write disks of a point to files, devices or a pipe",
		ArgsUsage: "MACHINE@POINT",
		Description: `Restores one disk to a file, a block device or standard output (-), several disks to a
target each, or a whole point with its configuration to a folder. A file appears under its
name only when it is whole and synced, and replaces none without --force. A device is
written only with --device, and never while anything on this host uses it. nbd://HOST/EXPORT
and nbd+unix:///EXPORT?socket=PATH are targets, too; qemu-nbd serves RBD and others so.

With --define a machine of libvirt comes back whole: disks, UEFI variables, TPM state and its
definition; what this host lacks for it is said first. Without, and for a plain QEMU, the
folder holds what it is made from, and the command is printed.

--in-place takes the images of a machine that is off back to a point, by writing only the
blocks that differ; first the present state becomes a point of its own. Meanwhile the files
are called NAME.holdfast-restoring, so that no machine starts from them, also after an
interruption: then the same command finishes it. An image that lies elsewhere by now is named
as for a backup: --disk NAME=IMAGE[,format=qcow2][,backing=DIR]. Damaged data
stops the restore, unless --skip-damaged puts zeros there, lists them and exits with 4.`,
		UsageText: restoreExamples,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "disk", Usage: "`NAME[=TARGET]`: restore this disk, to this target; may be given several times"},
			&cli.StringFlag{Name: "to", Usage: "`TARGET`: a file, a folder (one that exists, or ends with /), a device, or - for standard output"},
			&cli.StringFlag{Name: "format", Usage: "`FORMAT`: write files as raw or qcow2 (default: as their name ends, else as the image was)"},
			&cli.BoolFlag{Name: "device", Usage: "the target is a block device: overwrite what is on it"},
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
			&cli.BoolFlag{Name: "define", Usage: "make the whole machine again: define it in libvirt, with its disks where they are restored to"},
			&cli.StringFlag{Name: "connect", Usage: "`URI` of libvirt for --define (default qemu:///system)"},
			&cli.StringFlag{Name: "name", Usage: "make the machine under another `NAME`, with a UUID of its own"},
			&cli.BoolFlag{Name: "new-macs", Usage: "give the machine's network cards addresses of their own"},
			&cli.BoolFlag{Name: "start", Usage: "start the machine that --define made"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be made, and what this host lacks for it; write nothing"},
			&cli.BoolFlag{Name: "in-place", Usage: "write only what differs over the images of a machine that is off, where they were or --disk says"},
			&cli.BoolFlag{Name: "no-safety-point", Usage: "with --in-place: make no point of the present state first"},
			&cli.StringFlag{Name: "min-free", Usage: "with --in-place: leave `SIZE` free where the vault lies, or none (as for backup)"},
			yesFlag(),
			&cli.BoolFlag{Name: "verify", Usage: "read back what was written and compare it"},
			&cli.BoolFlag{Name: "skip-damaged", Usage: "put zeros where data is damaged, list where, and go on"},
			&cli.StringFlag{Name: "rate", Aliases: []string{"read-rate", "write-rate"}, Usage: "read, and so write, at most `SIZE` a second"},
			&cli.StringFlag{Name: "mode", Usage: "`MODE`: permissions of files, in octal (default 0600)"},
			&cli.StringFlag{Name: "owner", Usage: "`USER[:GROUP]`: whom to give files to (default: whoever restores)"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			o, err := restoreOptionsOf(k, c)
			if err != nil {
				return err
			}
			if o.inPlace {
				return restoreInPlace(c.Context, k, o)
			}
			return restorePoint(c.Context, k, o)
		},
	}
}

// restoreOptions say what is restored, and where to.
type restoreOptions struct {
	vault       string
	ref         pointRef
	targets     []diskTarget // none: all disks of the point
	machine     machineOptions
	inPlace     bool
	noSafety    bool
	yes         bool
	own         blockstore.OwnOptions // for the point of the present state
	to          string
	format      string
	device      bool
	json, quiet bool
	run         restore.Options

	// What plan found out: where disks will lie, and files to be made beside them in a folder.
	places map[string]restore.NewDisk
	folder string
	files  map[string][]byte
}

// diskTarget is one --disk. Its target may be "".
type diskTarget struct{ disk, target string }

// machineOptions say how a whole machine is made again.
type machineOptions struct {
	define, newMACs, start, dryRun bool
	uri, name                      string
}

func restoreOptionsOf(k *console, c *cli.Context) (o restoreOptions, err error) {
	args, err := takeArgs(c, "MACHINE@POINT")
	if err != nil {
		return o, err
	}
	if o.ref, err = parsePointRef(args[0]); err != nil {
		return o, err
	}
	for _, s := range c.StringSlice("disk") {
		name, target, found := strings.Cut(s, "=")
		if err := blockstore.CheckDiskName(name); err != nil {
			return o, usagef("--disk: %v", err)
		}
		if found && target == "" {
			return o, usagef("--disk %s= names no target", name)
		}
		o.targets = append(o.targets, diskTarget{name, target})
	}
	o.machine = machineOptions{
		define: c.Bool("define"), uri: c.String("connect"), name: c.String("name"),
		newMACs: c.Bool("new-macs"), start: c.Bool("start"), dryRun: c.Bool("dry-run"),
	}
	o.inPlace, o.noSafety, o.yes = c.Bool("in-place"), c.Bool("no-safety-point"), c.Bool("yes")
	o.to, o.format, o.device = c.String("to"), c.String("format"), c.Bool("device")
	o.json, o.quiet = c.Bool("json"), c.Bool("quiet")
	o.run = restore.Options{Force: c.Bool("force"), Verify: c.Bool("verify"), SkipDamaged: c.Bool("skip-damaged")}
	if o.run.Rate, err = rateOf(c); err != nil {
		return o, err
	}
	if o.run.Mode, err = parseMode(c.String("mode")); err != nil {
		return o, err
	}
	if o.run.Owner, err = parseOwner(c.String("owner")); err != nil {
		return o, err
	}
	if err := o.check(); err != nil {
		return o, err
	}
	if o.inPlace && !o.noSafety {
		if o.own, err = ownOptionsOf(k, c); err != nil {
			return o, err
		}
	}
	o.vault, err = k.vaultPath(c)
	o.run.VaultPath = o.vault
	return o, err
}

// check refuses what contradicts itself, before the vault is looked at.
func (o *restoreOptions) check() error {
	seen, with := map[string]bool{}, 0
	for _, t := range o.targets {
		if seen[t.disk] {
			return usagef("disk %s is named twice", t.disk)
		}
		seen[t.disk] = true
		if t.target != "" {
			with++
		}
	}
	switch {
	case o.inPlace && o.machine != (machineOptions{}):
		return usagef("--in-place leaves the machine as it is: --define, --connect, --name, --new-macs, --start and --dry-run have no meaning with it")
	case o.machine.start && !o.machine.define:
		return usagef("--start belongs to --define")
	case o.machine.uri != "" && !o.machine.define && !o.machine.dryRun:
		return usagef("--connect belongs to --define")
	case o.inPlace:
		return o.checkInPlace(len(o.targets))
	case o.noSafety:
		return usagef("--no-safety-point belongs to --in-place")
	case o.format != "" && o.format != "raw" && o.format != "qcow2":
		return usagef("--format %q is not known: use raw or qcow2", o.format)
	case with > 0 && with < len(o.targets):
		return usagef("some disks have a target and some have none: write --disk NAME=TARGET for each")
	case with > 0 && o.to != "":
		return usagef("--to and the targets of --disk exclude each other")
	case with == 0 && o.to == "":
		return usagef("where to restore to is not said").
			hinted("for example\n  %s", strings.ReplaceAll(restoreExamples, "\n", "\n  "))
	case o.json && (o.to == "-" || len(o.targets) == 1 && o.targets[0].target == "-"):
		return usagef("--json and the disk cannot both go to standard output")
	}
	return nil
}

// restorePoint restores and prints what became of it; damage that was skipped is
// a damagedError.
func restorePoint(ctx context.Context, k *console, o restoreOptions) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		return restoreFar(ctx, k, w, o)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := service.FindPoint(ctx, v, o.ref)
	if err != nil {
		return err
	}
	plan, err := o.plan(k, v, p)
	if err != nil {
		return err
	}
	whole, err := o.whole(ctx, k, v, p)
	if err != nil || o.machine.dryRun {
		return err
	}
	began := time.Now()
	var res restore.Result
	err = k.measure("restore", true, o.quiet, func(set func(done, total int64)) error {
		o.run.Progress = set
		res, err = plan(ctx, o.run)
		return err
	})
	if err != nil {
		return leaving(ctx, err, leftOver(res))
	}
	made, failed := whole.finish(ctx, k)
	return errors.Join(failed, reportRestore(k, p, res, made, o.json, time.Since(began)))
}

// leftOver says what a restore that was interrupted left behind.
func leftOver(res restore.Result) string {
	for _, d := range res.Disks {
		switch {
		case d.Kind == restore.Device, d.Kind == restore.NBD:
			return fmt.Sprintf("%s may be overwritten in part: restore to it again", d.Target)
		case d.Kind == restore.Stream:
			return "what was written to standard output is not the whole disk"
		}
	}
	return "no file appeared under its final name"
}

// isFolder tells whether path means a folder.
func isFolder(path string) bool {
	if _, ok := exportURI(path); ok {
		return false
	}
	info, err := os.Stat(path)
	return strings.HasSuffix(path, "/") || err == nil && info.IsDir()
}
