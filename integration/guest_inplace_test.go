package integration

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
)

// TestAGuestBootsFromDisksThatWereTakenBackInPlace runs a real guest, pulls its plug, backs it up, lets it
// run on, takes it back in place, and lets it run once more.
func TestAGuestBootsFromDisksThatWereTakenBackInPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest three times")
	}
	need(t, "qemu-img", "qemu-nbd", "e2fsck", "debugfs")
	v := newVault(t)
	vm := guest.Start(t, guest.Options{})
	written := waitWriter(t, vm, 0)
	vm.Kill()
	disks := []string{"--disk", "vda=" + vm.Root + ",format=qcow2", "--disk", "vdb=" + vm.Data}
	v.must(0, append([]string{"backup", "guest", "--min-free=none"}, disks...)...)
	was, data := examineCopy(t, vm), hashFile(t, vm.Data)

	again := guest.Start(t, guest.Options{Root: vm.Root, Data: vm.Data})
	waitWriter(t, again, written)
	v.must(5, "restore", "guest@latest", "--in-place", "--yes", "--min-free=none") // it runs
	again.Kill()
	if hashFile(t, vm.Data) == data {
		t.Fatal("the guest wrote nothing on")
	}
	v.must(0, "restore", "guest@latest", "--in-place", "--yes", "--min-free=none", "--verify")
	if now := examineCopy(t, vm); now != was || hashFile(t, vm.Data) != data {
		t.Errorf("after the restore the last record is %d, it was %d", now, was)
	}
	back := guest.Start(t, guest.Options{Root: vm.Root, Data: vm.Data})
	back.WaitAgent(t)
	back.Kill()
}

// waitWriter waits until the guest's writer has written some records more than there were, and returns
// how long its journal is.
func waitWriter(t *testing.T, vm *guest.VM, before int) int {
	t.Helper()
	vm.WaitAgent(t)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		out := vm.Exec(t, "cat /data/journal.b 2>/dev/null | wc -c")
		if n, err := strconv.Atoi(strings.TrimSpace(out)); err == nil && n > before+10*128 {
			return n
		}
	}
	t.Fatal("the guest's writer does not write")
	return 0
}

// examineCopy examines copies of both disks: what it finds, it also repairs.
func examineCopy(t *testing.T, vm *guest.VM) uint64 {
	t.Helper()
	root, data := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "data")
	tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", vm.Root, root)
	tool(t, "cp", "--sparse=always", vm.Data, data)
	return guest.Examine(t, root, data)
}
