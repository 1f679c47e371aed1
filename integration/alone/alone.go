// Package alone gives tests mounts that nobody else has copies of.
//
// A mount namespace that anybody makes (unshare, a service manager, a container) begins
// with a copy of all mounts of its maker. As long as such a copy of a mount of
// ours lives, the file system behind it does, whoever has unmounted it here: it
// keeps its loop device, and writes to its disk when it likes. Nobody makes namespaces
// of a process that has one of its own.
package alone

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// env is set in a process whose mounts are its own.
const env = "HOLDFAST_ALONE"

// Start starts this process again, with its arguments, in a mount namespace of its own. It
// returns where that is done already, where nothing can be mounted anyway for lack of root,
// and with an error where it cannot be done.
func Start() error {
	if os.Getuid() != 0 || os.Getenv(env) != "" {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := letGo(); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), env+"=1"))
}

// letGo drops our copies of what other tests may have mounted, so that they
// are not held up in turn.
func letGo() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	for line := range bytes.Lines(info) {
		fields := strings.Fields(string(line))
		at, what := fields[4], string(line)
		if i := strings.Index(what, " - "); i < 0 || !strings.HasPrefix(what[i:], " - fuse") && !strings.Contains(what[i:], " /dev/loop") {
			continue
		}
		if within(cwd, at) || within(os.TempDir(), at) {
			continue
		}
		unix.Unmount(at, unix.MNT_DETACH) // one that is gone by now is as well
	}
	return nil
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}
