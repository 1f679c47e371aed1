package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// restoring is a restore that is ready to run.
type restoring func(context.Context, restore.Options) (restore.Result, error)

// plan decides what goes where.
func (o *restoreOptions) plan(k *console, v *blockstore.Vault, p *blockstore.Point) (restoring, error) {
	var names []string
	for _, t := range o.targets {
		names = append(names, t.disk)
	}
	if len(names) == 0 {
		names = diskNames(p)
	}
	disks, err := openDisks(v, p, names)
	if err != nil {
		return nil, err
	}
	if o.to != "" && o.to != "-" && isFolder(o.to) {
		return o.planFolder(v, p, disks)
	}
	targets := o.targets
	if o.to != "" {
		if len(disks) != 1 {
			return nil, usagef("point %s@%s has %d disks (%s), and %s takes one", p.MachineName, p.ID, len(names), strings.Join(names, ", "), o.to).
				hinted("%s", oneDisk(o.to, names[0]))
		}
		targets = []diskTarget{{names[0], o.to}}
	}
	jobs, err := o.jobs(k, disks, targets)
	o.places = placesOf(jobs)
	return func(ctx context.Context, run restore.Options) (restore.Result, error) {
		return restore.Run(ctx, jobs, run)
	}, err
}

// oneDisk says what to do where a target takes one disk and there are several.
func oneDisk(to, disk string) string {
	if info, err := os.Stat(to); to == "-" || err == nil && !info.Mode().IsRegular() {
		return fmt.Sprintf("choose one with --disk %s, or restore all to a folder: --to /vms/restored/, for example", disk)
	}
	return fmt.Sprintf("choose one with --disk %s, or give a folder: --to %s/", disk, to)
}

func openDisks(v *blockstore.Vault, p *blockstore.Point, names []string) ([]restore.Disk, error) {
	if len(names) == 0 {
		return nil, usagef("point %s@%s has no disks", p.MachineName, p.ID)
	}
	var disks []restore.Disk
	for _, name := range names {
		if _, err := p.Disk(name); err != nil {
			return nil, service.Hinted(err, "the point has "+strings.Join(diskNames(p), ", "))
		}
		d, err := v.OpenDisk(p, name)
		if err != nil {
			return nil, err
		}
		disks = append(disks, d)
	}
	return disks, nil
}

func (o *restoreOptions) planFolder(v *blockstore.Vault, p *blockstore.Point, disks []restore.Disk) (restoring, error) {
	if o.device {
		return nil, usagef("%s is a folder, not a device", o.to)
	}
	job := restore.FolderJob{Path: o.to, Disks: disks, Format: o.format, Config: map[string][]byte{}}
	if err := o.placesIn(disks); err != nil {
		return nil, err
	}
	return func(ctx context.Context, run restore.Options) (restore.Result, error) {
		if len(o.targets) == 0 { // the whole point
			for _, c := range p.Config {
				data, err := v.ReadConfig(ctx, p, c.Name)
				if err != nil {
					return restore.Result{}, err
				}
				job.Config[c.Name] = data
			}
		}
		job.Files = o.files
		return restore.Folder(ctx, job, run)
	}, nil
}

// jobs gives every disk its target. disks and targets are in the same order.
func (o *restoreOptions) jobs(k *console, disks []restore.Disk, targets []diskTarget) ([]restore.Job, error) {
	var jobs []restore.Job
	devices, streams, exports := 0, 0, 0
	for i, t := range targets {
		spec, err := o.spec(k, disks[i].Info(), t.target)
		if err != nil {
			return nil, err
		}
		switch spec.Kind {
		case restore.Device:
			devices++
		case restore.Stream:
			streams++
		case restore.NBD:
			exports++
		}
		jobs = append(jobs, restore.Job{Disk: disks[i], Target: spec})
	}
	switch {
	case o.device && devices == 0:
		for _, t := range targets {
			if _, err := os.Stat(t.target); t.target != "-" && errors.Is(err, fs.ErrNotExist) {
				return nil, usagef("--device is given, and there is no device %s", t.target).
					hinted("`lsblk -p` lists the devices of this host")
			}
		}
		return nil, usagef("--device is given, but no target is a block device")
	case streams > 1:
		return nil, usagef("only one disk can go to standard output")
	case o.format == "qcow2" && devices+streams+exports == len(jobs):
		return nil, usagef("--format qcow2 is for files; a device, an export or standard output gets the disk's bytes as they are, which is raw")
	}
	return jobs, nil
}

func (o *restoreOptions) spec(k *console, info blockstore.DiskInfo, target string) (restore.Spec, error) {
	if target == "-" && k.outTerm {
		return restore.Spec{}, usagef("a disk is not for a terminal").hinted("send standard output to a file or a pipe")
	}
	if target == "-" {
		return restore.Spec{Kind: restore.Stream, Writer: k.out}, nil
	}
	if uri, ok := exportURI(target); ok {
		return restore.Spec{Kind: restore.NBD, Path: uri}, nil
	}
	st, err := os.Stat(target)
	if err == nil && st.Mode()&fs.ModeDevice != 0 && st.Mode()&fs.ModeCharDevice == 0 {
		if !o.device {
			return restore.Spec{}, usagef("%s is a block device", target).
				hinted("add --device to overwrite all that is on it")
		}
		return restore.Spec{Kind: restore.Device, Path: target}, nil
	}
	if isFolder(target) {
		return restore.Spec{}, usagef("the target of disk %s is the folder %s: name a file in it", info.Name, target)
	}
	kind, err := restore.KindOf(info, cmp.Or(o.format, formatByName(target)))
	return restore.Spec{Kind: kind, Path: target}, err
}

// exportURI tells the URI of an NBD export from a path; nbd: may stand before it.
func exportURI(target string) (uri string, ok bool) {
	for _, t := range []string{strings.TrimPrefix(target, "nbd:"), target} {
		for _, scheme := range []string{"nbd://", "nbd+unix://", "nbds://", "nbds+unix://"} { // the last two are refused with a reason
			if strings.HasPrefix(t, scheme) {
				return t, true
			}
		}
	}
	return "", false
}

// formatByName is the format that the name of a file promises, "" where it
// promises none.
func formatByName(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".qcow2":
		return "qcow2"
	case ".raw", ".img":
		return "raw"
	}
	return ""
}

// parseMode reads permissions in octal; "" is 0, the default.
func parseMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return 0, usagef("--mode %q: write permissions in octal, for example 0640", s)
	}
	return fs.FileMode(n), nil
}

// parseOwner reads USER, USER:GROUP or :GROUP, each a name or a number; "" is nil.
func parseOwner(s string) (*restore.Owner, error) {
	if s == "" {
		return nil, nil
	}
	owner := &restore.Owner{UID: -1, GID: -1}
	name, group, _ := strings.Cut(s, ":")
	if name != "" {
		id, err := lookUp(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return nil, usagef("--owner: there is no user %q", name)
		}
		owner.UID = id
	}
	if group != "" {
		id, err := groupID(group)
		if err != nil {
			return nil, usagef("--owner: %v", err)
		}
		owner.GID = id
	}
	return owner, nil
}

// groupID is the id of a group given by name or number.
func groupID(name string) (int, error) {
	id, err := lookUp(name, func() (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return 0, fmt.Errorf("there is no group %q", name)
	}
	return id, nil
}

func lookUp(name string, byName func() (string, error)) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	s, err := byName()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}
