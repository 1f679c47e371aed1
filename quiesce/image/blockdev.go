package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User is something that uses a block device.
type User struct {
	PID     int    // of the process; 0 for the kernel
	Command string // name of the process, or the part of the kernel that holds the device
	How     string // for example "mounted on /srv" or "open for writing"
}

func (u User) String() string {
	if u.PID == 0 {
		return u.Command + ": " + u.How
	}
	return fmt.Sprintf("%s (pid %d): %s", u.Command, u.PID, u.How)
}

// DeviceUsers says who uses the block device that path leads to, whatever the
// name of its node: processes other than ours that have it open, file systems
// mounted from it in any mount namespace, swap, device-mapper, md and loop
// devices on top of it. The users of its partitions, and of the whole device
// where path is a partition, are its users as well.
//
// Where the open files of some process cannot be seen, the users found are
// returned together with an error: nobody should take that for "not in use".
// Other hosts that share the device are never seen.
func DeviceUsers(path string) ([]User, error) {
	users, err := deviceUsers(path)
	if err != nil || len(users) > 0 {
		return users, err
	}
	return claimed(path)
}

// deviceUsers is DeviceUsers without the attempt to claim the device, which
// disturbs others when it is repeated.
func deviceUsers(path string) ([]User, error) {
	dev, err := deviceOf(path)
	if err != nil {
		return nil, err
	}
	users, err := usersOf(dev)
	if err != nil {
		err = fmt.Errorf("look for users of %s: %w", path, err)
	}
	return users, err
}

func usersOf(dev device) ([]User, error) {
	devs := overlapping(dev)
	var users []User
	users = append(users, holders(devs)...)
	users = append(users, loops(devs)...)
	users = append(users, swaps(devs)...)
	users = append(users, poolMembers(devs)...)
	processes, err := processUsers(devs)
	return append(users, processes...), err
}

// claimed asks the kernel whether anything in it (a file system of any kind,
// a storage target) holds the device for itself alone.
func claimed(path string) ([]User, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
		return nil, unix.Close(fd)
	case errors.Is(err, unix.EBUSY):
		return []User{{Command: "kernel", How: "held exclusively, for example by a file system, swap or a storage target"}}, nil
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOMEDIUM):
		return nil, nil // no device behind the node: nobody uses it, and opening it says so
	}
	return nil, &fs.PathError{Op: "open device", Path: path, Err: err}
}

// device is the number of a block device.
type device struct{ major, minor uint32 }

func (d device) String() string { return fmt.Sprintf("%d:%d", d.major, d.minor) }

// sys is the device's folder in sysfs.
func (d device) sys() string { return "/sys/dev/block/" + d.String() }

// deviceOf returns the number of the block device that path leads to.
func deviceOf(path string) (device, error) {
	dev, ok, err := blockNumber(path)
	if err != nil {
		return device{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if !ok {
		return device{}, fmt.Errorf("%s is not a block device", path)
	}
	return dev, nil
}

// blockNumber says whether path leads to a block device, and to which.
func blockNumber(path string) (device, bool, error) {
	var st unix.Statx_t
	if err := statx(path, &st); err != nil {
		return device{}, false, err
	}
	return device{st.Rdev_major, st.Rdev_minor}, st.Mode&unix.S_IFMT == unix.S_IFBLK, nil
}

// statx asks what a path leads to, without waiting for the server of a network
// file system that may be gone.
func statx(path string, st *unix.Statx_t) error {
	return unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, st)
}

func sameFile(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor
}

// written is how many sectors the kernel has written to and discarded on the
// device since it appeared; 0 where it does not count. See
// https://www.kernel.org/doc/Documentation/block/stat.rst.
func (d device) written() uint64 {
	b, err := os.ReadFile(d.sys() + "/stat")
	if err != nil {
		return 0
	}
	var sum uint64
	fields := strings.Fields(string(b))
	for _, i := range []int{6, 13} {
		if i < len(fields) {
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			sum += n
		}
	}
	return sum
}

// parseDevice reads "major:minor".
func parseDevice(s string) (device, bool) {
	var d device
	if n, err := fmt.Sscanf(strings.TrimSpace(s), "%d:%d", &d.major, &d.minor); n != 2 || err != nil {
		return device{}, false
	}
	return d, true
}

// overlapping returns d, its partitions, and the whole device if d is a
// partition: the devices that share bytes with d.
func overlapping(d device) map[device]bool {
	devs := map[device]bool{d: true}
	add := func(folder string) {
		if b, err := os.ReadFile(folder + "/dev"); err == nil {
			if dev, ok := parseDevice(string(b)); ok {
				devs[dev] = true
			}
		}
	}
	if exists(d.sys() + "/partition") {
		add(d.sys() + "/..")
		return devs
	}
	entries, err := os.ReadDir(d.sys() + "/")
	if err != nil {
		return devs
	}
	for _, e := range entries {
		if e.IsDir() && exists(d.sys()+"/"+e.Name()+"/partition") {
			add(d.sys() + "/" + e.Name())
		}
	}
	return devs
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// DeviceSize is the size in bytes of the open block device f.
func DeviceSize(f *os.File) (int64, error) {
	var n uint64
	err := control(f, func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return 0, &fs.PathError{Op: "size of device", Path: f.Name(), Err: err}
	}
	if n > 1<<62 {
		return 0, &fs.PathError{Op: "size of device", Path: f.Name(), Err: unix.EFBIG}
	}
	return int64(n), nil
}

// SectorSizes are the logical and physical sector sizes in bytes of the open
// block device f.
func SectorSizes(f *os.File) (logical, physical int, err error) {
	var l, p uint32
	err = control(f, func(fd int) error {
		if l, err = unix.IoctlGetUint32(fd, unix.BLKSSZGET); err != nil {
			return err
		}
		p, err = unix.IoctlGetUint32(fd, unix.BLKPBSZGET)
		return err
	})
	if err != nil {
		return 0, 0, &fs.PathError{Op: "sector sizes of device", Path: f.Name(), Err: err}
	}
	return int(l), int(p), nil
}

// control runs fn on the descriptor of f.
func control(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
