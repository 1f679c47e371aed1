package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowly starts a backup that takes long, as a job of the daemon, and waits until it runs.
func (s *service) slowly() *running {
	s.t.Helper()
	p := &running{t: s.t, cmd: s.command("backup", "slow", "--disk", "vda="+randomImage(s.t, "slow", 4<<10), "--rate", "16KiB")}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the backup runs", func() bool {
		list := s.jobs("backup")
		return len(list) > 0 && list[0].State == "running"
	})
	return p
}

func TestADaemonIsRestartedWhenItIsIdleAndNotBefore(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	ask := []string{"daemon", "--config", s.config, "--restart-when-idle"}
	if o := s.must(6, ask...); !strings.Contains(o.err, "no daemon runs") {
		t.Errorf("%s", o.err)
	}
	p := s.begin()
	slow := s.slowly()
	if o := s.must(0, ask...); !strings.Contains(o.out, "goes on as it is") || !strings.Contains(o.out, "backup slow j") {
		t.Errorf("%s%s", o.out, o.err)
	}
	s.configure("job: {}\n") // which the next daemon would not take
	if o := s.must(1, ask...); !strings.Contains(o.err, "left as it is") || !strings.Contains(o.err, "line 6") {
		t.Errorf("%s%s", o.out, o.err)
	}
	s.must(0, "job", "cancel", s.jobs("backup")[0].ID)
	slow.wait()
	eventually(t, "the configuration is refused", func() bool {
		b, err := os.ReadFile(filepath.Join(s.run, "leave.json"))
		return err == nil && strings.Contains(string(b), "unknown field")
	})
	s.configure("")
	// It may look into its vault by itself just then, and end a moment later.
	if o := s.must(0, ask...); !strings.Contains(o.out, "was idle") && !strings.Contains(o.out, "is being read or written") {
		t.Errorf("%s%s", o.out, o.err)
	}
	if o := p.expect(0); !strings.Contains(o.err, "the old one goes on") || !strings.Contains(o.err, "is idle") {
		t.Errorf("%s", o.err)
	}
	s.mu.Lock()
	s.told = nil
	s.mu.Unlock()
	p = s.begin()
	if names, err := filepath.Glob(filepath.Join(s.run, "*leave*")); err != nil || len(names) > 0 {
		t.Errorf("left in the folder of the socket: %v, %v", names, err)
	}
	s.end(p)
}

func TestADaemonThatIsToStopBeginsNoMoreJobsAndEndsAfterThoseThatRun(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "jobs: {at-once: 4}\n")
	p := s.begin()
	slow := s.slowly()
	ask := []string{"daemon", "--config", s.config, "--stop-when-idle"}
	within := 1500 * time.Millisecond
	eventually(t, "who asked for the end is told in time what it waits for", func() bool {
		o := s.must(1, append(ask, "--within", within.String())...)
		if !strings.Contains(o.err, "the daemon goes on") {
			t.Fatalf("%s%s", o.out, o.err)
		}
		within *= 2 // the daemon looks every second who asks
		return strings.Contains(o.err, "waiting for: backup slow")
	})
	s.must(0, "backup", "web1", "--disk", "vda="+randomImage(t, "a", 64)) // it does go on

	stop := &running{t: t, cmd: s.command(ask...)}
	stop.cmd.Stdout, stop.cmd.Stderr = &stop.out, &stop.err
	if err := stop.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon has been asked", func() bool {
		b, err := os.ReadFile(filepath.Join(s.run, "leave.json"))
		return err == nil && strings.Contains(string(b), `"answered":true`)
	})
	late := &running{t: t, cmd: s.command("backup", "late", "--disk", "vda="+randomImage(t, "b", 64))}
	late.cmd.Stdout, late.cmd.Stderr = &late.out, &late.err
	if err := late.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a job waits", func() bool { return s.jobs("backup")[0].Machine == "late" })
	for _, j := range s.jobs("backup") {
		if j.Machine == "late" && j.State != "queued" || j.Machine == "slow" && j.State != "running" {
			t.Errorf("%+v", j)
		}
		if j.Machine == "slow" {
			s.must(0, "job", "cancel", j.ID)
		}
	}
	slow.wait()
	if o := p.expect(0); strings.Contains(o.err, "machine=late point=") {
		t.Errorf("a backup was begun by a daemon that was to end: %s", o.err)
	}
	stop.expect(0)
	late.signal(syscall.SIGKILL) // it looks for a daemon that comes back
	late.wait()
}

func TestAnOpenFileOfTheMountKeepsTheDaemonFromBeingRestarted(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	v := newVault(t)
	v.backup("web1", randomImage(t, "a", 64))
	at := t.TempDir()
	s := newService(t, v, "mount: {at: "+at+"}\n")
	p := s.begin()
	t.Cleanup(func() { syscall.Unmount(filepath.Join(at, "vault"), syscall.MNT_DETACH) })
	var disk *os.File
	eventually(t, "the mount shows points", func() (ok bool) {
		var err error
		disk, err = os.Open(filepath.Join(at, "vault", "web1", "latest", "disks", "vda.raw"))
		return err == nil
	})
	defer disk.Close()
	ask := []string{"daemon", "--config", s.config, "--restart-when-idle"}
	if o := s.must(0, ask...); !strings.Contains(o.out, "goes on as it is") || !strings.Contains(o.out, "open file") {
		t.Errorf("%s%s", o.out, o.err)
	}
	disk.Close()
	p.expect(0)
}
