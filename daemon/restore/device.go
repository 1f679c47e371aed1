package restore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// otherHosts is what nobody on this host can find out.
const otherHosts = "use of a shared device by other hosts cannot be seen from here"

// device is a block device, written in place.
type device struct {
	*os.File
	size    int64 // of the device in bytes
	touched bool  // something may have been written; set before workers start
	whole   bool  // everything was written and synced
}

// openDevice opens a block device that nothing on this host uses.
func openDevice(path, vault string, need int64) (*device, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0:
		return nil, fmt.Errorf("%s is not a block device: leave out --device to restore to a file", path)
	}
	if vault != "" {
		if err := refuseVaultDevice(path, vault); err != nil {
			return nil, err
		}
	}
	users, err := image.DeviceUsers(path)
	if err := inUse(path, users); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell whether %s is in use: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_EXCL, 0) // O_EXCL: nobody may mount it while it is written
	if errors.Is(err, unix.EBUSY) {
		return nil, &InUseError{"device " + path, "is in use by something in the kernel (a mount, swap, LVM, RAID): stop that first (" + otherHosts + ")", err}
	}
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	size, err := image.DeviceSize(f)
	if err == nil && size < need {
		err = fmt.Errorf("device %s is too small: it has %s, the disk %s", path, mib(size), mib(need))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &device{File: f, size: size}, nil
}

func inUse(path string, users []image.User) error {
	if len(users) == 0 {
		return nil
	}
	return &InUseError{Path: "device " + path, Cause: fmt.Sprintf("is in use, stop that first: %s (%s)", listed(users), otherHosts)}
}

// Blank is false: a device holds what it held.
func (d *device) Blank() bool { return false }

// Zero has the device zero the range by itself where it can; it may give the
// space back. Odd ends are written.
func (d *device) Zero(off, length int64) error {
	first, last := min(ceil(off, grain)*grain, off+length), (off+length)/grain*grain
	if last <= first {
		return d.writeZeros(off, off+length)
	}
	if err := d.writeZeros(off, first); err != nil {
		return err
	}
	if err := d.zeroOut(first, last); err != nil {
		return err
	}
	return d.writeZeros(last, off+length)
}

// zeroOut zeroes whole grains. On a block device these modes of fallocate do what
// the BLKZEROOUT ioctl does, both guarantee zeros; the first also
// lets a device that stores little for zeros give the space back, and fails where
// the device cannot.
func (d *device) zeroOut(off, end int64) error {
	for _, mode := range []uint32{
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
	} {
		err := unix.Fallocate(int(d.Fd()), mode, off, end-off)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
		default:
			return fmt.Errorf("zero %d bytes at %d: %w", end-off, off, err)
		}
	}
	return d.writeZeros(off, end)
}

func (d *device) writeZeros(off, end int64) error {
	for off < end {
		n, err := d.WriteAt(zeroes[:min(end-off, window)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// BeginVerify drops what was written from memory.
func (d *device) BeginVerify() error { return dropCache(d.File) }

// Hole is 0: every byte of a device is read.
func (d *device) Hole(off, length int64) int64 { return 0 }

// Commit closes the device.
func (d *device) Commit() error {
	d.whole = true
	return d.Close()
}

// Abort closes the device and says so if it was left half-written.
func (d *device) Abort() error {
	if d.whole {
		return nil
	}
	d.Close() // what it holds is of no use, a failure to close changes nothing
	if d.touched {
		return fmt.Errorf("device %s is partly overwritten: it holds neither its old content nor the disk; restore to it again before using it", d.Name())
	}
	return nil
}

// notes are what a person should know of a restore to the device.
func (d *device) notes(diskSize int64, sector int) []string {
	notes := []string{otherHosts}
	if tail := d.size - diskSize; tail > 0 {
		notes = append(notes, fmt.Sprintf("the last %s of %s lie behind the disk's end and were left as they were; a backup partition table belongs at a device's end", mib(tail), d.Name()))
	}
	if logical, _, err := image.SectorSizes(d.File); err == nil && sector > 0 && logical != sector {
		notes = append(notes, fmt.Sprintf("the disk had sectors of %d bytes, %s has %d: a partition table may not be understood there", sector, d.Name(), logical))
	}
	return notes
}
