package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// refuseVaultDevice refuses a device that the vault lies on, be it through
// partitions, device-mapper or md.
func refuseVaultDevice(device, vault string) error {
	var d, v unix.Stat_t
	if err := unix.Stat(device, &d); err != nil {
		return &os.PathError{Op: "stat", Path: device, Err: err}
	}
	if err := unix.Stat(vault, &v); err != nil {
		return &os.PathError{Op: "look where the vault lies", Path: vault, Err: err}
	}
	if liesOn("/sys/dev/block", number(v.Dev), number(d.Rdev), 0) {
		return fmt.Errorf("device %s holds the vault %s that is restored from", device, vault)
	}
	return nil
}

func number(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

// liesOn tells whether device upper is device lower or built on it. sys is the
// folder that lists block devices by number, see sysfs(5).
func liesOn(sys, upper, lower string, depth int) bool {
	if upper == lower {
		return true
	}
	if depth > 16 { // deeper than any real stack
		return false
	}
	folder, err := filepath.EvalSymlinks(filepath.Join(sys, upper))
	if err != nil {
		return false // not a block device: a network file system, or one in memory
	}
	var below []string
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		below = append(below, filepath.Dir(folder))
	}
	slaves, _ := filepath.Glob(filepath.Join(folder, "slaves", "*"))
	for _, b := range append(below, slaves...) {
		dev, err := os.ReadFile(filepath.Join(b, "dev"))
		if err == nil && liesOn(sys, strings.TrimSpace(string(dev)), lower, depth+1) {
			return true
		}
	}
	return false
}
