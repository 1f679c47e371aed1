package image

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Holds says whether path lies on the disk that the image is: whether the image, or
// one of its backing files, is the file at path, or is beneath the file
// system that path lies in, through any partitions, device-mapper, md and
// loop devices between. What it cannot see are file systems served over a
// network or by FUSE.
func Holds(s Spec, path string) (bool, error) {
	layers, err := openChain(s)
	if err != nil {
		return false, err
	}
	defer closeAll(layers)
	g := ground{layers: layers, seen: make(map[device]bool)}
	return g.under(path)
}

// ground looks for an image beneath things.
type ground struct {
	layers []layer
	seen   map[device]bool // looked at already
}

// under looks beneath the file or folder at path.
func (g *ground) under(path string) (bool, error) {
	var st unix.Statx_t
	if err := statx(path, &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	for _, l := range g.layers {
		if sameFile(&l.at, &st) {
			return true, nil
		}
	}
	on := device{st.Dev_major, st.Dev_minor}
	devs := map[device]bool{on: true}
	if on.major == 0 { // made up by the file system: its mount names a real one
		devs = sourcesOf(on)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		devs = map[device]bool{{st.Rdev_major, st.Rdev_minor}: true}
	}
	for d := range devs {
		if found, err := g.beneath(d); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// beneath looks at a block device and at what it is made of.
func (g *ground) beneath(d device) (bool, error) {
	if g.seen[d] {
		return false, nil
	}
	g.seen[d] = true
	for _, l := range g.layers {
		if l.block && l.dev == d {
			return true, nil
		}
	}
	parts, _ := filepath.Glob(d.sys() + "/slaves/*/dev")
	if exists(d.sys() + "/partition") {
		parts = append(parts, d.sys()+"/../dev")
	}
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			return false, fmt.Errorf("look beneath device %s: %w", d, err)
		}
		if dev, ok := parseDevice(string(b)); ok {
			if found, err := g.beneath(dev); found || err != nil {
				return found, err
			}
		}
	}
	backing, err := os.ReadFile(d.sys() + "/loop/backing_file")
	if err != nil {
		return false, nil // no loop device
	}
	return g.under(strings.TrimSuffix(string(backing), "\n"))
}

// sourcesOf returns the block devices of a mounted file system that shows a
// made-up number, as btrfs does.
func sourcesOf(on device) map[device]bool {
	devs := make(map[device]bool)
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return devs
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m, ok := parseMount(lines.Text())
		if !ok || m.dev != on || !strings.HasPrefix(m.source, "/dev/") {
			continue
		}
		if d, block, err := blockNumber(m.source); err == nil && block {
			devs[d] = true
			addPool(devs, d)
		}
	}
	return devs
}

// addPool adds the other members of the btrfs file system that d belongs to.
func addPool(devs map[device]bool, d device) {
	pools, _ := filepath.Glob("/sys/fs/btrfs/*/devices")
	for _, pool := range pools {
		members := make(map[device]bool)
		files, _ := filepath.Glob(pool + "/*/dev")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				if m, ok := parseDevice(string(b)); ok {
					members[m] = true
				}
			}
		}
		if members[d] {
			for m := range members {
				devs[m] = true
			}
		}
	}
}
