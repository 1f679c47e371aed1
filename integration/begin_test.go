package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestACommandThatComesWhileTheDaemonBeginsIsItsClient: the daemon before was killed, so that what it said
// of its vaults still lies there and its socket answers nobody.
func TestACommandThatComesWhileTheDaemonBeginsIsItsClient(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	image := randomImage(t, "web1", 64)
	for range 3 {
		p := s.begin()
		p.signal(syscall.SIGKILL)
		p.wait()
		ready := s.heard("READY=1")
		p = s.launch()
		s.must(0, "backup", "web1", "--disk", "vda="+image, "--wait", "1m")
		eventually(t, "the daemon is ready", func() bool { return s.heard("READY=1") > ready })
		s.end(p)
	}
}

// TestADaemonThatIsStoppedWhileItBeginsEndsWell: a service manager takes any other end for a failure.
// Before it has begun to listen to signals, it is just killed by one.
func TestADaemonThatIsStoppedWhileItBeginsEndsWell(t *testing.T) {
	t.Parallel()
	s := newService(t, newVault(t), "")
	stopped := func(after time.Duration) {
		t.Helper()
		p := s.launch()
		time.Sleep(after)
		p.signal(syscall.SIGTERM)
		if o := p.wait(); o.code != 0 && p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("stopped after %v: exit code %d\n%s", after, o.code, o.err)
		}
	}
	for after := time.Duration(0); after < 150*time.Millisecond; after += 5 * time.Millisecond {
		stopped(after)
	}
	if err := os.MkdirAll(s.run, 0o755); err != nil { // none of them came so far, perhaps
		t.Fatal(err)
	}
	another, err := os.OpenFile(filepath.Join(s.run, "daemon.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	if err := syscall.Flock(int(another.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	p := s.launch()
	eventually(t, "it waits for the other one to end", func() bool { return heldOpen(p.cmd.Process.Pid, another.Name()) > 0 || p.ended() })
	s.end(p)
}
