package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// run is one run's hold on a machine: a lock in the scratch folder, and a folder in it
// for scratch files and sockets, which belongs to QEMU's user. The kernel lets go of the lock
// when we die; the folder is removed by the next run.
type run struct {
	lock *os.File
	qemu *os.File // of the process, locked; nil where it cannot be
	path string   // of the folder; it need not exist
}

const lockSuffix = ".lock"

// owner is what a lock file says, so that a run of another machine can tell that nobody
// needs the folder any more.
type owner struct {
	Name  string `json:"machine"`
	PID   int    `json:"qemuPid"`     // 0: not known
	Start string `json:"qemuStart"`   // of that process, as the kernel tells it
	Boot  string `json:"bootID"`      // in which it runs
	Ours  int    `json:"holdfastPid"` // of the run
}

// begin takes the lock of a machine.
func (m *Machine) begin(ctx context.Context, o ScratchOptions) (*run, error) {
	vm, err := m.VM(ctx)
	if err != nil {
		return nil, err
	}
	folder := o.folder()
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	key := runKey(vm)
	lock, err := waitForLock(ctx, filepath.Join(folder, key+lockSuffix))
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", vm.Name, err)
	}
	r := &run{lock: lock, path: filepath.Join(folder, key)}
	if r.qemu, err = lockProcess(ctx, m.process.pid); err != nil {
		return nil, errors.Join(fmt.Errorf("machine %q: %w, with another scratch folder than %s", vm.Name, err, folder), r.end())
	}
	if err := r.note(vm); err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

// runKey is the same for all runs on one machine, as far as QEMU lets it be told
// from others on this host.
func runKey(vm VM) string {
	id := vm.UUID + "\x00" + vm.Name
	if vm.UUID == "" {
		id = fmt.Sprintf("%s\x00%d", vm.Name, vm.PID)
	}
	sum := sha256.Sum256([]byte(id))
	return "vm-" + hex.EncodeToString(sum[:6])
}

// waitForLock gives those a moment who only look whether a run is alive.
func waitForLock(ctx context.Context, path string) (f *os.File, err error) {
	for range 20 {
		if f, err = takeLock(path); !errors.Is(err, ErrBusy) {
			return f, err
		}
		if ended := pause(ctx, 25*time.Millisecond); ended != nil {
			return nil, ended
		}
	}
	return nil, err
}

// takeLock makes and locks a file. Its owner may have removed it between our open and
// our lock: then another try meets the new one, or makes it.
func takeLock(path string) (*os.File, error) {
	for range 10 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock scratch folder: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			said, _ := os.ReadFile(path)
			f.Close()
			var o owner
			if errors.Is(err, unix.EWOULDBLOCK) && json.Unmarshal(said, &o) == nil {
				return nil, fmt.Errorf("%w: process %d (%s)", ErrBusy, o.Ours, path)
			}
			return nil, fmt.Errorf("%w: %s: %w", ErrBusy, path, err)
		}
		if sameFile(f, path) {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("%w: %s comes and goes", ErrBusy, path)
}

func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

func (r *run) note(vm VM) error {
	text, err := json.Marshal(owner{Name: vm.Name, PID: vm.PID, Start: startOf(vm.PID), Boot: bootID(), Ours: os.Getpid()})
	if err == nil {
		err = r.lock.Truncate(0)
	}
	if err == nil {
		_, err = r.lock.WriteAt(text, 0)
	}
	if err != nil {
		return fmt.Errorf("lock scratch folder: %w", err)
	}
	return nil
}

// end lets go of the machine. Where the folder is still there, something of the run may be
// left in QEMU: then the lock's file stays beside it, and says which QEMU that is.
func (r *run) end() error {
	var err error
	if _, gone := os.Lstat(r.path); errors.Is(gone, fs.ErrNotExist) {
		if err = os.Remove(r.lock.Name()); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if r.qemu != nil {
		r.qemu.Close()
	}
	return errors.Join(err, r.lock.Close())
}

func (r *run) socket() string { return filepath.Join(r.path, "nbd") }

// removeRunFolder removes a run's folder. Files that QEMU showed there through FUSE
// and that outlived it are unmounted first.
func removeRunFolder(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove scratch files: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "disk-") {
			unix.Unmount(filepath.Join(path, e.Name()), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // mostly there is nothing mounted
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove scratch files: %w", err)
	}
	return nil
}

// startOf tells a process from a later one with its number.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || pid <= 0 {
		return ""
	}
	_, rest, _ := cutLast(string(stat), ")")
	if f := strings.Fields(rest); len(f) > 19 {
		return f[19]
	}
	return ""
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
