package blockstore

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/blockstore/index"
)

// reserveFile is space that the vault has set aside, so that it can be swept
// when its file system is full to the last byte. Only an owner that makes room
// gives it up. Its content means nothing.
const reserveFile = "reserve"

const (
	maxReserve = 64 << 20
	// crumbs are left free when a reserve is made of what is left.
	crumbs = 256 << 10
	// indexRoom is the free space below which an owner that makes room leaves
	// the index alone: its files are mapped, and a write to one that the disk has no
	// room for ends the process.
	indexRoom = 256 << 20
)

// reserveSize is what a vault sets aside on a file system of total bytes: room
// for a pack that is rewritten, a segment, and the small records of forgetting.
func reserveSize(total int64) int64 { return min(total/64, maxReserve) }

// keepReserve sets the reserve aside if it is not there and there is room for
// it above the floor. Who wants no floor wants no reserve.
func (o *Owner) keepReserve() error {
	free, total, err := o.dir.Space()
	if err != nil {
		return err
	}
	if _, err := o.dir.Size(reserveFile); !isNotExist(err) {
		return err
	}
	size := reserveSize(total)
	if o.opts.MinFree < 0 || free < 2*size || o.checkSpace(size) != nil {
		return nil
	}
	return o.dir.Allocate(reserveFile, size)
}

// giveUpReserve makes the reserve free space, if less than it is free.
func (o *Owner) giveUpReserve() error {
	free, total, err := o.dir.Space()
	if err != nil || free >= reserveSize(total) {
		return err
	}
	had, err := o.dir.Size(reserveFile)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	o.spent = o.spent || had > 0
	return o.dir.Remove(reserveFile)
}

// restoreReserve sets aside again what giveUpReserve made free, or what is
// left of it: somebody else fills the disk.
func (o *Owner) restoreReserve() error {
	if !o.spent {
		return o.keepReserve()
	}
	free, total, err := o.dir.Space()
	if err != nil {
		return err
	}
	size := min(reserveSize(total), free-crumbs)
	if size <= 0 {
		return nil
	}
	err = o.dir.Allocate(reserveFile, size)
	if errors.Is(err, os.ErrExist) || errors.Is(err, ErrFull) {
		return nil
	}
	return err
}

// spaceToOpen returns ErrFull when less than the floor is free, and makes room
// for an owner that makes room.
func (o *Owner) spaceToOpen() error {
	if o.opts.Reclaim {
		return o.giveUpReserve()
	}
	if err := o.checkSpace(0); err != nil {
		return err
	}
	return o.checkIndexRoom()
}

// openIndexIfSafe opens the index, and for an owner that only makes room none
// where there is too little of it. The next owner enters what changed.
func (o *Owner) openIndexIfSafe(rebuild bool) error {
	if o.opts.Reclaim && o.dir.Local() { // one elsewhere fills another file system
		free, _, err := o.dir.Space()
		if err != nil {
			return err
		}
		if free < indexRoom+indexBytes(o.indexPath())/4 {
			o.index, o.noIndex = index.None(), true
			return nil
		}
	}
	return o.openIndex(rebuild)
}

// indexBytes adds up the files of the index; those that cannot be seen count
// nothing.
func indexBytes(dir string) (sum int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if st, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
			sum += st.Size()
		}
	}
	return sum
}
