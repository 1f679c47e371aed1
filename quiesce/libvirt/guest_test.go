package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// guestDomain defines and starts the test guest as a domain, and waits for its agent.
func guestDomain(t *testing.T) *vm {
	t.Helper()
	host(t)
	files := guest.Get(t)
	dir := t.TempDir()
	guest.NewRoot(t, dir+"/root.qcow2")
	guest.NewData(t, dir+"/data.raw")
	for _, f := range []string{files.Kernel, files.Initrd} {
		if _, err := os.Stat(f); err != nil {
			t.Fatal(err)
		}
	}
	v := define(t, vmOptions{runs: true, off: true,
		top:     "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>" + files.Kernel + "</kernel><initrd>" + files.Initrd + "</initrd><cmdline>" + guest.Append + "</cmdline></os>",
		devices: `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel><serial type='file'><source path='` + dir + `/console'/></serial>`,
		disks: `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='` + dir + `/root.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + dir + `/data.raw'/><target dev='vdb' bus='virtio'/></disk>`})
	v.start()
	a := v.Agent()
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := a.Ping(c)
		cancel()
		if err == nil && writes(v) {
			return v
		}
		if time.Now().After(end) {
			console, _ := os.ReadFile(dir + "/console")
			t.Fatalf("the guest's agent does not answer: %v\n%s", err, console)
		}
	}
}

// writes tells whether both file systems are mounted, by which the guest's writer begins.
func writes(v *vm) bool {
	out, err := v.Agent().limited(ctx(v.t), 5*time.Second, "guestinfo", "--filesystem")
	if err != nil || facts(out)["fs.count"] != "2" {
		return false
	}
	time.Sleep(3 * time.Second)
	return true
}

func newImage(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "image")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// readOnto reads a disk of a snapshot onto what the parent point held, and returns how many
// bytes had to be read. A guest's disk is too large for memory.
func readOnto(t *testing.T, s *SnapshotDisk, f *os.File) (read int64) {
	t.Helper()
	if err := f.Truncate(s.Size()); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<20)
	err := s.Extents(ctx(t), func(e blockstore.Extent) error {
		switch e.Kind {
		case blockstore.Zero:
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Offset, e.Length)
		case blockstore.Same:
			return nil
		}
		read += e.Length
		for off := e.Offset; off < e.End(); off += int64(len(buffer)) {
			part := buffer[:min(int64(len(buffer)), e.End()-off)]
			if _, err := s.ReadAt(part, off); err != nil {
				return err
			}
			if _, err := f.WriteAt(part, off); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestARealGuestIsBackedUpFrozenAndItsJournalsAreOfOneInstant(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest")
	}
	v := guestDomain(t)
	a := v.Agent()
	if o, err := a.OSInfo(ctx(t)); err != nil || o.ID != "debian" || o.Windows() {
		t.Errorf("%+v %v", o, err)
	}
	var window, freeze, snapshot time.Duration
	hold := func(ctx context.Context, during func(context.Context) error) error {
		began := time.Now()
		n, err := a.Freeze(ctx, nil)
		freeze = time.Since(began)
		if err == nil && n != 2 {
			t.Errorf("%d file systems were frozen", n)
		}
		if err == nil {
			err = during(ctx)
			snapshot = time.Since(began) - freeze
		}
		if err == nil { // the status is known without a taint
			if frozen, err := a.Frozen(ctx); !frozen || err != nil {
				t.Errorf("frozen: %v %v", frozen, err)
			}
		}
		m, thawErr := a.Thaw(context.WithoutCancel(ctx))
		if thawErr == nil && m != n {
			t.Errorf("%d of %d file systems were thawed", m, n)
		}
		window = time.Since(began)
		return errors.Join(err, thawErr)
	}
	images := [2]*os.File{newImage(t), newImage(t)}
	last := uint64(0)
	for i, name := range []string{p1, p2} {
		q := request(v, "", name)
		if i > 0 {
			q.Parent = p1
			time.Sleep(2 * time.Second) // the guest writes
		}
		q.Hold = hold
		s := take(v, q)
		t.Logf("frozen for %v: %v until it was, %v for the snapshot", window, freeze, snapshot)
		if frozen, err := a.Frozen(ctx(t)); frozen || err != nil {
			t.Errorf("after the snapshot: frozen %v %v", frozen, err)
		}
		var read [2]int64
		for d, disk := range s.Disks {
			read[d] = readOnto(t, disk, images[d])
			t.Logf("%s: %s (%s), %d MiB read", disk.Name, disk.Mode, disk.Reason, read[d]>>20)
		}
		if i > 0 && (s.Disks[0].Mode != qemu.ModeBitmap || read[0] > 256<<20) {
			t.Errorf("the second backup read %d MiB of the root disk (%s)", read[0]>>20, s.Disks[0].Reason)
		}
		if err := s.Check(ctx(t)); err != nil {
			t.Error(err)
		}
		release(v, s, true)
		wantCheckpoints(v, name)
		var copies [2]string // fsck changes what it examines
		for d, f := range images {
			copies[d] = f.Name() + ".examined"
			if out, err := exec.Command("cp", "--sparse=always", f.Name(), copies[d]).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		n := guest.Examine(t, copies[0], copies[1])
		if n <= last {
			t.Errorf("point %d ends with record %d, the one before with %d", i+1, n, last)
		}
		last = n
	}
	out, err := v.virsh(ctx(t), "dominfo")
	if err != nil || strings.Contains(out, "custom") {
		t.Errorf("the domain is tainted by what we did: %s %v", out, err)
	}
	r, err := a.Exec(ctx(t), qga.ExecRequest{Path: "/bin/sh", Args: []string{"-c", "echo out; echo err >&2; exit 3"}})
	if err != nil || r.ExitCode != 3 || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" {
		t.Errorf("a command in the guest: %+v %v", r, err)
	}
	var refused *qga.Error
	if _, err := a.Exec(ctx(t), qga.ExecRequest{Path: "/no such"}); !errors.As(err, &refused) {
		t.Errorf("a command that is not there: %v", err)
	}
	wantClean(v, p2)
}
