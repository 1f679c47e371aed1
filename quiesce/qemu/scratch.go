package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ScratchOptions say where what the guest overwrites is kept while a snapshot is
// read. The zero value is what is usual.
type ScratchOptions struct {
	Folder   string // empty: DefaultScratch. QEMU's user must be able to enter it
	Cap      int64  // bytes that all runs together may use in it; 0: no cap
	LowWater int64  // bytes that stay free on its file system; 0: 5 % of it, but 1 GiB at least and 20 GiB at most
}

// DefaultScratch is where scratch files lie unless told otherwise. SELinux's usual policy lets
// machines of libvirt write below /var/lib/libvirt/qemu. Under AppArmor each of them has a profile that
// names its files: there,
// /etc/apparmor.d/local/abstractions/libvirt-qemu must say
//
//	owner /var/lib/libvirt/qemu/holdfast/vm-*/ r,
//	owner /var/lib/libvirt/qemu/holdfast/vm-*/** rwk,
//
// A QEMU that was started without libvirt has no profile unless somebody made one.
const DefaultScratch = "/var/lib/libvirt/qemu/holdfast"

// ErrScratch is wrapped where a snapshot had to end because its scratch files found too
// little space, or would have.
var ErrScratch = errors.New("too little space for what the guest overwrites during a backup")

func (o *ScratchOptions) folder() string {
	if o.Folder == "" {
		return DefaultScratch
	}
	return o.Folder
}

// enough looks at the space that is left. mine is this run's folder.
func (o *ScratchOptions) enough(mine string) error {
	var f unix.Statfs_t
	if err := unix.Statfs(o.folder(), &f); err != nil {
		return fmt.Errorf("look at the space in %s: %w", o.folder(), err)
	}
	free, all := int64(f.Bavail)*f.Bsize, int64(f.Blocks)*f.Bsize
	low := o.LowWater
	if low == 0 {
		low = min(max(all/20, 1<<30), 20<<30)
	}
	if free < low {
		return fmt.Errorf("%w: %s has %d MiB free, and %d MiB must stay so; give the option for another folder, or for a lower mark",
			ErrScratch, o.folder(), free>>20, low>>20)
	}
	if o.Cap <= 0 {
		return nil
	}
	sum, largest := o.usage()
	if sum >= o.Cap && (largest == mine || folderBytes(mine) == 0) {
		return fmt.Errorf("%w: the files in %s take %d MiB, and all runs together may use %d MiB", ErrScratch, o.folder(), sum>>20, o.Cap>>20)
	}
	return nil
}

// usage is what all runs use, and the folder of the live one that uses most.
func (o *ScratchOptions) usage() (sum int64, largest string) {
	most := int64(-1)
	for _, path := range runFolders(o.folder()) {
		n := folderBytes(path)
		sum += n
		if n > most && locked(path+lockSuffix) {
			most, largest = n, path
		}
	}
	return sum, largest
}

// runFolders lists the folders of runs, live and dead.
func runFolders(folder string) []string {
	found, _ := filepath.Glob(filepath.Join(folder, "vm-????????????"))
	return found
}

// folderBytes is the space that the files in a folder take on disk.
func folderBytes(path string) int64 {
	entries, _ := os.ReadDir(path)
	sum := int64(0)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "disk-") {
			continue // shown by QEMU, takes none
		}
		if i, err := e.Info(); err == nil {
			if s, ok := i.Sys().(*syscall.Stat_t); ok {
				sum += s.Blocks * 512
			}
		}
	}
	return sum
}

// locked tells whether a run holds a lock.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// sweepFolder removes what runs left behind whose QEMU has ended since, on whatever
// machine. What cannot be told or removed stays.
func sweepFolder(folder string) {
	for _, path := range runFolders(folder) {
		lock, err := takeLock(path + lockSuffix)
		if err != nil {
			continue
		}
		r := &run{lock: lock, path: path}
		text, _ := os.ReadFile(path + lockSuffix)
		var o owner
		if json.Unmarshal(text, &o) != nil || o.PID <= 0 || o.Boot == bootID() && startOf(o.PID) == o.Start {
			lock.Close() // its QEMU may still use the files
			continue
		}
		removeRunFolder(path) // what cannot be removed stays for the next
		r.end()
	}
}

// makeFolder makes the run's folder for QEMU's user.
func (r *run) makeFolder(p process) error {
	err := os.Mkdir(r.path, 0o700)
	if err == nil {
		err = giveTo(r.path, p)
	}
	if err != nil {
		return fmt.Errorf("make a folder for scratch files: %w", err)
	}
	return nil
}

// makeFile makes a file in the run's folder that QEMU can open. fill writes what is in it; nil:
// it is empty.
func (r *run) makeFile(path string, p process, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("make scratch file: %w", err)
	}
	defer f.Close()
	if fill != nil {
		if err := fill(f); err != nil {
			return fmt.Errorf("make scratch file: %w", err)
		}
	}
	if p.uid >= 0 && (p.uid != os.Geteuid() || p.gid != os.Getegid()) {
		if err := f.Chown(p.uid, p.gid); err != nil {
			return fmt.Errorf("give scratch file to the user of QEMU (%d): %w", p.uid, err)
		}
	}
	return nil
}

func giveTo(path string, p process) error {
	if p.uid < 0 || p.uid == os.Geteuid() && p.gid == os.Getegid() {
		return nil
	}
	if err := os.Lchown(path, p.uid, p.gid); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("QEMU runs as user %d, and only root can give it a folder: %w", p.uid, err)
		}
		return err
	}
	return nil
}
