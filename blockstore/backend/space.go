package backend

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Space returns the bytes that the file system of the folder has, and those
// that are free for this user.
func (d *Dir) Space() (free, total int64, err error) {
	defer d.Call("ask for the free space of", ".")()
	var st unix.Statfs_t
	if err := unix.Statfs(d.root, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", d.root, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// Floor is the free space that a file system of total bytes keeps: 5 %, and at
// least 20 GiB where it has more than 200 GiB.
func Floor(total int64) int64 {
	const gib = 1 << 30
	floor := total / 20
	if total > 200*gib && floor < 20*gib {
		floor = 20 * gib
	}
	return floor
}

// CheckSpace returns ErrFull when less than floor bytes would be free after
// need more were written.
func (d *Dir) CheckSpace(floor, need int64) error {
	free, _, err := d.Space()
	if err != nil {
		return err
	}
	if free-need < floor {
		return fmt.Errorf("%s has %d bytes free, of which %d are kept as reserve: %w", d.root, free, floor, ErrFull)
	}
	return nil
}

// Local tells whether the folder lies on a file system of this host, where
// memory-mapped files behave.
func (d *Dir) Local() bool {
	defer d.Call("ask for the kind of", ".")()
	var st unix.Statfs_t
	if unix.Statfs(d.root, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.V9FS_MAGIC:
		return false
	}
	return true
}
