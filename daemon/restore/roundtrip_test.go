package restore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

var oddSizes = []struct{ size, block int64 }{
	{0, 65536}, {1, 65536}, {511, 16384}, {512, 65536}, {513, 65536}, {4095, 65536}, {4097, 16384},
	{65535, 65536}, {65536, 65536}, {65537, 65536}, {1<<20 - 1, 65536}, {1<<20 + 1, 16384},
	{3<<20 + 777, 65536}, {5 << 20, 1 << 20}, {7<<20 + 512, 32768}, {19<<20 + 4096, 262144},
}

func TestARawFileHoldsTheDiskByteForByte(t *testing.T) {
	t.Parallel()
	for i, c := range oddSizes {
		t.Run(fmt.Sprintf("%d in blocks of %d", c.size, c.block), func(t *testing.T) {
			d := randomDisk("vda", c.size, c.block, uint64(i))
			file := filepath.Join(t.TempDir(), "vda.raw")
			progress, whole := steady(t)
			res, err := Run(t.Context(), toFile(d, Raw, file), Options{Verify: true, Progress: progress})
			if err != nil {
				t.Fatal(err)
			}
			sameFile(t, file, d.bytes())
			wantNames(t, filepath.Dir(file), "vda.raw")
			if r := res.Disks[0]; !r.Done || !r.Verified || r.Target != file || res.damaged() {
				t.Errorf("result is %+v", r)
			}
			whole()
		})
	}
}

func TestARestoredFileIsPrivateUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 100_000, 65536, 1)
	for _, c := range []struct {
		opt  Options
		want os.FileMode
	}{{Options{}, 0o600}, {Options{Mode: 0o640}, 0o640}, {Options{Mode: 0o666}, 0o666}} {
		file := filepath.Join(t.TempDir(), "f")
		if _, err := Run(t.Context(), toFile(d, Raw, file), c.opt); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != c.want {
			t.Errorf("mode is %v, %v; want %v", info.Mode(), err, c.want)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	file := filepath.Join(t.TempDir(), "f")
	if _, err := Run(t.Context(), toFile(d, Raw, file), Options{Owner: &Owner{UID: -1, GID: 4711}, Mode: 0o440}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil || st.Uid != 0 || st.Gid != 4711 || st.Mode&0o777 != 0o440 {
		t.Errorf("owner is %d:%d, mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}

func TestHolesStayHoles(t *testing.T) {
	t.Parallel()
	d := newDisk("vda", 64<<20, 65536)
	b := make([]byte, 65536)
	b[0], b[9000] = 1, 1 // in two grains of sixteen
	d.blocks[3], d.blocks[700] = b, b
	for _, kind := range []Kind{Raw, Qcow2} {
		file := filepath.Join(t.TempDir(), "f")
		if _, err := Run(t.Context(), toFile(d, kind, file), Options{}); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil {
			t.Fatal(err)
		}
		most := int64(4 * grain)
		if kind == Qcow2 {
			most += 5 * clusterSize // header, L1, refcounts and their table, L2
		}
		if st.Blocks*512 > most {
			t.Errorf("%s: %d bytes are allocated, want at most %d", kind, st.Blocks*512, most)
		}
	}
}

func TestAQcow2FileHoldsTheDisk(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	for i, c := range oddSizes {
		t.Run(fmt.Sprintf("%d in blocks of %d", c.size, c.block), func(t *testing.T) {
			d := randomDisk("vda", c.size, c.block, uint64(i))
			folder := t.TempDir()
			raw, file := filepath.Join(folder, "vda.raw"), filepath.Join(folder, "vda.qcow2")
			progress, whole := steady(t)
			jobs := []Job{{d, Spec{Kind: Raw, Path: raw}}, {d, Spec{Kind: Qcow2, Path: file}}}
			res, err := Run(t.Context(), jobs, Options{Verify: true, Progress: progress})
			if err != nil {
				t.Fatal(err)
			}
			whole()
			sameFile(t, raw, d.bytes())
			checkQcow2(t, file)
			command(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, file)
			back := filepath.Join(folder, "back")
			command(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, back)
			r := res.Disks[1]
			sameFile(t, back, append(d.bytes(), make([]byte, r.Rounded)...))
			if r.Rounded != (512-c.size%512)%512 || (r.Rounded > 0) != (len(r.Notes) > 0) {
				t.Errorf("rounded by %d, said %q", r.Rounded, r.Notes)
			}
		})
	}
}

func checkQcow2(t *testing.T, file string) {
	t.Helper()
	if out := command(t, "qemu-img", "check", "-f", "qcow2", file); !strings.Contains(out, "No errors were found") {
		t.Errorf("qemu-img check: %s", out)
	}
}

func TestAHugeSparseDiskIsQuickAndSmall(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	const size = 6 << 40
	d := scattered(size, 500)
	folder := t.TempDir()
	raw, file := filepath.Join(folder, "vda.raw"), filepath.Join(folder, "vda.qcow2")
	jobs := []Job{{d, Spec{Kind: Raw, Path: raw}}, {d, Spec{Kind: Qcow2, Path: file}}}
	if _, err := Run(t.Context(), jobs, Options{Verify: true}); err != nil {
		t.Fatal(err)
	}
	checkQcow2(t, file)
	command(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, file)
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, d.block)
	for n, want := range d.blocks {
		if err := readFull(f, got, n*d.block); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("block %d differs, %v", n, err)
		}
	}
}

func TestSeveralDisksAreRestoredInOneRun(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var jobs []Job
	for i, name := range []string{"vda", "vdb", "vdc"} {
		jobs = append(jobs, toFile(randomDisk(name, 3<<20+int64(i), 65536, uint64(i)), Raw, filepath.Join(folder, name))...)
	}
	res, err := Run(t.Context(), jobs, Options{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := range jobs {
		sameFile(t, j.Target.Path, j.Disk.(*fakeDisk).bytes())
		if !res.Disks[i].Done || res.Disks[i].Disk.Name != j.Disk.Info().Name {
			t.Errorf("result %d is %+v", i, res.Disks[i])
		}
	}
}
