package restore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatAKilledRestoreLeftIsRemovedByTheNextToThatName(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	put := func(name string) *os.File {
		f, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	put(".vda.raw.holdfast-0123456789ab")
	put(".vda.raw.holdfast-notes")
	put(".vdb.raw.holdfast-0123456789ab")
	alive := put(".vda.raw.holdfast-ba9876543210")
	if err := unix.Flock(int(alive.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	d := randomDisk("vda", 1<<20, 65536, 1)
	res, err := Run(t.Context(), toFile(d, Raw, filepath.Join(folder, "vda.raw")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := res.Disks[0].Notes; len(n) != 1 || !strings.Contains(n[0], ".vda.raw.holdfast-0123456789ab, left by") {
		t.Errorf("notes are %q", n)
	}
	wantNames(t, folder, ".vda.raw.holdfast-ba9876543210", ".vda.raw.holdfast-notes", ".vdb.raw.holdfast-0123456789ab", "vda.raw")
}

func TestAFolderThatAKilledRestoreLeftIsRemovedByTheNext(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, ".web1.holdfast-123456", "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := pointOf(1)
	f.Path = filepath.Join(folder, "web1")
	res, err := Folder(t.Context(), f, Options{})
	if err != nil || !strings.Contains(strings.Join(res.Disks[0].Notes, "\n"), ".web1.holdfast-123456, left by") {
		t.Errorf("result %+v, %v", res, err)
	}
	wantNames(t, folder, "web1")
}

func TestARestoreAtWorkIsNotTakenForALeftover(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	final := filepath.Join(folder, "vda.raw")
	at, err := createTemp(final, 1<<20, fileOptions{mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if notes := sweepLeftovers(final); len(notes) > 0 {
		t.Errorf("swept: %q", notes)
	}
	if err := at.Commit(); err != nil {
		t.Error(err)
	}
	wantNames(t, folder, "vda.raw")
}

func TestNoFileIsMadeAmongDevices(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 1<<20, 65536, 1)
	for _, path := range []string{"/dev/holdfast-no-such-device", "/dev/../dev/holdfast-no-such-device"} {
		_, err := Run(t.Context(), toFile(d, Raw, path), Options{Force: true})
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no such device") {
			t.Errorf("%s: error is %v", path, err)
		}
	}
	f := pointOf(1)
	f.Path = "/dev/holdfast-no-such-folder/"
	if _, err := Folder(t.Context(), f, Options{}); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat("/dev/holdfast-no-such-device"); err == nil {
		os.Remove("/dev/holdfast-no-such-device")
		t.Error("it was made")
	}
}

func TestAFileThatALoopDeviceShowsIsNotReplacedEvenWithForce(t *testing.T) {
	_, backing, old := loopDevice(t, 1<<20)
	d := randomDisk("vda", 1<<20, 65536, 1)
	_, err := Run(t.Context(), toFile(d, Raw, backing), Options{Force: true})
	var busy *InUseError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), "losetup -d") {
		t.Errorf("error is %v", err)
	}
	sameFile(t, backing, old)
}
