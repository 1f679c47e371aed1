package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// loopDevice makes a loop device full of random bytes.
func loopDevice(t *testing.T, size int64) (device, backing string, old []byte) {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "losetup")
	old = make([]byte, size)
	rng := rand.NewChaCha8([32]byte{9})
	rng.Read(old)
	backing = filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(backing, old, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", backing).CombinedOutput()
	if err != nil {
		needs.Missing(t, "no loop device: %v %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() { command(t, "losetup", "--detach", device) })
	return device, backing, old
}

// runOnDevice is Run, again while a losetup of other tests looks into the device, as it does into all.
func runOnDevice(t *testing.T, jobs []Job, o Options) (res Result, err error) {
	t.Helper()
	for range 200 {
		res, err = Run(t.Context(), jobs, o)
		if err == nil || !strings.Contains(err.Error(), "losetup (pid ") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return res, err
}

func toDevice(d Disk, path string) []Job {
	return []Job{{d, Spec{Kind: Device, Path: path}}}
}

func TestADeviceHoldsTheDiskAndKeepsItsTail(t *testing.T) {
	for i, size := range []int64{16 << 20, 11<<20 + 65536, 9<<20 + 777, 512, 5000} {
		device, _, old := loopDevice(t, 16<<20)
		d := randomDisk("vda", size, 65536, uint64(i)+1)
		progress, whole := steady(t)
		res, err := runOnDevice(t, toDevice(d, device), Options{Verify: true, Progress: progress})
		if err != nil {
			t.Fatal(err)
		}
		whole()
		sameDevice(t, device, append(d.bytes(), old[size:]...))
		r := res.Disks[0]
		if !r.Done || !r.Verified || r.Tail != 16<<20-size || !strings.Contains(strings.Join(r.Notes, "\n"), "other hosts") {
			t.Errorf("result is %+v", r)
		}
	}
}

func sameDevice(t *testing.T, device string, want []byte) {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s is not what it should be, %v", device, err)
	}
}

func TestADeviceIsRefusedUnlessItIsAskedForAndFitsAndIsFree(t *testing.T) {
	device, _, old := loopDevice(t, 4<<20)
	d := randomDisk("vda", 1<<20, 65536, 1)
	link := filepath.Join(t.TempDir(), "link")
	file := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Symlink(device, link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, jobs []Job, o Options, say string) {
		t.Helper()
		if _, err := runOnDevice(t, jobs, o); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: error is %v, want one with %q", what, err, say)
		}
	}
	refused("not asked for", toFile(d, Raw, device), Options{Force: true}, "--device")
	refused("behind a link", toFile(d, Raw, link), Options{Force: true}, "--device")
	refused("a file", toDevice(d, file), Options{}, "is not a block device")
	refused("missing", toDevice(d, file+"x"), Options{}, "no such file")
	refused("too small", toDevice(randomDisk("vda", 4<<20+512, 65536, 1), device), Options{}, "too small")
	refused("twice", append(toDevice(d, device), toDevice(d, link)...), Options{}, "both go to")

	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	reader := exec.Command("sleep", "60")
	reader.ExtraFiles = []*os.File{f}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	refused("open elsewhere", toDevice(d, device), Options{}, fmt.Sprintf("sleep (pid %d)", reader.Process.Pid))
	refused("open elsewhere", toDevice(d, device), Options{}, "other hosts")
	reader.Process.Kill()
	reader.Wait()
	sameDevice(t, device, old)
}

func TestAMountedDeviceAndTheVaultsOwnAreRefused(t *testing.T) {
	device, _, _ := loopDevice(t, 4<<20)
	command(t, "mkfs.ext4", "-q", "-F", device)
	mount := t.TempDir()
	if out, err := exec.Command("mount", device, mount).CombinedOutput(); err != nil {
		needs.Missing(t, "cannot mount: %v %s", err, out)
	}
	defer command(t, "umount", mount)
	d := randomDisk("vda", 1<<20, 65536, 1)
	if _, err := runOnDevice(t, toDevice(d, device), Options{}); err == nil || !strings.Contains(err.Error(), "mounted on "+mount) {
		t.Errorf("error is %v", err)
	}
	if _, err := runOnDevice(t, toDevice(d, device), Options{VaultPath: mount}); err == nil || !strings.Contains(err.Error(), "holds the vault "+mount) {
		t.Errorf("error is %v", err)
	}
}

func TestADeviceLeftHalfWrittenIsSaidToBe(t *testing.T) {
	device, _, _ := loopDevice(t, 16<<20)
	d := randomDisk("vda", 16<<20, 65536, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var reads atomic.Int32
	d.onRead = func(int64) {
		if reads.Add(1) == 4 {
			cancel()
		}
	}
	_, err := Run(ctx, toDevice(d, device), Options{})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "partly overwritten") {
		t.Errorf("error is %v", err)
	}
	// A disk whose damage shows before anything is written says nothing of the kind.
	d.onRead, d.badMap = nil, []Range{{Offset: 0, Length: 65536}}
	if _, err := runOnDevice(t, toDevice(d, device), Options{}); err == nil || strings.Contains(err.Error(), "partly") {
		t.Errorf("error is %v", err)
	}
}

func TestSkippedDamageIsZerosOnADeviceToo(t *testing.T) {
	device, _, old := loopDevice(t, 8<<20)
	d := damagedDisk(2, 3, 60)
	if _, err := runOnDevice(t, toDevice(d, device), Options{SkipDamaged: true, Verify: true}); err != nil {
		t.Fatal(err)
	}
	sameDevice(t, device, append(d.bytes(), old[d.size:]...))
}

func TestTheVaultIsFoundUnderPartitionsAndVolumes(t *testing.T) {
	t.Parallel()
	sys := t.TempDir()
	// 254:0 (a volume) lies on 9:1 (a mirror) on 8:2 and 8:18, partitions of 8:0 and 8:16.
	for path, dev := range map[string]string{
		"devices/sda": "8:0", "devices/sda/sda2": "8:2", "devices/sdb": "8:16", "devices/sdb/sdb2": "8:18", "devices/md1": "9:1", "devices/dm-0": "254:0",
		"devices/sdc": "8:32",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(sys, path, "slaves"), 0o700),
			os.WriteFile(filepath.Join(sys, path, "dev"), []byte(dev+"\n"), 0o600),
			os.MkdirAll(filepath.Join(sys, "block"), 0o700),
			os.Symlink(filepath.Join(sys, path), filepath.Join(sys, "block", dev))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(sys, "devices/sda/sda2/partition"), nil, 0o600),
		os.WriteFile(filepath.Join(sys, "devices/sdb/sdb2/partition"), nil, 0o600),
		os.Symlink(filepath.Join(sys, "devices/md1"), filepath.Join(sys, "devices/dm-0/slaves/md1")),
		os.Symlink(filepath.Join(sys, "devices/sda/sda2"), filepath.Join(sys, "devices/md1/slaves/sda2")),
		os.Symlink(filepath.Join(sys, "devices/sdb/sdb2"), filepath.Join(sys, "devices/md1/slaves/sdb2")),
		os.Symlink(filepath.Join(sys, "devices/dm-0"), filepath.Join(sys, "devices/sdc/slaves/loop"))); err != nil {
		t.Fatal(err)
	}
	for _, lower := range []string{"254:0", "9:1", "8:2", "8:18", "8:0", "8:16"} {
		if !liesOn(filepath.Join(sys, "block"), "254:0", lower, 0) {
			t.Errorf("254:0 does not lie on %s", lower)
		}
	}
	if liesOn(filepath.Join(sys, "block"), "254:0", "8:32", 0) || liesOn(filepath.Join(sys, "block"), "0:55", "8:0", 0) {
		t.Error("a device lies on another that is not below it")
	}
}
