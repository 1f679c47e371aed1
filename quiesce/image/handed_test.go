package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// handed opens files by number, as whoever hands them over does.
func handed(t *testing.T, flags int, paths ...string) []*os.File {
	t.Helper()
	var files []*os.File
	for _, p := range paths {
		fd, err := unix.Open(p, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "handed over")
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

func TestAnImageThatAnotherOpenedReadsAsItIsWhateverItsNameLeadsTo(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd")
	raw := disk(t, 8<<20)
	want, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "top.qcow2")
	run(t, "qemu-img", "convert", "-O", "qcow2", raw, base)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
	chain, err := Files(Spec{Path: top, Format: "qcow2", Backing: []string{dir}})
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d files, %v", len(chain), err)
	}
	for _, f := range chain {
		defer f.Close()
	}
	specs := []Spec{
		{Path: "/etc/shadow", Files: handed(t, os.O_RDONLY, raw)},
		{Path: "/nowhere", Format: "qcow2", Files: handed(t, os.O_RDWR, base)},
		{Path: "/etc/shadow", Format: "qcow2", Files: chain},
	}
	for _, name := range []string{raw, base, top} { // nobody finds them by name
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range specs {
		i := open(t, s)
		if !bytes.Equal(copyOf(t, i), want) {
			t.Errorf("%s of format %q read wrong", s.Path, s.Format)
		}
		if err := i.Verify(); err != nil {
			t.Error(err)
		}
		i.Close()
		if _, err := s.Files[0].Stat(); err != nil {
			t.Errorf("the file was closed with the image: %v", err)
		}
	}
	if _, err := Hold(specs[0]); err == nil {
		t.Error("a file that another opened is held to be changed")
	}
}

func TestWhatIsNoImageIsNotTakenFromWhoHandsItOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, want string
		file       *os.File
	}{
		{"a folder", "a folder", handed(t, os.O_RDONLY, dir)[0]},
		{"a pipe", "a named pipe", handed(t, os.O_RDWR|unix.O_NONBLOCK, pipe)[0]},
		{"a socket", "a socket", os.NewFile(uintptr(pair[0]), "")},
		{"the other socket", "a socket", os.NewFile(uintptr(pair[1]), "")},
		{"a counter of the kernel", "", os.NewFile(uintptr(event), "")},
		{"a character device", "a character device", handed(t, os.O_RDONLY, "/dev/zero")[0]},
		{"a file of proc", "not known to hold images", handed(t, os.O_RDONLY, "/proc/self/environ")[0]},
		{"a file of sysfs", "not known to hold images", handed(t, os.O_RDONLY, "/sys/kernel/uevent_seqnum")[0]},
		{"a file that may not be read", "not opened for reading", handed(t, unix.O_PATH, image)[0]},
		{"a file that may be written to alone", "not opened for reading", handed(t, os.O_WRONLY, image)[0]},
	} {
		defer row.file.Close()
		for _, format := range []string{"", "raw", "qcow2"} {
			i, err := Open(t.Context(), Spec{Path: image, Format: format, Files: []*os.File{row.file}})
			if err == nil {
				i.Close()
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), image) {
				t.Errorf("%s, format %q: %v", row.name, format, err)
			}
		}
	}
	closed := handed(t, os.O_RDONLY, image)
	closed[0].Close()
	if _, err := Open(t.Context(), Spec{Path: image, Files: closed}); err == nil {
		t.Error("a closed file was taken")
	}
}

func TestNoHeaderOfAFileThatWasHandedOverOpensAnother(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("secret"), 10923), 0o600); err != nil {
		t.Fatal(err)
	}
	created := func(name string, options ...string) string {
		path := filepath.Join(dir, name)
		run(t, "qemu-img", append(append([]string{"create", "-q", "-u", "-f", "qcow2"}, options...), path, "64K")...)
		return path
	}
	data := filepath.Join(dir, "data.raw")
	plain := created("plain")
	for _, row := range []struct {
		name, want string
		paths      []string
	}{
		{"a backing file", "did not come with it", []string{created("a", "-b", secret, "-F", "raw")}},
		{"one of another folder", "did not come with it", []string{created("b", "-b", "/etc/shadow", "-F", "raw")}},
		{"one by a name of QEMU's", "not a path", []string{created("c", "-b", `json:{"driver":"file","filename":"/etc/shadow"}`, "-F", "raw"), secret}},
		{"one on a server", "not a path", []string{created("d", "-b", "nbd://localhost:1/x", "-F", "raw"), secret}},
		{"itself", "its own backing file", []string{created("e", "-b", "x", "-F", "qcow2"), filepath.Join(dir, "e")}},
		{"one of another format", "not read", []string{created("f", "-b", "x.vmdk", "-F", "vmdk"), secret}},
		{"the second of two", "did not come with it", []string{created("g", "-b", "h", "-F", "qcow2"), created("h", "-b", secret, "-F", "raw")}},
		{"its data elsewhere", "in another file", []string{created("i", "-o", "data_file="+data+",data_file_raw=on"), data}},
		{"nothing, with a file too many", "1 open files came", []string{plain, secret}},
	} {
		i, err := Open(t.Context(), Spec{Path: row.paths[0], Format: "qcow2", Backing: []string{"/"}, Files: handed(t, os.O_RDONLY, row.paths...)})
		if err == nil {
			i.Close()
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("an image that names %s: %v", row.name, err)
		}
	}
	if _, err := Open(t.Context(), Spec{Path: plain, Files: handed(t, os.O_RDONLY, plain)}); err == nil || !strings.Contains(err.Error(), "format=qcow2") {
		t.Errorf("a qcow2 image that nobody called so: %v", err)
	}
	if _, err := Open(t.Context(), Spec{Path: plain, Format: "raw", Files: handed(t, os.O_RDONLY, plain, secret)}); err == nil {
		t.Error("a raw image has two files")
	}
}

func TestAnImageThatWasHandedOverIsRefusedWhileItIsInUse(t *testing.T) {
	t.Parallel()
	path := disk(t, 8<<20)
	files := handed(t, os.O_RDONLY, path)
	qemu := handed(t, os.O_RDWR, path)[0] // with the lock of a QEMU that writes
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: qemuWrites, Len: 1}
	if err := unix.FcntlFlock(qemu.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Spec{Path: path, Files: files})
	inUse(t, err, "a QEMU process")
	if i := open(t, Spec{Path: path, Files: files, AllowInUse: true}); !i.InUse() {
		t.Error("it is not said to be in use")
	}
	qemu.Close()
	i := open(t, Spec{Path: path, Files: files})
	if _, err := syscall.Pwrite(int(handed(t, os.O_RDWR, path)[0].Fd()), []byte("x"), 5); err != nil {
		t.Fatal(err)
	}
	var changed *ChangedError
	if err := i.Verify(); !errors.As(err, &changed) {
		t.Errorf("it was written to meanwhile: %v", err)
	}
}

func TestADeviceThatWasHandedOverIsReadUnlessItIsUsed(t *testing.T) {
	dev := loopDevice(t, disk(t, 8<<20))
	want, err := os.ReadFile(dev)
	if err != nil {
		t.Fatal(err)
	}
	files := handed(t, os.O_RDONLY, dev)
	i := open(t, Spec{Path: "/dev/what-it-is-called", Files: files})
	if i.Format() != "block" || !bytes.Equal(copyOf(t, i), want) {
		t.Errorf("%d bytes of format %s", i.Size(), i.Format())
	}
	i.Close()
	loopDevice(t, dev)
	_, err = Open(t.Context(), Spec{Path: dev, Files: files})
	inUse(t, err, "loop device over")
}
