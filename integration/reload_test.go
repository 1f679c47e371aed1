package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAReloadDisturbsNobodyWhoLooksAtAVaultThatStays has vaults come and go beside one of which a disk is open.
func TestAReloadDisturbsNobodyWhoLooksAtAVaultThatStays(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	a, b := newVaultAt(t, filepath.Join(t.TempDir(), "a")), newVaultAt(t, filepath.Join(t.TempDir(), "b"))
	for _, v := range []vault{a, b} {
		v.backup("web1", randomImage(t, "disk", 16))
	}
	at := t.TempDir()
	for _, name := range []string{"a", "b"} {
		t.Cleanup(func() { syscall.Unmount(filepath.Join(at, name), syscall.MNT_DETACH) })
	}
	mount := fmt.Sprintf("mount: {at: %s}\n", at)
	both := fmt.Sprintf("  - path: %s\n    min-free: none\n", b.path) + mount
	s := newService(t, a, mount)
	p := s.begin()
	shown := func(name string) bool {
		_, err := os.Stat(filepath.Join(at, name, "web1", "latest", "disks", "vda.raw"))
		return err == nil
	}
	reload := func(more string) {
		t.Helper()
		s.configure(more)
		before := s.heard("READY=1")
		p.signal(syscall.SIGHUP)
		eventually(t, "the configuration is reloaded", func() bool { return s.heard("READY=1") > before })
	}
	eventually(t, "the first vault is shown", func() bool { return shown("a") })
	disk, err := os.Open(filepath.Join(at, "a", "web1", "latest", "disks", "vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	reads := func() {
		t.Helper()
		if _, err := disk.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Errorf("who looks on is disturbed: %v", err)
		}
	}
	before := mountsBelow(t, at)
	reload(both)
	eventually(t, "the second vault is shown", func() bool { return shown("b") })
	reads()
	if now := mountsBelow(t, at); len(now) != 2 || len(before) != 1 || !strings.Contains(strings.Join(now, "\n"), before[0]) {
		t.Errorf("what was mounted is %q, and was %q", now, before)
	}
	if err := syscall.Unmount(filepath.Join(at, "b"), syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a reload brings back what somebody took away", func() bool { reload(both); return shown("b") })
	reload(mount)
	eventually(t, "what is named no more is gone", func() bool { return len(mountsBelow(t, at)) == 1 })
	reads()
	disk.Close()
	s.end(p)
	if left := mountsBelow(t, at); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// mountsBelow lists what is mounted below a folder, with the number of each mount.
func mountsBelow(t *testing.T, dir string) (all []string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			all = append(all, f[0]+" "+f[4])
		}
	}
	return all
}

// TestWhoFollowsAJobHearsAtOnceThatTheDaemonEnds has a daemon end that gives jobs no time.
func TestWhoFollowsAJobHearsAtOnceThatTheDaemonEnds(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "jobs: {shutdown-limit: 1s}\n")
	p := s.begin()
	backup := s.command("backup", "web1", "--rate", "1MiB", "--disk", "vda="+randomImage(t, "disk", 60<<10))
	f := &running{t: t, cmd: backup}
	backup.Stdout, backup.Stderr = &f.out, &f.err
	if err := backup.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the backup runs", func() bool { return strings.Contains(s.runs("jobs").out, "running") })
	s.end(p)
	o := f.wait()
	if o.code != 130 || !strings.Contains(o.err, "the daemon ended before the job did") || strings.Contains(o.err, "follow job") {
		t.Errorf("it ended with %d: %s%s", o.code, o.out, o.err)
	}
}
