package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// first takes a first point and returns what vda held.
func first(v *vm) []byte {
	v.t.Helper()
	s := take(v, request(v, "", p1))
	content, _ := readAll(v.t, s.Disks[0], nil)
	release(v, s, true)
	return content
}

func TestABrokenCheckpointIsReplacedWithoutAFailedRun(t *testing.T) {
	for _, saved := range []bool{false, true} { // whether the bitmap ever came into the image
		t.Run(map[bool]string{false: "never saved", true: "in use when QEMU was killed"}[saved], func(t *testing.T) {
			v := define(t, vmOptions{})
			parent := first(v)
			if saved {
				if err := v.Stop(ctx(t)); err != nil {
					t.Fatal(err)
				}
				v.start()
			}
			v.io("vda", "write -P 7 3M 64k")
			v.io("vda", "flush")
			v.kill()
			v.start()
			v.io("vda", "write -P 8 5M 64k")
			s := take(v, request(v, p1, p2))
			if s.Disks[0].Mode != qemu.ModeScan || !strings.Contains(s.Disks[0].Reason, "broken") {
				t.Errorf("%s: %s", s.Disks[0].Mode, s.Disks[0].Reason)
			}
			content, _ := readAll(t, s.Disks[0], parent)
			want(t, content, 3<<20, 7, 64<<10)
			want(t, content, 5<<20, 8, 64<<10)
			release(v, s, true)
			wantCheckpoints(v, p2)
			v.io("vda", "write -P 9 7M 64k")
			s = take(v, request(v, p2, p3))
			if _, read := readAll(t, s.Disks[0], content); s.Disks[0].Mode != qemu.ModeBitmap || read != 64<<10 {
				t.Errorf("%s: %d bytes read, and 64 KiB changed", s.Disks[0].Mode, read)
			}
			release(v, s, true)
			wantCheckpoints(v, p3)
		})
	}
}

func TestAParentThatIsGoneIsAScan(t *testing.T) {
	v := define(t, vmOptions{})
	s := take(v, request(v, p1, p2))
	if s.Disks[0].Mode != qemu.ModeScan || s.Disks[0].Reason != "the checkpoint is gone" {
		t.Errorf("%s: %s", s.Disks[0].Mode, s.Disks[0].Reason)
	}
	release(v, s, true)
	wantCheckpoints(v, p2)
}

