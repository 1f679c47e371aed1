package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// dataSize is the size of the second disk of the test guest, in bytes.
const dataSize = 256 << 20

// TestAFileThatWasDeletedComesBackFromThePointThatThePolicyMade is what all is for: a daemon backs a guest up by its
// policy, twice; a file is deleted in between; the older point's disk, as the daemon shows it, is plugged into the
// guest, which copies the file back.
func TestAFileThatWasDeletedComesBackFromThePointThatThePolicyMade(t *testing.T) {
	needs.Root(t)
	needFUSE(t)
	vm := guest.Start(t, guest.Options{Name: "web one"})
	writes(t, vm)
	sum := vm.Exec(t, "head -c 5000000 /dev/urandom >/data/precious && sync && sha256sum </data/precious")
	v := newVault(t)
	v.must(0, "protect", "web1", "--qmp", vm.QMP, "--qga", vm.QGA)
	v.owedOne("web1")
	mount := filepath.Join(t.TempDir(), "mount")
	t.Cleanup(func() { // only after a failure there is something to do
		exec.Command("sh", "-c", `for m in "$1"/*; do fusermount3 -u -z -q "$m"; done`, "sh", mount).Run()
	})
	s := newService(t, v, "mount: {at: "+mount+"}\n")
	p := s.begin()
	s.madeByPolicy(1)
	vm.Exec(t, "rm /data/precious && sync")

	due := time.Now().UTC().Add(20 * time.Second).Truncate(time.Minute).Add(time.Minute) // the policy is to be there by then
	s.must(0, "policy", "set", "all", "--schedule", "daily at "+due.Format("15:04"), "--quiet")
	s.madeByPolicy(2)
	points := v.livePoints("web1")
	if len(points) != 2 || points[0].Consistency != "filesystem" || slices.Contains(points[1].modes(), "scan") {
		t.Fatalf("%+v", points)
	}
	shown, err := filepath.Glob(filepath.Join(mount, "*", "web1", "*", "disks", "*.raw"))
	if err != nil || len(shown) < 4 {
		t.Fatalf("the mount shows %q, %v", shown, err)
	}
	slices.Sort(shown) // by time, "latest" last
	disk := shown[slices.IndexFunc(shown, func(f string) bool { st, err := os.Stat(f); return err == nil && st.Size() == dataSize })]

	back := withDisk(t, vm, disk, "mount -o ro,noload /dev/vdc /mnt && cp /mnt/precious /data/back && umount /mnt && sync && sha256sum </data/back")
	if back != sum {
		t.Errorf("what came back is %s, it was %s", back, sum)
	}
	if lost := vm.Exec(t, "ls /data"); strings.Contains(lost, "precious") {
		t.Errorf("the file was never gone: %s", lost)
	}
	s.end(p)
	nothingIsLeft(t, s, vm, mount)
}

// owedOne has the only machine of the vault be protected, and a policy for it be there, for an hour: a run
// was due half an hour ago.
func (v vault) owedOne(name string) {
	v.t.Helper()
	hour := func() time.Time { return time.Now().Add(-time.Hour) }
	o, err := blockstore.Own(v.t.Context(), v.path, blockstore.OwnOptions{MinFree: -1, Clock: hour})
	if err != nil {
		v.t.Fatal(err)
	}
	defer o.Close()
	machines, err := o.Machines(v.t.Context())
	if err != nil || len(machines) != 1 {
		v.t.Fatalf("%+v, %v", machines, err)
	}
	protection := *machines[0].Protected
	protection.Since = hour()
	if _, err := o.Protect(v.t.Context(), name, protection); err != nil {
		v.t.Fatal(err)
	}
	p := blockstore.Policy{Name: "all", Machines: []string{"*"}, Keep: blockstore.Keep{Last: 5}}
	p.Schedule, p.Zone = halfAnHourAgo()
	_, err = o.SetPolicy(v.t.Context(), p)
	if err != nil {
		v.t.Fatal(err)
	}
}

// madeByPolicy waits until the policy has made so many points, and nothing runs.
func (s *service) madeByPolicy(n int) {
	s.t.Helper()
	for end := time.Now().Add(6 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		list := s.jobs("backup")
		for _, j := range list {
			if j.State == "failed" || j.By != "policy all" {
				s.t.Fatalf("%+v", j)
			}
		}
		if len(list) == n && list[0].State == "completed" {
			return
		}
	}
	s.t.Fatalf("backup %d by policy is not made: %+v", n, s.jobs("backup"))
}

// nothingIsLeft looks for what a daemon that has ended may have left, and into its vault.
func nothingIsLeft(t *testing.T, s *service, vm *guest.VM, mount string) {
	t.Helper()
	thawed(t, vm)
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), mount) {
		t.Errorf("something is mounted still, or %v:\n%s", err, mounts)
	}
	if o := s.must(0, "doctor", "web1"); strings.Contains(o.out, "hf-job") || strings.Contains(o.out, "hf-fl") {
		t.Errorf("something is left:\n%s", o.out)
	}
	if left, _ := filepath.Glob("/var/lib/libvirt/qemu/holdfast/*/*"); len(left) > 0 {
		t.Errorf("scratch files are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(s.run, "*.sock")); len(left) > 0 {
		t.Errorf("sockets are left: %v", left)
	}
	s.must(0, "check", "--data")
}
