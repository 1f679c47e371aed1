package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func sparse(t testing.TB, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func users(t *testing.T, path string) string {
	t.Helper()
	users, err := DeviceUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, u := range users {
		all = append(all, u.String())
	}
	return strings.Join(all, "; ")
}

func TestWhoeverUsesADeviceIsNamed(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "losetup", "mkfs.ext4", "mount", "umount")
	dev := loopDevice(t, sparse(t, "disk", 32<<20))
	if got := users(t, dev); got != "" {
		t.Fatalf("an idle device is used by %s", got)
	}

	ours, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := DeviceSize(ours); err != nil || size != 32<<20 {
		t.Errorf("size %d, %v", size, err)
	}
	if l, p, err := SectorSizes(ours); err != nil || l != 512 || p < 512 {
		t.Errorf("sectors %d, %d, %v", l, p, err)
	}
	if got := users(t, dev); got != "" {
		t.Errorf("we count as a user of our own: %s", got)
	}
	ours.Close()

	// Another process, and a node of another name.
	node := filepath.Join(t.TempDir(), "innocent")
	var st unix.Stat_t
	if err := unix.Stat(dev, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
		t.Skipf("no node of another name: %v", err)
	}
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		needs.Missing(t, "nodes cannot be opened in the test's folder: %v", err)
	}
	sleep := exec.Command("sleep", "60")
	sleep.ExtraFiles = []*os.File{f}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := users(t, dev); !strings.HasPrefix(got, "sleep (pid ") || !strings.HasSuffix(got, "open for writing") {
		t.Errorf("a process with the device open: %q", got)
	}
	sleep.Process.Kill()
	sleep.Wait()

	run(t, "mkfs.ext4", "-q", dev)
	point := filepath.Join(t.TempDir(), "a mount point")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", dev, point)
	for _, path := range []string{dev, node} {
		if got := users(t, path); !strings.Contains(got, "mounted on "+point) {
			t.Errorf("a mounted device %s: %q", path, got)
		}
	}
	run(t, "umount", point)

	fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_EXCL, 0) // as the kernel's own users do
	if err != nil {
		t.Fatal(err)
	}
	if got := users(t, dev); !strings.Contains(got, "held exclusively") {
		t.Errorf("a device that is claimed: %q", got)
	}
	unix.Close(fd)

	loopDevice(t, dev)
	if got := users(t, dev); !strings.Contains(got, "loop device over "+dev) {
		t.Errorf("a device under a loop device: %q", got)
	}
}

func TestUsersOfAPartitionUseTheWholeDevice(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "losetup", "partx")
	file := sparse(t, "disk", 64<<20)
	table := make([]byte, 512) // one partition of type Linux, from sector 2048, 32768 long
	copy(table[446:], []byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x80, 0, 0})
	table[510], table[511] = 0x55, 0xaa
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(table, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	dev := loopDevice(t, file)
	if out, err := exec.Command("partx", "-a", dev).CombinedOutput(); err != nil {
		needs.Missing(t, "no partitions on loop devices: %v", string(out))
	}
	t.Cleanup(func() { exec.Command("partx", "-d", dev).Run() })
	b, err := os.ReadFile("/sys/class/block/" + filepath.Base(dev) + "p1/dev")
	if err != nil {
		needs.Missing(t, "no partitions on loop devices: %v", err)
	}
	d, _ := parseDevice(string(b))
	folder := t.TempDir()
	part := filepath.Join(folder, "p1")
	if err := unix.Mknod(part, unix.S_IFBLK|0o600, int(unix.Mkdev(d.major, d.minor))); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(part, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := users(t, dev); got == "" {
		t.Error("the whole device is not used although a partition is")
	}
	unix.Close(fd)
	if devs := overlapping(d); len(devs) != 2 {
		t.Errorf("a partition overlaps with %v", devs)
	}
}

func TestOnlyBlockDevicesHaveUsers(t *testing.T) {
	for _, path := range []string{"/dev/null", t.TempDir(), "/nonexistent"} {
		if users, err := DeviceUsers(path); err == nil {
			t.Errorf("%s: %v", path, users)
		}
	}
}

func TestMountTablesAreReadAsTheyAreWritten(t *testing.T) {
	m, ok := parseMount(`36 35 98:1 /mnt1 /mnt/a\040b rw,noatime master:1 - ext3 /dev/ro\134ot rw,errors=continue`)
	if want := (mount{device{98, 1}, "/mnt/a b", `/dev/ro\ot`}); !ok || m != want {
		t.Errorf("%+v, want %+v", m, want)
	}
	for _, bad := range []string{"", "1 2 3", "36 35 98 / /x rw - ext3 /dev/root", "36 35 98:1 / /x rw"} {
		if m, ok := parseMount(bad); ok {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}
