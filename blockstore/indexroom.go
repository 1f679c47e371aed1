package blockstore

import (
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// The index writes through mapped memory: where its disk has no room for a
// page of it, the kernel ends the process. So it is neither opened nor written to when
// less than one part in 16 of its file system is free, within these bounds, in bytes.
const (
	minIndexRoom = 4 << 20
	maxIndexRoom = 48 << 20
)

// leastIndexRoom is that part of total bytes.
func leastIndexRoom(total int64) int64 { return min(max(total/16, minIndexRoom), maxIndexRoom) }

// checkIndexRoom returns ErrFull when the index's file system has too little
// room to write to it. One that writes nothing needs none.
func (o *Owner) checkIndexRoom() error {
	if o.index != nil && o.index.IsNone() {
		return nil
	}
	dir := o.indexPath()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the index: %w", err)
	}
	d := backend.NewDir(dir)
	_, total, err := d.Space()
	if err != nil {
		return err
	}
	if err := d.CheckSpace(leastIndexRoom(total), 0); err != nil {
		return fmt.Errorf("no room for the index: %w", err)
	}
	return nil
}
