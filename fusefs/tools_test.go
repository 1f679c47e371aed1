package fusefs

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// scratch is a folder for large files, in memory where there is one.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fusefs")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestCopyToolsGetEveryByteAndKeepHoles(t *testing.T) {
	v := newFakeVault()
	d := holey(24<<20+512, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	for name, copy := range map[string]string{
		"cp":               "cp $M/web/latest/disks/vda.raw $T",
		"cp always":        "cp --sparse=always $M/web/latest/disks/vda.raw $T",
		"cp auto":          "cp --sparse=auto $M/web/latest/disks/vda.raw $T",
		"dd":               "dd if=$M/web/latest/disks/vda.raw of=$T bs=64k conv=sparse status=none",
		"dd direct":        "dd if=$M/web/latest/disks/vda.raw of=$T bs=64k iflag=direct conv=sparse status=none",
		"cat":              "cat $M/web/latest/disks/vda.raw > $T",
		"tail of the disk": "cp $M/web/latest/disks/vda.raw $T; tail -c 700 $M/web/latest/disks/vda.raw | dd of=$T bs=1 seek=$((24*1024*1024+512-700)) conv=notrunc status=none",
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(scratch(t), "copy")
			sh(t, m, "T="+to+"; "+copy)
			got, err := os.ReadFile(to)
			if err != nil || !bytes.Equal(got, d.data) {
				t.Fatalf("the copy differs (%d bytes of %d, %v)", len(got), len(d.data), err)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(to, &st); err != nil {
				t.Fatal(err)
			}
			if name != "cat" && st.Blocks*512 > d.allocated()+block {
				t.Errorf("the copy takes %d bytes, the disk %d", st.Blocks*512, d.allocated())
			}
		})
	}
}

func TestMappedDisksShowTheSameBytes(t *testing.T) {
	v := newFakeVault()
	d := holey(8<<20+100, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	// Another process: a page fault in the one that serves could wait for itself.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), mapEnv+"="+filepath.Join(m, "web/latest/disks/vda.raw"))
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, d.data) {
		t.Errorf("mapped content differs (%d bytes, %v)", len(got), err)
	}
}

func TestParallelReadersAtRandomOffsetsGetTheirBytes(t *testing.T) {
	v := newFakeVault()
	d := holey(16<<20+777, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			f, err := os.Open(filepath.Join(m, "web/latest/disks/vda.raw"))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for range 200 {
				off := r.Int64N(d.Size())
				buf := make([]byte, r.IntN(3*block)+1)
				n, _ := f.ReadAt(buf, off)
				if want := d.data[off:min(off+int64(len(buf)), d.Size())]; !bytes.Equal(buf[:n], want) {
					t.Errorf("%d bytes at %d: %d came, or others", len(buf), off, n)
					return
				}
			}
		})
	}
	readers.Wait()
}

// ext4Image makes a file system with a file in it.
func ext4Image(t *testing.T) *fakeDisk {
	t.Helper()
	needs.Tools(t, "mkfs.ext4")
	dir := scratch(t)
	sh(t, dir, `mkdir $M/d; seq 200000 > $M/d/numbers; mkfs.ext4 -q -d $M/d $M/image 32M`)
	data, err := os.ReadFile(dir + "/image")
	if err != nil {
		t.Fatal(err)
	}
	return newFakeDisk(data)
}

func TestAGuestsFileSystemMountsThroughALoopDevice(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "losetup")
	v := newFakeVault()
	v.add("web", day, ext4Image(t))
	m, s := mount(t, v, Options{})
	at := t.TempDir()
	loop := strings.TrimSpace(sh(t, m, `losetup -r -f --show $M/web/latest/disks/vda.raw`))
	defer exec.Command("losetup", "-d", loop).Run()
	sh(t, m, `mount -o ro,noload `+loop+` `+at)
	defer exec.Command("umount", at).Run()
	if got, want := sh(t, at, `cksum < $M/numbers`), sh(t, at, `seq 200000 | cksum`); got != want {
		t.Errorf("cksum %s, want %s", got, want)
	}
	if err := s.Unmount(); err == nil || !strings.Contains(err.Error(), loop) {
		t.Errorf("unmounting under a loop device says %v", err)
	}
	sh(t, m, `umount `+at+`; losetup -d `+loop)
}

func TestQemuReadsDisksAndWritesOverlaysOnThem(t *testing.T) {
	needs.Tools(t, "qemu-img")
	needs.Tools(t, "qemu-io")
	v := newFakeVault()
	d := holey(8<<20, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	to := scratch(t)
	out := sh(t, m, `T=`+to+`; D=$M/web/latest/disks/vda.raw
		qemu-img info -f raw $D
		qemu-img map -f raw --output=json $D | head -3
		qemu-img convert -f raw -O qcow2 $D $T/q; qemu-img compare -f raw -F qcow2 $D $T/q
		qemu-img create -q -f qcow2 -b $D -F raw $T/overlay
		for cache in none writeback directsync; do
			qemu-io -f qcow2 -t $cache -c 'write -P 0xaa 1M 64k' -c 'read -P 0xaa 1M 64k' -c 'read 4M 64k' $T/overlay
		done`)
	for _, want := range []string{"virtual size: 8 MiB", "Images are identical.", "wrote 65536/65536"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if !strings.Contains(out, fmt.Sprintf(`"length": %d`, 3*block)) {
		t.Errorf("qemu-img does not see the holes:\n%s", out)
	}
}

func TestTheDiskIsTheSameAfterAllOfThat(t *testing.T) {
	v := newFakeVault()
	d := holey(4<<20, 3)
	before := fnv.New64a()
	before.Write(d.data)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	sh(t, m, `! dd if=/dev/zero of=$M/web/latest/disks/vda.raw bs=4k count=1 conv=notrunc 2>/dev/null; ! truncate -s 0 $M/web/latest/disks/vda.raw 2>/dev/null; ! rm -rf $M/web 2>/dev/null`)
	after := fnv.New64a()
	after.Write([]byte(sh(t, m, `cat $M/web/latest/disks/vda.raw`)))
	if before.Sum64() != after.Sum64() {
		t.Error("a disk changed")
	}
}
