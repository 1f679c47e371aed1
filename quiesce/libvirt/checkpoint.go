package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// checkpoint is libvirt's record of a moment from which on changes are counted.
type checkpoint struct {
	name  string
	disks map[string]tracked // by name of the target
}

// tracked is a disk in a checkpoint.
type tracked struct {
	changed int64  // bytes since; -1: libvirt cannot tell, so the bitmap is missing or broken
	source  Source // of the disk's top layer when the checkpoint was made
}

// oursFor is the vault that a checkpoint is for, by its name: hf-<vault>-<point>.
func oursFor(name string) (vault string, ok bool) {
	rest, ok := strings.CutPrefix(name, ourPrefix)
	if !ok {
		return "", false
	}
	vault, point, ok := strings.Cut(rest, "-")
	return vault, ok && vault != "" && strings.HasPrefix(point, "p")
}

const ourPrefix = "hf-"

// checkpoints lists the names of all checkpoints of the domain, parents before children.
func (d *Domain) checkpoints(ctx context.Context) ([]string, error) {
	out, err := d.virsh(ctx, "checkpoint-list", "--topological", "--name")
	if err != nil {
		return nil, d.wrap("checkpoints", err)
	}
	var names []string
	for _, line := range strings.Split(out, "\n") {
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// checkpoint reads one; nil where there is none of that name. Sizes are known only while the domain runs.
func (d *Domain) checkpoint(ctx context.Context, name string, sizes bool) (*checkpoint, error) {
	args := []any{"--checkpointname=" + name}
	root, err := d.checkpointXML(ctx, args)
	if root == nil || err != nil {
		return nil, err
	}
	c := &checkpoint{name: name, disks: map[string]tracked{}}
	was := map[string]Source{}
	for _, disk := range disksOf(root.child("domain")) {
		was[disk.Name] = disk.Source
	}
	if sizes { // libvirt gives either the domain or sizes
		if root, err = d.checkpointXML(ctx, append(args, "--size", "--no-domain")); root == nil || err != nil {
			return nil, err
		}
	}
	for _, e := range root.child("disks").all("disk") {
		if e.attr("checkpoint") != "bitmap" {
			continue
		}
		t := tracked{changed: -1, source: was[e.attr("name")]}
		if n, err := strconv.ParseInt(e.attr("size"), 10, 64); err == nil && n >= 0 {
			t.changed = n
		}
		c.disks[e.attr("name")] = t
	}
	return c, nil
}

func (d *Domain) checkpointXML(ctx context.Context, args []any) (*element, error) {
	out, err := d.virsh(ctx, "checkpoint-dumpxml", args...)
	if says(err, "checkpoint not found") {
		return nil, nil
	}
	if err != nil {
		return nil, d.wrap("checkpoint", err)
	}
	root, err := parseXML(out)
	return root, d.wrap("checkpoint", err)
}

// doubt says why a disk's bitmap is not to be believed; empty: it is.
func (c *checkpoint) doubt(disk Disk) string {
	switch {
	case disk.ReadOnly:
		return "no bitmap is kept on a read-only disk"
	case disk.Format != "qcow2":
		return "libvirt keeps no checkpoints of " + disk.Format + " disks"
	case c == nil:
		return "the checkpoint is gone"
	}
	t, ok := c.disks[disk.Name]
	switch {
	case !ok:
		return "the checkpoint does not cover the disk"
	case t.changed < 0:
		return "the checkpoint's bitmap is missing or broken: QEMU ended without saving it"
	case t.source.String() != disk.Source.String():
		return fmt.Sprintf("the disk lies in another file than at the checkpoint: %s, then %s", disk.Source, t.source)
	}
	return ""
}

// deleteCheckpoint takes a checkpoint away. What it counted goes into the one before it, which
// has been counting all along. A broken one loses its record only; so does one of a domain that is off,
// whose images lose the bitmap then. None of that name is no error.
func (d *Domain) deleteCheckpoint(ctx context.Context, name string) error {
	option := "--checkpointname=" + name
	_, err := d.virsh(ctx, "checkpoint-delete", option)
	switch {
	case err == nil, says(err, "checkpoint not found"):
		return nil
	case says(err, "inactive domain", "domain is not running"):
		return d.deleteOff(ctx, name)
	case says(err, "not found in backing chain", "missing or broken", "inconsistent"):
		_, err = d.virsh(ctx, "checkpoint-delete", option, "--metadata")
	}
	return d.wrap("remove checkpoint "+name, err)
}

// deleteOff takes a checkpoint of a domain that is off away: libvirt's record, and
// the bitmaps in images of this host.
func (d *Domain) deleteOff(ctx context.Context, name string) error {
	c, err := d.checkpoint(ctx, name, false)
	if c == nil || err != nil {
		return err
	}
	disks, err := d.Disks(ctx)
	if err != nil {
		return err
	}
	if _, err := d.virsh(ctx, "checkpoint-delete", "--checkpointname="+name, "--metadata"); err != nil {
		return d.wrap("remove checkpoint "+name, err)
	}
	var errs []error
	for _, disk := range disks {
		if _, ok := c.disks[disk.Name]; ok && disk.Format == "qcow2" && disk.Source.Local() {
			errs = append(errs, removeBitmap(ctx, disk.Source.Path, name))
		}
	}
	return d.wrap("remove checkpoint "+name, errors.Join(errs...))
}

// cleanCheckpoints removes those of a vault but the ones named by keep, newest first; of
// all vaults where vault is empty.
func (d *Domain) cleanCheckpoints(ctx context.Context, vault string, keep []string) ([]Leftover, error) {
	stale, err := d.staleCheckpoints(ctx, vault, keep)
	if err != nil {
		return nil, err
	}
	var gone []Leftover
	var errs []error
	for _, name := range slices.Backward(stale) {
		if err := d.deleteCheckpoint(ctx, name); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, Leftover{Kind: "checkpoint", Name: name})
	}
	return gone, errors.Join(errs...)
}

func (d *Domain) staleCheckpoints(ctx context.Context, vault string, keep []string) ([]string, error) {
	names, err := d.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		v, ours := oursFor(name)
		return !ours || vault != "" && v != vault || slices.Contains(keep, name)
	}), nil
}

// mode decides how a disk is read.
func (c *checkpoint) mode(disk Disk, q qemu.DiskRequest, parent string) (qemu.Mode, string) {
	switch {
	case q.Scan != "":
		return qemu.ModeScan, q.Scan
	case parent == "":
		return qemu.ModeScan, "the first point of this disk"
	}
	if why := c.doubt(disk); why != "" {
		return qemu.ModeScan, why
	}
	return qemu.ModeBitmap, ""
}
