package service

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/restore"
)

// restoreRequest refuses what does not say what is restored where.
func restoreRequest(q api.JobRequest) error {
	r := q.Restore
	switch {
	case r == nil || q.Machine == "" || r.Point == "":
		return invalidf("which point of which machine is to be restored is not said")
	case !filepath.IsAbs(r.Folder) || filepath.Clean(r.Folder) != r.Folder:
		return invalidf("folder %.200q: write an absolute path without detours", r.Folder)
	case r.Format != "" && r.Format != "raw" && r.Format != "qcow2":
		return invalidf("format %.40q is not known: use raw or qcow2", r.Format)
	}
	return nil
}

// restore restores disks of a point to a folder, with the configuration where all disks are.
func (s *Service) restore(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	var done any
	err := s.vaults.Read(ctx, q.Vault, func(v *blockstore.Vault) error {
		began := time.Now()
		p, err := FindPoint(ctx, v, api.PointRef{Machine: q.Machine, Point: q.Restore.Point})
		if err != nil {
			return err
		}
		job, err := folderJob(ctx, v, p, q.Restore)
		if err != nil {
			return err
		}
		res, err := restore.Folder(ctx, job, restore.Options{VaultPath: v.Info().Path, Progress: func(done, total int64) {
			r.Progress(jobs.Progress{Done: done, Total: total, Unit: "bytes", Read: done})
		}})
		if err != nil {
			return leaving(ctx, err, "no file appeared under its final name")
		}
		a := DescribeRestore(p, res, time.Since(began))
		for _, n := range a.Notes {
			r.Note(n)
		}
		for _, w := range a.Warnings {
			r.Warn(w)
		}
		done = a
		return nil
	})
	return done, err
}

func folderJob(ctx context.Context, v *blockstore.Vault, p *blockstore.Point, o *api.RestoreJobOptions) (restore.FolderJob, error) {
	job := restore.FolderJob{Path: o.Folder, Format: o.Format, Config: map[string][]byte{}}
	names := o.Disks
	if len(names) == 0 {
		for i := range p.Disks {
			names = append(names, p.Disks[i].Name)
		}
		for _, c := range p.Config {
			b, err := v.ReadConfig(ctx, p, c.Name)
			if err != nil {
				return job, err
			}
			job.Config[c.Name] = b
		}
	}
	for _, name := range names {
		d, err := v.OpenDisk(p, name)
		if err != nil {
			return job, err
		}
		job.Disks = append(job.Disks, d)
	}
	return job, nil
}

// DescribeRestore returns what a restore did as programs see it.
func DescribeRestore(p *blockstore.Point, res restore.Result, took time.Duration) api.Restore {
	r := api.Restore{
		Machine: p.MachineName, Point: string(p.ID), Disks: []api.RestoredDisk{}, Warnings: []string{}, Notes: []string{},
		Config: append([]string{}, res.Config...), Seconds: took.Seconds(), InPlace: res.InPlace, Before: string(res.Before),
	}
	for _, d := range res.Disks {
		one := api.RestoredDisk{
			Name: d.Disk.Name, Target: d.Target, Format: d.Kind.String(), Size: d.Disk.Size,
			Written: d.Data, Verified: d.Verified, Damaged: []api.Range{},
		}
		for _, x := range d.Damaged {
			one.Damaged = append(one.Damaged, api.Range{Offset: x.Offset, Length: x.Length})
		}
		r.Disks = append(r.Disks, one)
		for _, n := range d.Notes {
			r.Notes = append(r.Notes, fmt.Sprintf("disk %s: %s", one.Name, n))
		}
		for _, x := range d.Uncompared {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: restored whole, but could not be read again to be compared: %v",
				Place(one.Name, x.Offset, x.Length), x.Cause))
		}
	}
	return r
}

// Place says which part of a point something is about; no disk: all of it.
func Place(disk string, offset, length int64) string {
	switch {
	case disk == "":
		return "all of it"
	case length <= 0:
		return fmt.Sprintf("disk %s, all of it", disk)
	}
	return fmt.Sprintf("disk %s, offset %d, %s", disk, offset, Count(length, "byte"))
}
