package libvirt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// folder is the place of a domain's scratch files, below the folder for all of them. It is
// locked while a run works on the domain.
type folder struct {
	path    string
	options qemu.ScratchOptions
	lock    *os.File

	uid, gid int // of QEMU
}

const longSocket = 107 // bytes, the most that a socket's address holds

func scratchFolder(o qemu.ScratchOptions) string {
	if o.Folder == "" {
		return Folder
	}
	return o.Folder
}

// openFolder makes a domain's folder, or takes over one that a run that died has
// left, and locks it. uid is QEMU's user, who puts its socket there.
func openFolder(o qemu.ScratchOptions, uuid string, uid, gid int) (*folder, error) {
	parent := scratchFolder(o)
	if !filepath.IsAbs(parent) {
		return nil, fmt.Errorf("folder for scratch files %q: not a whole path", parent)
	}
	// QEMU's user must get through, and see no names.
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, fmt.Errorf("folder for scratch files: %w", err)
	}
	f := &folder{path: filepath.Join(parent, ourPrefix+uuid), options: o, uid: uid, gid: gid}
	for range 10 {
		err := f.take()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a run that ended has removed it meanwhile
		}
		if err == nil {
			err = os.Chown(f.path, uid, gid)
		}
		if err != nil {
			f.unlock()
			return nil, err
		}
		return f, nil
	}
	return nil, fmt.Errorf("folder for scratch files %s vanishes again and again", f.path)
}

func (f *folder) take() error {
	if err := os.Mkdir(f.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	lock, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return qemu.ErrBusy
		}
		return fmt.Errorf("lock %s: %w", f.path, err)
	}
	f.lock = lock
	mine, err := lock.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(f.path); err == nil && !os.SameFile(mine, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		f.unlock()
	}
	return err
}

func (f *folder) unlock() {
	if f.lock != nil {
		f.lock.Close()
		f.lock = nil
	}
}

// file is the path of a file of ours in the folder.
func (f *folder) file(name string) string { return filepath.Join(f.path, ourPrefix+name) }

// clear removes all files of ours.
func (f *folder) clear() ([]Leftover, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	var gone []Leftover
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ourPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(f.path, e.Name())); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, Leftover{Kind: "scratch", Name: filepath.Join(f.path, e.Name())})
	}
	return gone, errors.Join(errs...)
}

// close removes the folder with all that is in it, and the lock.
func (f *folder) close() error {
	_, err := f.clear()
	if err == nil {
		err = os.Remove(f.path)
	}
	f.unlock()
	return err
}

// room is how many bytes may still be written; it is negative when it is high
// time to stop.
func (f *folder) room() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(f.path, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", f.path, err)
	}
	low := f.options.LowWater
	if low <= 0 {
		low = min(max(int64(st.Blocks)*st.Bsize/20, 1<<30), 20<<30)
	}
	room := int64(st.Bavail)*st.Bsize - low
	if f.options.Cap > 0 {
		room = min(room, f.options.Cap-used(filepath.Dir(f.path)))
	}
	return room, nil
}

// check is an error when scratch files have come to their limit.
func (f *folder) check() error {
	room, err := f.room()
	if err != nil || room >= 0 {
		return err
	}
	return fmt.Errorf("%w: %s is %d MiB over what it may use", ErrScratch, filepath.Dir(f.path), -room>>20)
}

// used sums what the scratch files of all runs take.
func used(parent string) (total int64) {
	filepath.WalkDir(parent, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), "disk-") {
			return nil // what vanished takes nothing; a disk that QEMU shows is none of ours
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512
			}
		}
		return nil
	})
	return total
}
