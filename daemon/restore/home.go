package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkHome refuses a folder in which no file or folder can or should be made.
func checkHome(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s (%w): make it first (mkdir -p %s)", folder, unix.ENOENT, folder)
	case err != nil:
		return &os.PathError{Op: "look at folder", Path: folder, Err: errors.Unwrap(err)}
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", folder)
	}
	return refuseDevices(folder)
}

// refuseDevices refuses a folder of device nodes, which lies in memory: a file
// there is what becomes of a device's name that is written wrongly.
func refuseDevices(folder string) error {
	path, err := resolved(folder)
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	if path != "/dev" && !strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path+"/", "/dev/shm/") {
		return nil
	}
	var dev, at unix.Stat_t
	if err := unix.Stat("/dev", &dev); err != nil {
		return &os.PathError{Op: "look at", Path: "/dev", Err: err}
	}
	if err := unix.Stat(path, &at); err != nil {
		return &os.PathError{Op: "look at folder", Path: path, Err: err}
	}
	if at.Dev != dev.Dev {
		return nil // another file system, mounted below it
	}
	return fmt.Errorf("there is no such device (%w), and a file in %s would lie in memory: `lsblk -p` lists the devices of this host", fs.ErrNotExist, folder)
}