func TestForeignJobsAndCheckpointsAreLeftAlone(t *testing.T) {
	v := define(t, vmOptions{})
	c := ctx(t)
	xml := `<domaincheckpoint><name>theirs</name><disks><disk name='vda' checkpoint='bitmap'/><disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>`
	if _, err := v.virsh(c, "checkpoint-create", "--xmlfile", document(xml)); err != nil {
		t.Fatal(err)
	}
	otherVault := "hf-fedcba9876543210-p1"
	if _, err := v.virsh(c, "checkpoint-create", "--xmlfile", document(strings.Replace(xml, "theirs", otherVault, 1))); err != nil {
		t.Fatal(err)
	}
	first(v)
	wantCheckpoints(v, "theirs", otherVault, p1)
	stale := take(v, request(v, "", p2)) // of the same vault, and not its parent's: p1 is a leftover then
	wantCheckpoints(v, "theirs", otherVault, p2)
	release(v, stale, false)
	wantCheckpoints(v, "theirs", otherVault)

	job := `<domainbackup mode='pull'><server transport='unix' socket='DIR/theirs.sock'/><disks><disk name='vda' backup='yes' type='file'><scratch file='DIR/theirs'/></disk></disks></domainbackup>`
	if _, err := v.virsh(c, "backup-begin", "--backupxml", document(strings.ReplaceAll(job, "DIR", v.dir))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := v.Snapshot(c, request(v, "", p1))
	var busy *BusyError
	if !errors.As(err, &busy) || time.Since(began) > time.Minute {
		t.Errorf("beside a job of another program: %v", err)
	}
	if _, err := v.Clean(c, CleanRequest{Scratch: qemu.ScratchOptions{Folder: v.dir}}); err != nil {
		t.Error(err)
	}
	if _, err := v.virsh(c, "backup-dumpxml"); err != nil {
		t.Errorf("the job of the other program is gone: %v", err)
	}
	wantCheckpoints(v, "theirs")
}

func TestARunThatDiedIsCleanedUpByTheNext(t *testing.T) {
	v := define(t, vmOptions{})
	parent := first(v)
	v.io("vda", "write -P 6 2M 64k")
	dead := take(v, request(v, p1, p2))
	dead.session.(*job).folder.unlock() // as the kernel does when a process dies
	for _, r := range dead.session.(*job).readers {
		r.Close()
	}
	v.io("vda", "write -P 6 4M 64k")
	s := take(v, request(v, p1, p3))
	content, read := readAll(t, s.Disks[0], parent)
	want(t, content, 2<<20, 6, 64<<10)
	want(t, content, 4<<20, 6, 64<<10)
	if read != 128<<10 {
		t.Errorf("%d bytes read, and 128 KiB changed", read)
	}
	if _, err := v.Snapshot(ctx(t), request(v, p1, p2)); !errors.Is(err, qemu.ErrBusy) {
		t.Errorf("beside a run of ours: %v", err)
	}
	release(v, s, true)
	wantCheckpoints(v, p3)
	wantClean(v, p3)
}

func TestRestartingLibvirtdDoesNoHarm(t *testing.T) {
	v := define(t, vmOptions{})
	v.io("vda", "write -P 1 1M 64k")
	s := take(v, request(v, "", p1))
	stopDaemon()
	content, _ := readAll(t, s.Disks[0], nil)
	want(t, content, 1<<20, 1, 64<<10)
	done := make(chan error)
	go func() { done <- s.Check(ctx(t)) }()
	time.Sleep(300 * time.Millisecond)
	startDaemon(t)
	if err := <-done; err != nil {
		t.Errorf("check across a restart: %v", err)
	}
	release(v, s, true)
	wantCheckpoints(v, p1)
	wantClean(v, p1)
}

func TestADomainThatIsKilledEndsTheSnapshot(t *testing.T) {
	v := define(t, vmOptions{})
	s := take(v, request(v, "", p1))
	watched := make(chan error)
	go func() { watched <- s.Watch(ctx(t)) }()
	v.kill()
	if err := <-watched; !errors.Is(err, ErrGone) {
		t.Errorf("watch: %v", err)
	}
	if _, err := s.Disks[1].ReadAt(make([]byte, 4096), 0); err == nil {
		t.Error("bytes of a QEMU that is gone")
	}
	release(v, s, false)
	wantCheckpoints(v)
	wantClean(v, "")
}

func TestAChainThatChangedIsAScan(t *testing.T) {
	v := define(t, vmOptions{})
	v.io("vda", "write -P 1 1M 64k")
	parent := first(v)
	before, _ := v.Disks(ctx(t))
	v.io("vda", "write -P 2 2M 64k")
	if _, err := v.virsh(ctx(t), "snapshot-create-as", "--name=s1", "--disk-only", "--no-metadata",
		"--diskspec=vda,file="+v.file("snap.qcow2"), "--diskspec=vdb,snapshot=no"); err != nil {
		t.Fatal(err)
	}
	after, _ := v.Disks(ctx(t))
	if before[0].Identity() == after[0].Identity() || before[1].Identity() != after[1].Identity() {
		t.Error("the chain of vda is another one now, and that of vdb is not")
	}
	v.io("vda", "write -P 3 3M 64k")
	s := take(v, request(v, p1, p2))
	if s.Disks[0].Mode != qemu.ModeScan || !strings.Contains(s.Disks[0].Reason, "snap.qcow2") {
		t.Errorf("%s: %s", s.Disks[0].Mode, s.Disks[0].Reason)
	}
	content, _ := readAll(t, s.Disks[0], parent)
	want(t, content, 1<<20, 1, 64<<10)
	want(t, content, 2<<20, 2, 64<<10)
	want(t, content, 3<<20, 3, 64<<10)
	release(v, s, true)
	v.io("vda", "write -P 4 4M 64k")
	s = take(v, request(v, p2, p3))
	if _, read := readAll(t, s.Disks[0], content); s.Disks[0].Mode != qemu.ModeBitmap || read != 64<<10 {
		t.Errorf("%s (%s): %d bytes read, and 64 KiB changed", s.Disks[0].Mode, s.Disks[0].Reason, read)
	}
	release(v, s, true)
	wantCheckpoints(v, p3)
}

func TestADomainThatIsRenamedKeepsItsCheckpoints(t *testing.T) {
	v := define(t, vmOptions{})
	first(v)
	v.Stop(ctx(t))
	if _, err := v.virsh(ctx(t), "domrename", "--new-name=another name"); err != nil {
		if says(err, "cannot rename", "checkpoint") {
			t.Skip(err) // libvirt keeps domains with checkpoints from being renamed
		}
		t.Fatal(err)
	}
	d, err := v.host.Domain(ctx(t), v.UUID())
	if err != nil || d.Name() != "another name" {
		t.Fatalf("%v %v", d, err)
	}
	v.Domain = d
	v.start()
	s := take(v, request(v, p1, p2))
	if s.Disks[0].Mode != qemu.ModeBitmap {
		t.Error(s.Disks[0].Reason)
	}
	release(v, s, true)
}

func TestADomainThatIsOffLosesOurCheckpointsAndCanBeUndefined(t *testing.T) {
	v := define(t, vmOptions{})
	first(v)
	v.Stop(ctx(t))
	if names, err := bitmapsOf(ctx(t), v.file("vda.qcow2")); err != nil || !slices.Contains(names, p1) {
		t.Fatalf("bitmaps in the image: %q %v", names, err)
	}
	if _, err := v.virsh(ctx(t), "undefine"); err == nil {
		t.Fatal("libvirt undefines domains that have checkpoints")
	}
	if _, err := v.Clean(ctx(t), CleanRequest{Vault: "fedcba9876543210", Scratch: qemu.ScratchOptions{Folder: v.dir}}); err != nil {
		t.Fatal(err)
	}
	wantCheckpoints(v, p1) // it is another vault's
	left, err := v.Leftovers(ctx(t), CleanRequest{Vault: vault, Scratch: qemu.ScratchOptions{Folder: v.dir}})
	if err != nil || len(left) != 1 {
		t.Errorf("leftovers: %v %v", left, err)
	}
	gone, err := v.Clean(ctx(t), CleanRequest{Vault: vault, Scratch: qemu.ScratchOptions{Folder: v.dir}})
	if err != nil || len(gone) != 1 {
		t.Errorf("cleaned: %v %v", gone, err)
	}
	wantCheckpoints(v)
	if names, err := bitmapsOf(ctx(t), v.file("vda.qcow2")); err != nil || len(names) > 0 {
		t.Errorf("bitmaps in the image: %q %v", names, err)
	}
	run(t, "qemu-img", "bitmap", "--add", "-f", "qcow2", v.file("vda.qcow2"), p2) // without a checkpoint
	if gone, err := v.Clean(ctx(t), CleanRequest{Vault: vault, Scratch: qemu.ScratchOptions{Folder: v.dir}}); err != nil || len(gone) != 1 || gone[0].Kind != "bitmap" {
		t.Errorf("cleaned: %v %v", gone, err)
	}
	wantClean(v, "")
}

func TestScratchFilesThatRunShortEndTheJobBeforeTheGuestStops(t *testing.T) {
	v := define(t, vmOptions{runs: true})
	v.io("vda", "write -P 1 0 32M")
	mnt := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mnt).CombinedOutput(); err != nil {
		needs.Missing(t, "%v", string(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", mnt).Run() })
	q := request(v, "", p1)
	q.Scratch = qemu.ScratchOptions{Folder: mnt, LowWater: 12 << 20}
	s := take(v, q)
	watched := make(chan error)
	go func() { watched <- s.Watch(ctx(t)) }()
	for i := range 4 {
		v.io("vda", "write -P 2 "+[]string{"0", "4M", "8M", "12M"}[i]+" 4M") // 16 of 24 MiB are copied
	}
	if err := <-watched; !errors.Is(err, ErrScratch) {
		t.Errorf("watch: %v", err)
	}
	release(v, s, false)
	if state, _, err := v.State(ctx(t)); state != Running || err != nil {
		t.Errorf("the guest is %s %v", state, err)
	}
	if _, err := os.Stat(mnt + "/hf-" + v.UUID()); err == nil {
		t.Error("the folder is still there")
	}
	q.Scratch.LowWater = 30 << 20
	held := false
	q.Hold = func(ctx context.Context, during func(context.Context) error) error { held = true; return during(ctx) }
	if _, err := v.Snapshot(ctx(t), q); !errors.Is(err, ErrScratch) || held {
		t.Errorf("without room there is no snapshot, and no freeze: %v", err)
	}
}
