package procs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Process is a QEMU process that runs a machine.
type Process struct {
	PID    int
	Args   []string // its command line, the program first
	Folder string   // that it runs in; "" where that is not known
	Machine
}

// maxCommandLine is how much of a command line is read, in bytes. The kernel allows
// 128 KiB for one argument, and 6 MiB for all in its default setting.
const maxCommandLine = 8 << 20

// List returns the QEMU processes of this host that can be seen, by number. Those that
// end meanwhile are left out.
func List() ([]Process, error) { return listIn("/proc") }

func listIn(proc string) ([]Process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("look for QEMU processes: %w", err)
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 0 {
			continue
		}
		p, err := getIn(proc, pid)
		if err == nil {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q Process) int { return p.PID - q.PID })
	return all, nil
}

// ErrNotQEMU reports a process that is none of QEMU's, or has ended.
var ErrNotQEMU = errors.New("no QEMU process")

// Get reads the command line of one process.
func Get(pid int) (Process, error) { return getIn("/proc", pid) }

func getIn(proc string, pid int) (Process, error) {
	folder := filepath.Join(proc, strconv.Itoa(pid))
	f, err := os.Open(filepath.Join(folder, "cmdline"))
	if errors.Is(err, fs.ErrNotExist) {
		return Process{}, fmt.Errorf("process %d: %w", pid, ErrNotQEMU)
	}
	if err != nil {
		return Process{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCommandLine+1))
	if err != nil || len(b) > maxCommandLine {
		return Process{}, errors.Join(err, fmt.Errorf("process %d: its command line cannot be read", pid))
	}
	args := splitArgs(b)
	if !isQEMU(folder, args) {
		return Process{}, fmt.Errorf("process %d: %w", pid, ErrNotQEMU)
	}
	cwd, _ := os.Readlink(filepath.Join(folder, "cwd")) // "" where we may not know
	return Process{PID: pid, Args: args, Folder: cwd, Machine: Parse(args, cwd)}, nil
}

// splitArgs takes the kernel's form of a command line apart.
func splitArgs(b []byte) []string {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// isQEMU goes by the program that the process runs or, where we may not know that, by
// what it calls itself.
func isQEMU(folder string, args []string) bool {
	if len(args) == 0 {
		return false
	}
	name := filepath.Base(args[0])
	if exe, err := os.Readlink(filepath.Join(folder, "exe")); err == nil {
		name = filepath.Base(strings.TrimSuffix(exe, " (deleted)")) // replaced by an upgrade
	}
	return strings.HasPrefix(name, "qemu-system-") || name == "qemu-kvm" || name == "kvm"
}
