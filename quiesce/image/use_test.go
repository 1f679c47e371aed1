package image

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// machine starts a QEMU that has the image open, halted before its first
// instruction, and ends it with the returned function.
func machine(t *testing.T, drive string) (stop func()) {
	t.Helper()
	needs.Tools(t, "qemu-system-x86_64")
	monitor := filepath.Join(t.TempDir(), "m")
	cmd := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-S", "-m", "32", "-nodefaults", "-display", "none",
		"-qmp", "unix:"+monitor+",server=on,wait=off", "-drive", drive+",if=virtio")
	var said tail
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() { cmd.Process.Kill(); <-ended; ended <- nil }
	t.Cleanup(stop)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); { // it opens its disks before it greets
		if greets(monitor) {
			return stop
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the machine did not start: %v, %s", err, said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatal("the machine did not start in time")
	return nil
}

// greets says whether QEMU's monitor does.
func greets(monitor string) bool {
	conn, err := net.Dial("unix", monitor)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	return err == nil
}

func inUse(t *testing.T, err error, want string) {
	t.Helper()
	var used *InUseError
	if !errors.As(err, &used) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// eventually waits until QEMU has taken its locks.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestAnImageOfARunningMachineIsRefused(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-system-x86_64")
	raw := disk(t, 8<<20)
	qcow := filepath.Join(t.TempDir(), "q")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow)
	for path, format := range map[string]string{raw: "raw", qcow: "qcow2"} {
		stop := machine(t, "format="+format+",file="+path)
		spec := Spec{Path: path, Format: format}
		eventually(t, "the image is in use", func() bool {
			i, err := Open(t.Context(), spec)
			if err == nil {
				i.Close()
			}
			return err != nil
		})
		_, err := Open(t.Context(), spec)
		inUse(t, err, "qemu-system-x86 (pid ")
		inUse(t, err, "--allow-in-use")

		spec.AllowInUse = true
		i := open(t, spec)
		if err := i.Verify(); err != nil || !i.InUse() || i.Identity() != "" || i.Size() != 8<<20 {
			t.Errorf("allowed in use: %v, in use %v, identity %q, size %d", err, i.InUse(), i.Identity(), i.Size())
		}
		i.Close()
		stop()
		spec.AllowInUse = false
		open(t, spec)
	}
}

func TestAMachineThatOnlyReadsIsNoWriter(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-system-x86_64")
	base := disk(t, 8<<20)
	top := filepath.Join(t.TempDir(), "top")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top)
	machine(t, "format=qcow2,file="+top)
	eventually(t, "the overlay is in use", func() bool {
		i, err := Open(t.Context(), Spec{Path: top, Format: "qcow2", Backing: []string{filepath.Dir(base)}})
		if err == nil {
			i.Close()
		}
		return err != nil
	})
	i := open(t, Spec{Path: base})
	if err := i.Verify(); err != nil || i.InUse() {
		t.Errorf("the base of a running clone: %v", err)
	}
}

func TestAMachineStartsWhileItsImageIsReadAndTheWatchSeesIt(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-system-x86_64")
	raw := disk(t, 8<<20)
	qcow := filepath.Join(t.TempDir(), "q")
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow)
	for path, format := range map[string]string{raw: "raw", qcow: "qcow2"} {
		i := open(t, Spec{Path: path, Format: format})
		if _, err := i.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Error(err)
		}
		seen := make(chan error, 1)
		go func() { seen <- i.Watch(t.Context()) }()
		machine(t, "format="+format+",file="+path) // fails the test if our reading keeps it from starting
		select {
		case err := <-seen:
			inUse(t, err, "came into use while it was read")
		case <-time.After(time.Minute):
			t.Errorf("%s: nobody noticed", format)
		}
		inUse(t, i.Verify(), "came into use")
	}
}

func TestTheWatchSeesAnyWriter(t *testing.T) {
	t.Parallel()
	path := disk(t, 8<<20)
	time.Sleep(2 * settled)
	i := open(t, Spec{Path: path})
	seen := make(chan error, 1)
	go func() { seen <- i.Watch(t.Context()) }()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 1); err != nil {
		t.Fatal(err)
	}
	var changed *ChangedError
	if err := <-seen; !errors.As(err, &changed) {
		t.Errorf("watch ended with %v", err)
	}
	lenient := open(t, Spec{Path: path, AllowInUse: true})
	if lenient.InUse() {
		t.Error("in use although nobody uses it")
	}
	if _, err := f.WriteAt([]byte("y"), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "noticed", func() bool {
		f.WriteAt([]byte("z"), 1)
		return lenient.Verify() == nil && lenient.InUse()
	})
}

func TestAFileUnderALoopDeviceIsInUse(t *testing.T) {
	path := disk(t, 8<<20)
	dev := loopDevice(t, path)
	_, err := Open(t.Context(), Spec{Path: path})
	inUse(t, err, "loop device over "+path)
	i := open(t, Spec{Path: dev}) // and the device itself is not
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "60")
	sleep.Stdin = f
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	inUse(t, i.Watch(t.Context()), "sleep (pid ")
	sleep.Process.Kill()
	sleep.Wait()
	if err := i.Extents(t.Context(), func(blockstore.Extent) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestAPathOnTheDiskThatIsBackedUpIsFound(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "losetup", "mkfs.ext4", "mount", "umount")
	file := sparse(t, "disk", 32<<20)
	other := sparse(t, "other", 1<<20)
	dev := loopDevice(t, file)
	run(t, "mkfs.ext4", "-q", dev)
	point := t.TempDir()
	run(t, "mount", dev, point)
	defer run(t, "umount", point)
	vault := filepath.Join(point, "vault")
	if err := os.Mkdir(vault, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		image, path string
		want        bool
	}{
		{dev, vault, true}, {file, vault, true}, {file, file, true},
		{other, vault, false}, {dev, other, false}, {dev, "/proc", false},
	} {
		got, err := Holds(Spec{Path: c.image}, c.path)
		if err != nil || got != c.want {
			t.Errorf("%s holds %s: %v, %v", c.image, c.path, got, err)
		}
	}
	if _, err := Holds(Spec{Path: dev}, "/nonexistent"); err == nil {
		t.Error("holds a path that does not exist")
	}
}
