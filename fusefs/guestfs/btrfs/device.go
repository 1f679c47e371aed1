package btrfs

import (
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// device is one volume of the file system.
type device struct {
	r    io.ReaderAt
	size int64
}

// readCopy fills p with a copy of what lies at a logical address; copies are counted
// from 0, and p must end within the chunk.
func (v *volume) readCopy(p []byte, logical uint64, copy int) error {
	c, err := v.chunks.find(logical)
	if err != nil {
		return err
	}
	for len(p) > 0 {
		if logical >= c.end() {
			return corrupt(fmt.Sprintf("the reference to logical address %d", logical), "it reaches beyond its chunk")
		}
		s, run := c.place(logical, copy)
		n := int(min(uint64(len(p)), run))
		if err := v.readDevice(p[:n], s); err != nil {
			return err
		}
		p, logical = p[n:], logical+uint64(n)
	}
	return nil
}

// readDevice reads from a place of a device.
func (v *volume) readDevice(p []byte, s stripe) error {
	d, ok := v.devices[s.device]
	if !ok {
		return unsupported(fmt.Sprintf("device %d of the btrfs %s", s.device, uuidText(v.fsid)), "it is not among the disks")
	}
	if s.off > maxSuperDev || int64(s.off)+int64(len(p)) > d.size {
		return &tree.CorruptError{What: v.deviceName(s.device), Why: fmt.Sprintf("%d bytes were to be read beyond its end", len(p)), At: int64(s.off)}
	}
	n, err := d.r.ReadAt(p, int64(s.off))
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &tree.CorruptError{What: v.deviceName(s.device), Why: "it ends there", At: int64(s.off) + int64(n)}
	}
	return fmt.Errorf("read %d bytes at %d of %s: %w", len(p), s.off, v.deviceName(s.device), err)
}

func (v *volume) deviceName(id uint64) string {
	if v.super.devices == 1 {
		return "the volume"
	}
	return fmt.Sprintf("device %d", id)
}

// locate returns where the first copy of an address lies, for messages.
func (v *volume) locate(logical uint64) int64 {
	c, err := v.chunks.find(logical)
	if err != nil {
		return -1
	}
	s, _ := c.place(logical, 0)
	return int64(s.off)
}

// anyCopy reads a piece of one chunk and returns what the check says of the first copy
// that passes, else the first error. A stale or damaged copy is not the last word.
func (v *volume) anyCopy(p []byte, logical uint64, check func() error) error {
	c, err := v.chunks.find(logical)
	if err != nil {
		return err
	}
	var first error
	for i := range c.copies() {
		err := v.readCopy(p, logical, i)
		if err == nil {
			if err = check(); err == nil {
				return nil
			}
		}
		var damage *tree.CorruptError
		if first == nil || errors.As(err, &damage) && !errors.As(first, &damage) {
			first = err
		}
	}
	return first
}
