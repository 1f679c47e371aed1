package integration

import (
	"syscall"
	"testing"
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
		p = s.launch()
		s.must(0, "backup", "web1", "--disk", "vda="+image, "--wait", "1m")
		s.end(p)
	}
}
