package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

var _ blockstore.Source = (*Image)(nil)

// open opens an image for the test's duration.
func open(t *testing.T, s Spec) *Image {
	t.Helper()
	i, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

// copyOf reads an image as a backup does: data extents only, several at once.
func copyOf(t *testing.T, i *Image) []byte {
	t.Helper()
	whole := bytes.Repeat([]byte{0xee}, int(i.Size()))
	var wg sync.WaitGroup
	at := int64(0)
	err := i.Extents(t.Context(), func(e blockstore.Extent) error {
		if e.Offset != at || e.Length <= 0 || e.End() > i.Size() {
			t.Fatalf("extent %+v where %d was due", e, at)
		}
		at = e.End()
		part := whole[e.Offset:e.End()]
		if e.Kind == blockstore.Zero {
			clear(part)
			return nil
		}
		wg.Go(func() {
			if n, err := i.ReadAt(part, e.Offset); n != len(part) || err != nil {
				t.Errorf("%d of %d bytes at %d: %v", n, len(part), e.Offset, err)
			}
		})
		return nil
	})
	wg.Wait()
	if err != nil || at != i.Size() {
		t.Fatalf("extents end at %d of %d: %v", at, i.Size(), err)
	}
	return whole
}

// disk makes a raw image with some data, holes between, and an odd size.
func disk(t testing.TB, size int64) string {
	t.Helper()
	path := sparse(t, "disk.raw", size)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8(sha256.Sum256([]byte(path[len(path)-8:])))
	for _, at := range []int64{0, 1 << 20, 5<<20 + 4096, size - 100} {
		b := make([]byte, min(300<<10, size-at))
		random.Read(b)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestRawFilesReadAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{16 << 20, 16<<20 + 1, 6<<20 + 511} {
		path := disk(t, size)
		i := open(t, Spec{Path: path})
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i.Format() != "raw" || i.Size() != size || !bytes.Equal(copyOf(t, i), want) {
			t.Errorf("%d bytes of format %s read wrong", i.Size(), i.Format())
		}
		if n, err := i.ReadAt(make([]byte, 10), size-3); n != 3 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if err := i.Verify(); err != nil {
			t.Error(err)
		}
	}
}

func TestEmptyAndHugeImagesOpen(t *testing.T) {
	t.Parallel()
	i := open(t, Spec{Path: sparse(t, "empty", 0)})
	if got := copyOf(t, i); len(got) != 0 {
		t.Errorf("%d bytes in an empty file", len(got))
	}
	const huge = 6 << 40
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-test-") // some file systems end before
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	raw, qcow := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	if err := os.WriteFile(raw, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(raw, huge); err != nil {
		needs.Missing(t, "no huge sparse files: %v", err)
	}
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-io")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", qcow, "6T")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 7 5T 64k", qcow)
	for path, format := range map[string]string{raw: "", qcow: "qcow2"} {
		i := open(t, Spec{Path: path, Format: format})
		var data, extents int64
		err := i.Extents(t.Context(), func(e blockstore.Extent) error {
			if extents++; e.Kind == blockstore.Data {
				data += e.Length
			}
			return nil
		})
		if err != nil || i.Size() != huge || data > 64<<10 || data == 0 || extents > 3 {
			t.Errorf("%s: size %d, %d bytes of data in %d extents, %v", path, i.Size(), data, extents, err)
		}
	}
}

func TestQcow2ReadsAsQemuImgConvertsIt(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-io")
	raw := disk(t, 12<<20)
	want, _ := os.ReadFile(raw)
	for name, options := range map[string][]string{
		"plain": nil, "compressed": {"-c"}, "old": {"-o", "compat=0.10"}, "small clusters": {"-o", "cluster_size=512"}, "extended": {"-o", "extended_l2=on,cluster_size=128k"}, "zstd": {"-c", "-o", "compression_type=zstd"},
	} {
		path := filepath.Join(t.TempDir(), "a, strange = name")
		run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, options...), raw, path)...)
		i := open(t, Spec{Path: path, Format: "qcow2"})
		if i.Format() != "qcow2" || !bytes.Equal(copyOf(t, i), want) {
			t.Errorf("%s image reads wrong", name)
		}
		if err := i.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnImageThatWasNotClosedCleanlyIsRead(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-io")
	path := filepath.Join(t.TempDir(), "q")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "8M")
	run(t, "sh", "-c", `qemu-io -f qcow2 -c 'write -P 5 1M 1M' -c abort "$1" 2>/dev/null; true`, "sh", path)
	before, err := os.ReadFile(path)
	if err != nil || before[79]&1 == 0 {
		t.Fatalf("the image is not marked as dirty: %v", err)
	}
	i := open(t, Spec{Path: path, Format: "qcow2"})
	want := make([]byte, 8<<20)
	copy(want[1<<20:], bytes.Repeat([]byte{5}, 1<<20))
	if !bytes.Equal(copyOf(t, i), want) {
		t.Error("reads wrong")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("reading changed the image: %v", err)
	}
}

