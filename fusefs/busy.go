package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BusyError reports a mount that cannot be taken down because somebody uses it.
type BusyError struct {
	Mountpoint string
	Users      []string // "cp (pid 71): open file disks/vda.raw"; empty where nobody could be found
}

func (e *BusyError) Error() string {
	if len(e.Users) == 0 {
		return fmt.Sprintf("mount %s is in use, by whom cannot be seen (root sees more)", e.Mountpoint)
	}
	return fmt.Sprintf("mount %s is in use by %s", e.Mountpoint, strings.Join(e.Users, "; "))
}

// maxUsers bounds how many users an error names.
const maxUsers = 8

// Users finds who keeps path, a mount, busy: processes other than this one, by their
// working and root folder, program, open files and mappings; loop devices; mounts
// inside it. It reads links and lists of the kernel only and never follows one,
// so it cannot come to wait for the mount itself.
func Users(path string) []string {
	found := append(mountUsers(path), loopUsers(path)...)
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		if len(found) >= maxUsers {
			return append(found[:maxUsers], "others")
		}
		pid := filepath.Base(proc)
		if pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		if use := processUse(proc, path); use != "" {
			name, _ := os.ReadFile(proc + "/comm")
			found = append(found, fmt.Sprintf("%s (pid %s): %s", strings.TrimSpace(string(name)), pid, use))
		}
	}
	return found
}

// processUse says how a process uses path, "" if it does not.
func processUse(proc, path string) string {
	for link, what := range map[string]string{"cwd": "working folder", "root": "root folder", "exe": "program"} {
		if target, err := os.Readlink(proc + "/" + link); err == nil && within(target, path) {
			return what + inside(target, path)
		}
	}
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		if target, err := os.Readlink(proc + "/fd/" + fd.Name()); err == nil && within(target, path) {
			return "open file" + inside(target, path)
		}
	}
	maps, _ := os.ReadFile(proc + "/maps")
	for line := range strings.Lines(string(maps)) {
		if i := strings.Index(line, " "+path+"/"); i >= 0 {
			return "mapped file" + inside(strings.TrimSpace(line[i:]), path)
		}
	}
	return ""
}

// inside is what of target lies below path, for reading aloud.
func inside(target, path string) string {
	if rel := strings.TrimPrefix(target[len(path):], "/"); rel != "" {
		return " " + rel
	}
	return ""
}

func loopUsers(path string) []string {
	var found []string
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range backing {
		target, err := os.ReadFile(file)
		if name := strings.TrimSpace(string(target)); err == nil && within(name, path) {
			device := strings.Split(file, "/")[3]
			found = append(found, fmt.Sprintf("/dev/%s (losetup -d /dev/%s frees it):%s", device, device, inside(name, path)))
		}
	}
	return found
}

func mountUsers(path string) []string {
	all, _ := mounts()
	var found []string
	for _, m := range slices.Backward(all) {
		if m.path != path && within(m.path, path) {
			found = append(found, fmt.Sprintf("a mount of %s at%s", m.source, inside(m.path, path)))
		}
	}
	return found
}
