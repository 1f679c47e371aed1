package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// startServer starts QEMU's NBD server, before anything else: there may be one.
func (s *Snapshot) startServer(ctx context.Context) error {
	path := s.run.socket()
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %s: its path is longer than %d bytes: give the option for another scratch folder", path, maxSocketPath)
	}
	address := object{"type": "unix", "data": object{"path": path}}
	err := s.m.do(ctx, "nbd-server-start", object{"addr": address}, nil)
	if refused(err, "already running") {
		return ErrForeignServer
	}
	return s.m.explain(err, path)
}

const maxSocketPath = 107

// prepare makes a disk's scratch file and the node that keeps in it what the guest
// overwrites, with the disk itself below.
func (s *Snapshot) prepare(ctx context.Context, d *SnapshotDisk) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	path := filepath.Join(s.run.path, fmt.Sprintf("scratch-%d", d.index))
	fill := func(f *os.File) error { return writeScratchImage(f, d.Disk.Size) }
	if err := s.run.makeFile(path, s.m.process, fill); err != nil {
		return err
	}
	// What is lost in a crash of the host is of no use then anyway.
	careless := object{"no-flush": true}
	file := object{"driver": "file", "node-name": fileNode(d.index), "filename": path, "cache": careless, "discard": "unmap"}
	if err := s.m.do(ctx, "blockdev-add", file, nil); err != nil {
		return s.m.explain(err, path)
	}
	return s.m.do(ctx, "blockdev-add", object{"driver": "qcow2", "node-name": scratchNode(d.index), "file": fileNode(d.index),
		"backing": d.Disk.Node, "cache": careless, "discard": "unmap"}, nil)
}

// fix takes the snapshot: all disks in one transaction.
func (s *Snapshot) fix(ctx context.Context) error {
	if !s.Time.IsZero() {
		return fmt.Errorf("the moment came twice")
	}
	var actions []object
	for _, d := range s.Disks {
		actions = append(actions, s.actions(d)...)
	}
	began := time.Now().UTC()
	err := s.m.do(ctx, "transaction", object{"actions": actions}, nil)
	if refused(err, "in use by block job") {
		return fmt.Errorf("%w: a job that is not ours; wait for its end (query-jobs): %w", ErrInUse, err)
	}
	if err != nil {
		return err
	}
	s.Time = began
	return nil
}

// actions for one disk: a bitmap begins, the parent's ends, and a job begins to keep
// what is overwritten.
func (s *Snapshot) actions(d *SnapshotDisk) []object {
	var list []object
	add := func(kind string, data object) { list = append(list, object{"type": kind, "data": data}) }
	if !d.Disk.ReadOnly {
		add("block-dirty-bitmap-add", object{"node": d.Disk.Node, "name": s.request.Point,
			"persistent": d.Disk.persists, "granularity": Granularity})
	}
	if d.Mode == ModeBitmap {
		add("block-dirty-bitmap-disable", object{"node": d.Disk.Node, "name": s.request.Parent})
	}
	job := object{"job-id": jobName(d.index), "device": d.Disk.Node, "target": scratchNode(d.index),
		"sync": "none", "filter-node-name": filterNode(d.index)}
	if s.m.features.breaksSnap {
		job["on-cbw-error"] = "break-snapshot"
	}
	add("blockdev-backup", job)
	return list
}

// open exports a disk and connects to it.
func (s *Snapshot) open(ctx context.Context, d *SnapshotDisk) error {
	bitmap := ""
	if d.Mode == ModeBitmap {
		bitmap = s.request.Parent
	}
	open := s.openExport
	if s.m.fallsBack(&d.Disk) {
		open = s.openFallback
	}
	e, err := open(ctx, d, bitmap)
	if err != nil {
		return err
	}
	e.broken = &s.broken
	d.Export = e
	return nil
}

func (s *Snapshot) openExport(ctx context.Context, d *SnapshotDisk, bitmap string) (*Export, error) {
	name := exportName(d.index)
	export := object{"type": "nbd", "id": name, "node-name": scratchNode(d.index), "name": name, "writable": false}
	if bitmap != "" {
		export["bitmaps"] = []string{bitmap}
	}
	if err := s.m.do(ctx, "block-export-add", export, nil); err != nil {
		return nil, err
	}
	return OpenExport(ctx, ExportOptions{Socket: s.run.socket(), Export: name, Bitmap: bitmap, Size: d.Disk.Size, Stall: s.m.opts.Stall})
}

// refused tells whether QEMU said no, in words that hold text.
func refused(err error, text string) bool {
	return qmp.IsClass(err, qmp.GenericError) && contains(err, text)
}
