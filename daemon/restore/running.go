package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// qemuWrites is the byte that QEMU locks in an image which it may write to, see
// QEMU's block/file-posix.c.
const qemuWrites = 101

// refuseRunning refuses to replace an image that a machine runs from or a loop
// device shows: they would go on with the old file, which nobody could find any more. What
// does not exist or is no regular file is nobody's image.
func refuseRunning(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("look whether a machine runs from %s: %w", path, err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: qemuWrites, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return nil // a file system without locks: QEMU has none there either
	}
	if lock.Type != unix.F_UNLCK {
		return &InUseError{Path: path, Cause: "is being written by a running QEMU: shut the machine down first, or restore to another name"}
	}
	loops, err := image.LoopUsers(path)
	if err != nil {
		return fmt.Errorf("look whether %s is in use: %w", path, err)
	}
	if len(loops) > 0 {
		return &InUseError{Path: path, Cause: fmt.Sprintf("is in use (%s): free it first (losetup -d /dev/%s), or restore to another name", listed(loops), loops[0].Command)}
	}
	return nil
}
