package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// checkInPlace refuses what contradicts --in-place.
func (o *restoreOptions) checkInPlace(disks int) error {
	switch {
	case o.to != "":
		return usagef("--in-place and --to exclude each other").hinted("--disk NAME=IMAGE names an image that does not lie where it did")
	case o.format != "", o.device, o.run.Force, o.run.Mode != 0, o.run.Owner != nil:
		return usagef("--format, --device, --force, --mode and --owner have no meaning with --in-place: an image stays what it is").
			hinted("--disk NAME=IMAGE,format=qcow2 says what an image is that does not lie where it did")
	}
	return nil
}

// placement is one disk of a restore in place.
type placement struct {
	info  blockstore.DiskInfo
	place *restore.Place
}

// restoreInPlace takes images back to a point.
func restoreInPlace(ctx context.Context, k *console, o restoreOptions) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := service.FindPoint(ctx, v, o.ref)
	if err != nil {
		return err
	}
	if err := refuseAsleep(ctx, v, p); err != nil {
		return err
	}
	places, err := o.openPlaces(ctx, p)
	defer func() {
		for _, at := range places {
			at.place.Close() // it was written and synced, or says so
		}
	}()
	if err != nil {
		return err
	}
	before := interruptedBefore(places)
	if before != nil {
		if p, err = o.goOn(ctx, k, v, p, before); err != nil {
			return err
		}
	}
	if err := o.confirmInPlace(k, p, places, before); err != nil {
		return err
	}
	began := time.Now()
	var safety *blockstore.Point
	switch {
	case before != nil && before.Before != "":
		safety, err = service.FindPoint(ctx, v, pointRef{Machine: o.ref.Machine, Point: string(before.Before)})
		if err != nil {
			k.warn(fmt.Sprintf("the point of what was there before cannot be found: %v", err))
			safety, err = nil, nil
		}
	case before == nil && !o.noSafety:
		safety, err = keepPresent(ctx, k, o, p, places)
	}
	if err != nil {
		return leaving(ctx, err, "nothing was changed")
	}
	return o.writeInPlace(ctx, k, p, safety, places, before, began)
}

// refuseAsleep refuses a machine of libvirt's whose memory is saved.
func refuseAsleep(ctx context.Context, v *blockstore.Vault, p *blockstore.Point) error {
	for _, c := range p.Config {
		if c.Name == "domain.xml" {
			xml, err := v.ReadConfig(ctx, p, c.Name)
			if err != nil {
				return err
			}
			return restore.RefuseAsleep(xml)
		}
	}
	return nil
}

// interruptedBefore is the mark of a restore that was interrupted at one of the
// places; nil: there is none.
func interruptedBefore(places []placement) *restore.Mark {
	for _, at := range places {
		if m := at.place.Interrupted(); m != nil {
			return m
		}
	}
	return nil
}

// goOn says what was interrupted, and returns the point to restore: `latest` is by now
// the one that was made of what was there before.
func (o *restoreOptions) goOn(ctx context.Context, k *console, v *blockstore.Vault, p *blockstore.Point, m *restore.Mark) (*blockstore.Point, error) {
	k.say("interrupted here: %v", m)
	if m.Vault != v.Info().ID || m.Point == p.ID {
		return p, nil
	}
	if o.ref.Point == "latest" {
		k.say("`latest` means %s, as it did then", m.Point)
		return service.FindPoint(ctx, v, pointRef{Machine: m.Machine, Point: string(m.Point)})
	}
	return p, nil
}

// openPlaces holds the images of the disks that are to be restored.
func (o *restoreOptions) openPlaces(ctx context.Context, p *blockstore.Point) (places []placement, err error) {
	targets := o.targets
	if len(targets) == 0 {
		for _, d := range p.Disks {
			targets = append(targets, diskTarget{disk: d.Name})
		}
	}
	seen := map[string]string{}
	for _, t := range targets {
		info, err := p.Disk(t.disk)
		if err != nil {
			return places, service.Hinted(err, "the point has "+strings.Join(diskNames(p), ", "))
		}
		spec, err := placeOf(*info, t.target)
		if err != nil {
			return places, err
		}
		spec.VaultPath = o.vault
		place, err := restore.OpenPlace(ctx, spec)
		if err != nil {
			return places, whereIsIt(err, *info, t.target)
		}
		places = append(places, placement{*info, place})
		if other := seen[place.Name()]; other != "" {
			return places, usagef("disks %s and %s are both %s", other, t.disk, place.Name())
		}
		seen[place.Name()] = t.disk
	}
	return places, nil
}