func TestLinkedClonesReadThroughTheirChain(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd", "qemu-io")
	base := disk(t, 8<<20)
	folder := t.TempDir()
	middle, top := filepath.Join(folder, "middle"), filepath.Join(folder, "top")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", middle, "8M")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 1 1M 2M", "-c", "write -z 5M 1M", middle)
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", top, "10M")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 2 2M 64k", "-c", "write -P 3 9M 64k", top)
	flat := filepath.Join(folder, "flat")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, flat)
	want, err := os.ReadFile(flat)
	if err != nil {
		t.Fatal(err)
	}
	i := open(t, Spec{Path: top, Format: "qcow2", Backing: []string{folder, filepath.Dir(base)}})
	if !bytes.Equal(copyOf(t, i), want) {
		t.Error("linked clone reads wrong")
	}
	time.Sleep(2 * settled)
	before := open(t, Spec{Path: top, Format: "qcow2", Backing: []string{folder, filepath.Dir(base)}}).Identity()
	if before == "" || before != open(t, Spec{Path: top, Format: "qcow2", Backing: []string{folder, filepath.Dir(base)}}).Identity() {
		t.Errorf("identity of a chain at rest: %q", before)
	}
	if f, err := os.OpenFile(base, os.O_WRONLY, 0); err == nil {
		f.WriteAt([]byte("x"), 7<<20)
		f.Close()
	}
	time.Sleep(2 * settled)
	var changed *ChangedError
	if err := i.Verify(); !errors.As(err, &changed) || changed.Path != base {
		t.Errorf("a backing file that was written to: %v", err)
	}
	if after := open(t, Spec{Path: top, Format: "qcow2", Backing: []string{folder, filepath.Dir(base)}}).Identity(); after == before || after == "" {
		t.Errorf("identity of a chain whose base changed: %q, before %q", after, before)
	}

	for want, folders := range map[string][]string{
		"lies outside the folders":            {folder},
		"is not followed":                     nil,
		"folder of backing files /nonexisten": {"/nonexistent"},
	} {
		if _, err := Open(t.Context(), Spec{Path: top, Format: "qcow2", Backing: folders}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("backing=%v: %v", folders, err)
		}
	}
}

func TestBlockDevicesReadAsTheyAre(t *testing.T) {
	path := disk(t, 8<<20)
	want, _ := os.ReadFile(path)
	dev := loopDevice(t, path)
	i := open(t, Spec{Path: dev})
	l, p := i.SectorSizes()
	if i.Format() != "block" || i.Identity() != "" || l != 512 || p < 512 || !bytes.Equal(copyOf(t, i), want) {
		t.Errorf("block device of format %s, identity %q reads wrong", i.Format(), i.Identity())
	}
	if err := i.Verify(); err != nil {
		t.Error(err)
	}
	fd, err := unix.Open(dev, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Pwrite(fd, []byte("x"), 4096)
	unix.Fsync(fd)
	var changed *ChangedError
	if err := i.Verify(); !errors.As(err, &changed) {
		t.Errorf("a device that was written to by one who left no trace among processes: %v", err)
	}
	var used *InUseError
	if _, err := Open(t.Context(), Spec{Path: dev}); !errors.As(err, &used) {
		t.Errorf("a claimed device: %v", err)
	}
}

func TestAQcow2ImageOnABlockDeviceIsRead(t *testing.T) {
	needs.Tools(t, "qemu-img", "qemu-nbd")
	raw, path := disk(t, 8<<20), filepath.Join(t.TempDir(), "q")
	want, _ := os.ReadFile(raw)
	run(t, "qemu-img", "convert", "-O", "qcow2", "-f", "raw", raw, path)
	i := open(t, Spec{Path: loopDevice(t, path), Format: "qcow2"})
	if err := i.Verify(); err != nil || !bytes.Equal(copyOf(t, i), want) {
		t.Errorf("reads wrong, or %v", err)
	}
	if err := i.Verify(); err != nil {
		t.Error(err)
	}
	i.Close()
}

func TestWhatIsNoImageIsRefusedWithAReason(t *testing.T) {
	folder := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe, socket := filepath.Join(folder, "pipe"), filepath.Join(folder, "socket")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(socket, unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, format, want string }{
		{folder, "", "a folder"},
		{pipe, "", "a named pipe"},
		{socket, "", "a socket"},
		{"/dev/null", "", "a character device"},
		{folder + "/nothing", "", "no such file"},
		{put("a", "QFI\xfb\x00\x00\x00\x03"), "", "add format=qcow2, or format=raw"},
		{put("b", "KDMV...."), "", "vmdk is not read, convert"},
		{put("c", "# Disk DescriptorFile\nversion=1"), "", "vmdk"},
		{put("d", strings.Repeat("<", 64)+"\x7f\x10\xda\xbe"), "", "vdi is not read"},
		{put("e", "vhdxfile"), "", "vhdx is not read"},
		{put("f", "plain"), "qcow2", "not a qcow2 image"},
		{put("g", "plain"), "vmdk", `format "vmdk" is not read`},
	} {
		i, err := Open(t.Context(), Spec{Path: c.path, Format: c.format})
		if err == nil {
			i.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %q: %v, want %q", c.path, c.format, err, c.want)
		}
	}
	i := open(t, Spec{Path: filepath.Join(folder, "a"), Format: "raw"})
	if got := copyOf(t, i); string(got[:4]) != "QFI\xfb" {
		t.Errorf("insisting on raw: %q", got)
	}
}

func TestAFileThatShrinksIsAnErrorNeverZeros(t *testing.T) {
	path := disk(t, 8<<20)
	i := open(t, Spec{Path: path})
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if n, err := i.ReadAt(make([]byte, 1<<20), 5<<20); err == nil || err == io.EOF || n != 0 {
		t.Errorf("read %d bytes that are gone, %v", n, err)
	}
	if n, err := i.ReadAt(make([]byte, 1<<20), 2<<20-10); err == nil || err == io.EOF || n != 10 {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := i.Extents(t.Context(), func(blockstore.Extent) error { return nil }); err == nil {
		t.Error("extents of what is gone")
	}
	for _, allowed := range []bool{false, true} {
		i.spec.AllowInUse = allowed
		var changed *ChangedError
		if err := i.Verify(); !errors.As(err, &changed) {
			t.Errorf("allowed in use %v: %v", allowed, err)
		}
	}
}
