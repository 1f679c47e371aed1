package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holders are the device-mapper and md devices on top of devs.
func holders(devs map[device]bool) []User {
	var users []User
	for d := range devs {
		entries, err := os.ReadDir(d.sys() + "/holders")
		if err != nil {
			continue
		}
		for _, e := range entries {
			how := "has it as a part"
			if name, err := os.ReadFile(d.sys() + "/holders/" + e.Name() + "/dm/name"); err == nil {
				how += " (" + strings.TrimSpace(string(name)) + ")"
			}
			users = append(users, User{Command: e.Name(), How: how})
		}
	}
	return users
}

// loops are the loop devices whose backing is one of devs.
func loops(devs map[device]bool) []User {
	return loopsOver(func(st *unix.Statx_t) bool {
		return st.Mode&unix.S_IFMT == unix.S_IFBLK && devs[device{st.Rdev_major, st.Rdev_minor}]
	})
}

// LoopUsers says which loop devices, also read-only ones, show the file at path.
func LoopUsers(path string) ([]User, error) {
	var at unix.Statx_t
	if err := statx(path, &at); err != nil {
		return nil, &fs.PathError{Op: "look at", Path: path, Err: err}
	}
	return loopsOver(func(st *unix.Statx_t) bool { return sameFile(st, &at) }), nil
}

// loopsOver finds the loop devices whose backing match knows. The backing is
// asked from sysfs, so that no loop device is opened.
func loopsOver(match func(*unix.Statx_t) bool) []User {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var users []User
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		backing := strings.TrimSuffix(string(b), "\n")
		var st unix.Statx_t
		if statx(backing, &st) != nil || !match(&st) {
			continue
		}
		loop := strings.Split(f, "/")[3]
		how := "loop device over " + backing
		if ro, err := os.ReadFile("/sys/block/" + loop + "/ro"); err == nil && strings.TrimSpace(string(ro)) == "1" {
			how = readOnlyLoop + backing
		}
		users = append(users, User{Command: loop, How: how})
	}
	return users
}

const readOnlyLoop = "read-only loop device over "

// swaps says whether the kernel swaps to one of devs.
func swaps(devs map[device]bool) []User {
	b, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return nil
	}
	var users []User
	for line := range strings.Lines(string(b)) {
		path, _, _ := strings.Cut(line, " ")
		path, _, _ = strings.Cut(path, "\t")
		if d, ok, err := blockNumber(unescape(path)); err == nil && ok && devs[d] {
			users = append(users, User{Command: "kernel", How: "swap on " + unescape(path)})
		}
	}
	return users
}

// poolMembers finds devices of mounted btrfs file systems, of which
// the mount table names only one.
func poolMembers(devs map[device]bool) []User {
	files, _ := filepath.Glob("/sys/fs/btrfs/*/devices/*/dev")
	var users []User
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if d, ok := parseDevice(string(b)); ok && devs[d] {
			users = append(users, User{Command: "kernel", How: "part of the mounted btrfs " + strings.Split(f, "/")[4]})
		}
	}
	return users
}

// processUsers finds open descriptors in all processes but ours, and mounts in
// all mount namespaces.
func processUsers(devs map[device]bool) ([]User, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var users []User
	hidden := 0
	namespaces := make(map[string]bool)
	mounted := make(map[string]bool) // How of mounts seen: the same mount shows in several namespaces
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		proc := "/proc/" + e.Name()
		ns, err := os.Readlink(proc + "/ns/mnt")
		if err != nil || !namespaces[ns] {
			namespaces[ns] = err == nil
			users = append(users, mountUsers(proc+"/mountinfo", devs, mounted)...)
		}
		if pid == os.Getpid() {
			continue
		}
		how, err := openIn(proc, func(st *unix.Statx_t) bool {
			return st.Mode&unix.S_IFMT == unix.S_IFBLK && devs[device{st.Rdev_major, st.Rdev_minor}]
		})
		if errors.Is(err, fs.ErrPermission) {
			hidden++
		}
		if how != "" {
			users = append(users, User{PID: pid, Command: commandOf(proc), How: how})
		}
	}
	if hidden > 0 {
		return users, fmt.Errorf("the open files of %d processes cannot be seen: run this as root", hidden)
	}
	return users, nil
}

// openIn says how the process has a file open that match knows, "" when it has
// none. A process that has ended has nothing open.
func openIn(proc string, match func(*unix.Statx_t) bool) (string, error) {
	folder, err := os.Open(proc + "/fd")
	if err != nil {
		return "", err
	}
	defer folder.Close()
	how := ""
	for {
		names, err := folder.Readdirnames(256)
		for _, name := range names {
			var st unix.Statx_t
			if statx(proc+"/fd/"+name, &st) != nil || !match(&st) {
				continue
			}
			if openForWriting(proc + "/fdinfo/" + name) {
				return forWriting, nil
			}
			how = "open for reading"
		}
		if err != nil || len(names) == 0 {
			return how, nil
		}
	}
}

const forWriting = "open for writing"

// openForWriting reads the access mode out of a descriptor's fdinfo.
func openForWriting(fdinfo string) bool {
	b, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if octal, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(octal), 8, 64)
			return err == nil && flags&uint64(os.O_WRONLY|os.O_RDWR) != 0
		}
	}
	return false
}

// fileUsers finds the processes other than ours that have a regular file open
// for writing, as far as they can be seen.
func fileUsers(want *unix.Statx_t) []User {
	return slices.DeleteFunc(openers(want), func(u User) bool { return u.How != forWriting })
}

// openers finds the processes other than ours that have a regular file open,
// as far as they can be seen.
func openers(want *unix.Statx_t) []User {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var users []User
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		proc := "/proc/" + e.Name()
		how, _ := openIn(proc, func(st *unix.Statx_t) bool { return sameFile(st, want) })
		if how != "" {
			users = append(users, User{PID: pid, Command: commandOf(proc), How: how})
		}
	}
	return users
}

func commandOf(proc string) string {
	b, err := os.ReadFile(proc + "/comm")
	if err != nil {
		return "a process"
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(b)), "?")
}
