package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestARestoreThatIsRefusedSaysWhatWouldDo(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	o := y.must(exitUsage, "restore", "web1@latest", "--to", "-")
	o.says(t, "--disk vda, or restore all to a folder: --to /vms/restored/")
	if strings.Contains(o.err, "--to /\n") {
		t.Errorf("the root folder is recommended: %s", o.err)
	}
	y.must(exitUsage, "restore", "web1@latest", "--disk", "vda", "--to", y.path("sdz"), "--device").says(t, "there is no device "+y.path("sdz"))
	y.must(exitNotFound, "restore", "web1@latest", "--to", y.path("a/b/c")+"/").says(t, "mkdir -p "+y.path("a/b"))
	y.must(exitNotFound, "restore", "web1@latest", "--disk", "vda", "--to", y.path("a/b/c")).says(t, "mkdir -p "+y.path("a/b"))
	y.must(exitNotFound, "restore", "web1@latest", "--disk", "vda", "--to", "/dev/holdfast-no-such-device").says(t, "lsblk -p")
	y.must(exitUsage, "restore", "web1@latest", "--disk", "vda", "--to", "-", "--format", "qcow2").says(t, "which is raw")
	y.must(exitNotFound, "restore", "web1@1999", "--to", "x").says(t, "a time in UTC")
}

func TestTheNameOfAFileSaysItsFormat(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for name, want := range map[string]string{
		"e.qcow2": "(qcow2, ", "e.QCOW2": "(qcow2, ", "e.img": "(raw, ", "e": "(raw, ",
	} {
		y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path(name)).says(t, want)
	}
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("r.qcow2"), "--format", "raw").says(t, "(raw, ")
	y.holds("r.qcow2", y.vda[1])
	o := y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", "-", "--format", "raw", "--quiet")
	if o.out != string(y.vda[1]) {
		t.Error("standard output differs from what was backed up")
	}
}

func TestATargetInUseIsBusy(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.write("vm.raw", []byte("old"))
	f, err := os.OpenFile(y.path("vm.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The byte that QEMU locks in what it writes to.
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 101, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Skipf("no locks here: %v", err)
	}
	y.must(exitBusy, "restore", "web1@latest", "--disk", "vda", "--to", y.path("vm.raw"), "--force").says(t, "running QEMU")
	y.holds("vm.raw", []byte("old"))
}

func TestAPointOfAnImageInUseIsListedAsThat(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	f, err := os.OpenFile(y.path("vda.img"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 101, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Skipf("no locks here: %v", err)
	}
	y.must(exitWarnings, "backup", "web1", "--min-free=none", "--disk", "vda="+y.path("vda.img"), "--allow-in-use").says(t, "), crash (in use)\n")
	if n := strings.Count(y.must(exitDone, "points").out, "crash (in use)"); n != 1 {
		t.Errorf("%d points are marked as in use", n)
	}
}

func TestAFaultOfAWholePointSaysSo(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"all of it":                  place("", 0, 0),
		"disk vda, all of it":        place("vda", 0, 0),
		"disk vda, offset 5, 1 byte": place("vda", 5, 1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
