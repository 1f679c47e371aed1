package procs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Writes tells whether a process has the file at path open for writing, so that what it
// claims of the file is true of it. A file that only we may write to is none of its.
func Writes(pid int, path string) bool {
	var want unix.Stat_t
	if unix.Stat(path, &want) != nil {
		return false
	}
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	names, err := os.ReadDir(filepath.Join(folder, "fd"))
	if err != nil {
		return false
	}
	for _, n := range names {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(folder, "fd", n.Name()), &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino && writable(filepath.Join(folder, "fdinfo", n.Name())) {
			return true
		}
	}
	return false
}

// OpenFile finds the file that a process was told to open by a name relative to a folder that it
// has left since: the one file that it holds open whose path ends so. Where there is none, or
// several, ok is false. An address of a network disk is the path of no open file.
func OpenFile(pid int, name string) (path string, ok bool) {
	name = filepath.Clean(name)
	if pid <= 0 || name == "." || filepath.IsAbs(name) || strings.HasPrefix(name, "..") {
		return "", false
	}
	folder := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	open, err := os.ReadDir(folder)
	if err != nil {
		return "", false
	}
	for _, n := range open {
		link := filepath.Join(folder, n.Name())
		to, err := os.Readlink(link)
		if err != nil || !strings.HasSuffix(to, "/"+name) || to == path || !same(link, to) {
			continue
		}
		if path != "" {
			return "", false
		}
		path = to
	}
	return path, path != ""
}

// same tells whether two names are of one file: what a link of /proc says may be that of another
// by now, or be of a file system that is not seen from here.
func same(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

func writable(fdinfo string) bool {
	b, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if octal, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(octal), 8, 64)
			return err == nil && flags&(unix.O_WRONLY|unix.O_RDWR) != 0
		}
	}
	return false
}

// ErrNoTPM reports that no swtpm answers at a socket, or none that says where its state lies.
var ErrNoTPM = errors.New("the process that is the TPM was not found")

// TPM is a swtpm process.
type TPM struct {
	Folder string // of its state
	UID    uint32 // whose files these are
}

// FindTPM finds the swtpm behind a socket.
func FindTPM(socket string) (TPM, error) { return findTPM("/proc", socket) }

func findTPM(proc, socket string) (TPM, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return TPM{}, err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		folder := filepath.Join(proc, e.Name())
		b, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		args := splitArgs(b)
		if err != nil || len(args) == 0 || filepath.Base(args[0]) != "swtpm" {
			continue
		}
		var st unix.Stat_t
		if state, at := tpmOptions(args); at == socket && filepath.IsAbs(state) && unix.Stat(folder, &st) == nil {
			return TPM{state, st.Uid}, nil
		}
	}
	return TPM{}, fmt.Errorf("TPM at %s: %w", socket, ErrNoTPM)
}

// tpmOptions reads --tpmstate dir=FOLDER and --ctrl type=unixio,path=SOCKET.
func tpmOptions(args []string) (state, socket string) {
	for i, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if (a == "--tpmstate" || a == "--ctrl") && i+1 < len(args) {
			name, value, ok = a, args[i+1], true
		}
		switch o := parseOptions(value); {
		case !ok:
		case name == "--tpmstate":
			state = o["dir"]
		case name == "--ctrl":
			socket = o["path"]
		}
	}
	return state, socket
}