// placeOf is where a disk was, unless target says otherwise.
func placeOf(info blockstore.DiskInfo, target string) (restore.PlaceSpec, error) {
	if uri, ok := exportURI(target); ok {
		return restore.PlaceSpec{Path: uri, NBD: true}, nil
	}
	spec := image.Spec{Path: info.Source}
	if target != "" {
		var err error
		if spec, err = image.ParseSpec(target); err != nil {
			return restore.PlaceSpec{}, usagef("--disk %s: %v", info.Name, err)
		}
	}
	if spec.Format == "" && info.Format == "qcow2" {
		spec.Format = "qcow2" // a raw one that looks like something else is refused
	}
	switch {
	case spec.Path == "":
		return restore.PlaceSpec{}, usagef("where disk %s was is not known", info.Name).hinted("say --disk %s=IMAGE", info.Name)
	case target == "" && !filepath.IsAbs(spec.Path) && !strings.Contains(spec.Path, ":"): // a file of that name in this folder may be another machine's
		return restore.PlaceSpec{}, usagef("of disk %s only the name %s is known, not the folder", info.Name, printable(spec.Path)).hinted("say --disk %s=/FOLDER/%s", info.Name, printable(spec.Path))
	}
	return restore.PlaceSpec{Path: spec.Path, Format: spec.Format, Backing: spec.Backing}, nil
}

func whereIsIt(err error, info blockstore.DiskInfo, target string) error {
	if classified, _ := explain(err); target != "" || classified != exitNotFound {
		return err
	}
	return service.Hinted(err, fmt.Sprintf("if disk %s lies elsewhere now, say --disk %s=IMAGE; if it is gone, restore it anew: --disk %s --to IMAGE", info.Name, info.Name, info.Name))
}

func (o *restoreOptions) confirmInPlace(k *console, p *blockstore.Point, places []placement, before *restore.Mark) error {
	var names []string
	for _, at := range places {
		names = append(names, fmt.Sprintf("disk %s (%s)", at.info.Name, at.place.Name()))
	}
	about := fmt.Sprintf("%s of %s: what is there now is replaced by what was there at %s", strings.Join(names, ", "), o.ref.Machine, k.moment(p.Time, false))
	why := "what is there now is kept as a recovery point first"
	switch {
	case before != nil && before.Before != "":
		why = fmt.Sprintf("what was there before the interruption is point %s", before.Before)
	case before != nil:
		why = "what was there before is lost already"
	case o.noSafety:
		why = "what is there now is kept nowhere, this cannot be undone"
	}
	return k.confirmAs(o.yes, o.ref.Machine, about, why)
}

// writeInPlace writes what differs and prints what became of it.
func (o *restoreOptions) writeInPlace(ctx context.Context, k *console, p, safety *blockstore.Point, places []placement, before *restore.Mark, began time.Time) error {
	v, err := openVault(ctx, k, o.vault) // again: it has the new point
	if err != nil {
		return err
	}
	defer v.Close()
	jobs, err := o.placeJobs(v, p, safety, places, before)
	if err != nil {
		return err
	}
	var res restore.Result
	err = k.measure("restore", true, o.quiet, func(set func(done, total int64)) error {
		o.run.Progress = set
		res, err = restore.InPlace(ctx, jobs, o.run)
		return err
	})
	if err != nil {
		return o.halfRestored(ctx, p, safety, err)
	}
	return reportInPlace(k, p, safety, res, o.json, time.Since(began))
}

func (o *restoreOptions) placeJobs(v *blockstore.Vault, p, safety *blockstore.Point, places []placement, before *restore.Mark) ([]restore.PlaceJob, error) {
	var jobs []restore.PlaceJob
	for _, at := range places {
		d, err := v.OpenDisk(p, at.info.Name)
		if err != nil {
			return nil, err
		}
		job := restore.PlaceJob{Disk: d, Place: at.place, Mark: restore.Mark{
			Vault: v.Info().ID, Machine: o.ref.Machine, Point: p.ID, Disk: at.info.Name,
		}}
		if safety != nil {
			job.Mark.Before = safety.ID
			if _, err := safety.Disk(at.info.Name); err == nil {
				was, err := v.OpenDisk(safety, at.info.Name)
				if err != nil {
					return nil, err
				}
				// After an interruption a place without a mark may be whole already: then it is compared.
				if before == nil || at.place.Interrupted() != nil {
					job.Before = was
				}
			}
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// halfRestored says what an interruption left behind, and what finishes it.
func (o *restoreOptions) halfRestored(ctx context.Context, p, safety *blockstore.Point, err error) error {
	var half *restore.HalfRestoredError
	if !errors.As(err, &half) {
		return leaving(ctx, err, "nothing was changed")
	}
	state := fmt.Sprintf("half restored, so that no machine starts from it: %s. The same command finishes it: holdfast restore %s@%s --in-place",
		strings.Join(half.Places, "; "), o.ref.Machine, p.ID)
	for _, t := range o.targets {
		state += " --disk " + t.disk
		if t.target != "" {
			state += "=" + t.target
		}
	}
	if safety != nil {
		state += fmt.Sprintf(". What was there before is %s@%s", o.ref.Machine, safety.ID)
	}
	return leaving(ctx, service.Hinted(err, state), state)
}
