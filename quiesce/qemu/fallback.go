package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// QEMU before 9.0 may abort when the last client of an NBD export leaves whose node is
// served by an I/O thread (blockdev-nbd.c asserts that it runs in the main thread). So there the
// data is read from a file that QEMU shows through FUSE, and a node without content, which stays
// in the main thread, carries a copy of the bitmap to an NBD export.

// fallsBack tells whether a disk must not be exported over NBD.
func (m *Machine) fallsBack(d *Disk) bool { return d.IOThread != "" && m.version.before(9, 0) }

const wayOut = "take the iothread from the disk's device, or use QEMU 9.0 or newer"

// refusal says why a disk cannot be backed up at all; empty: it can.
func (m *Machine) refusal(d *Disk) string {
	if m.fallsBack(d) && !m.features.fuse {
		return fmt.Sprintf("an I/O thread (%s) serves it, QEMU %s could die of an NBD export of it, and this QEMU has no FUSE exports: %s",
			d.IOThread, m.version, wayOut)
	}
	return ""
}

// tryFUSE finds out whether QEMU can show files here, before the guest is held
// for a snapshot that could not be read.
func (s *Snapshot) tryFUSE(ctx context.Context) error {
	for _, d := range s.Disks {
		if !s.m.fallsBack(&d.Disk) {
			continue
		}
		const node, size = "hf-try", 1 << 20
		if err := s.m.do(ctx, "blockdev-add", object{"driver": "null-co", "node-name": node, "size": size}, nil); err != nil {
			return err
		}
		f, err := s.exportFile(ctx, "hf-exp-try", node, size)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
		f.Close()
		return s.m.sweepTry(ctx, node)
	}
	return nil
}

// sweepTry removes what tryFUSE made, and nothing else.
func (m *Machine) sweepTry(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := m.do(ctx, "block-export-del", object{"id": "hf-exp-try", "mode": "hard"}, nil); err != nil {
		return err
	}
	for {
		err := m.do(ctx, "blockdev-del", object{"node-name": node}, nil) // refused as long as the export is there
		if err == nil || gone(err) {
			return err
		}
		if ended := pause(ctx, shortWait); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// exportFile makes QEMU show a node as a file, and opens it.
func (s *Snapshot) exportFile(ctx context.Context, id, node string, size int64) (*os.File, error) {
	path := filepath.Join(s.run.path, "disk-"+id)
	if err := s.run.makeFile(path, s.m.process, nil); err != nil {
		return nil, err
	}
	err := s.m.do(ctx, "block-export-add", object{"type": "fuse", "id": id, "node-name": node, "mountpoint": path, "writable": false}, nil)
	if err != nil {
		return nil, fmt.Errorf("an I/O thread serves it, so it is read through FUSE instead of NBD: %w (QEMU needs /dev/fuse, and fusermount3 where it is not root; or %s)", err, wayOut)
	}
	f, err := os.Open(path)
	if err == nil {
		var at os.FileInfo
		if at, err = f.Stat(); err == nil && at.Size() < size {
			err = fmt.Errorf("it has %d bytes, and the disk has %d: QEMU's mounts are not seen here (a mount namespace of its own?)", at.Size(), size)
		}
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("an I/O thread serves it, and it cannot be read through FUSE: %w%s; or %s", err, otherUser(err), wayOut)
	}
	return f, nil
}

func otherUser(err error) string {
	if errors.Is(err, syscall.EACCES) {
		return " (QEMU runs as another user, whose mounts are closed to root unless /etc/fuse.conf says user_allow_other)"
	}
	return ""
}

// exportCarrier makes an NBD export that has a copy of the disk's bitmap, and no data.
func (s *Snapshot) exportCarrier(ctx context.Context, d *SnapshotDisk, bitmap string) error {
	name := carrierNode(d.index)
	if err := s.m.do(ctx, "blockdev-add", object{"driver": "null-co", "node-name": name, "size": d.Disk.Size, "read-zeroes": true}, nil); err != nil {
		return err
	}
	add := object{"node": name, "name": bitmap, "granularity": Granularity, "disabled": true}
	if err := s.m.do(ctx, "block-dirty-bitmap-add", add, nil); err != nil {
		return err
	}
	merge := object{"node": name, "target": bitmap, "bitmaps": []object{{"node": d.Disk.Node, "name": bitmap}}}
	if err := s.m.do(ctx, "block-dirty-bitmap-merge", merge, nil); err != nil {
		return err
	}
	return s.m.do(ctx, "block-export-add", object{"type": "nbd", "id": mapExport(d.index), "node-name": name,
		"name": mapExport(d.index), "writable": false, "bitmaps": []string{bitmap}}, nil)
}

// openFallback reads a disk from its file, and its bitmap from the carrier.
func (s *Snapshot) openFallback(ctx context.Context, d *SnapshotDisk, bitmap string) (*Export, error) {
	f, err := s.exportFile(ctx, exportName(d.index), scratchNode(d.index), d.Disk.Size)
	if err != nil {
		return nil, err
	}
	e := &Export{size: d.Disk.Size, small: smallChange, data: []io.ReaderAt{f}, closers: []io.Closer{f}}
	e.zeros = &teller{from: holes{f}, context: nbd.BaseAllocation, known: true}
	if bitmap == "" {
		return e, nil
	}
	err = s.exportCarrier(ctx, d, bitmap)
	if err == nil {
		err = e.connectBitmap(ctx, ExportOptions{Socket: s.run.socket(), Export: mapExport(d.index), Bitmap: bitmap, Stall: s.m.opts.Stall})
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// holes tells the holes of a file, as a server does of its export.
type holes struct{ *os.File }

// BlockStatus answers for the first run of the range.
func (h holes) BlockStatus(_ context.Context, off, length int64) (map[string][]nbd.Extent, error) {
	e := nbd.Extent{Offset: off, Length: length}
	data, err := h.seek(off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, syscall.ENXIO): // none up to the end
		e.Flags = nbd.Hole | nbd.ZeroBytes
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP):
	case err != nil:
		return nil, err
	case data > off:
		e.Flags, e.Length = nbd.Hole|nbd.ZeroBytes, min(length, data-off)
	default:
		hole, err := h.seek(off, unix.SEEK_HOLE)
		if err != nil || hole <= off {
			return nil, errors.Join(fmt.Errorf("%s: no end of the data at %d", h.Name(), off), err)
		}
		e.Length = min(length, hole-off)
	}
	return map[string][]nbd.Extent{nbd.BaseAllocation: {e}}, nil
}

func (h holes) seek(off int64, whence int) (at int64, err error) {
	raw, err := h.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(fd uintptr) { at, err = unix.Seek(int(fd), off, whence) }); e != nil {
		return 0, e
	}
	return at, err
}
