package btrfs

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestMain runs the tests in a mount namespace of their own: what they mount is
// then gone with them, and nobody else's namespace holds on to it.
func TestMain(m *testing.M) {
	const own = "BTRFS_OWN_MOUNTS"
	if os.Geteuid() != 0 || os.Getenv(own) != "" {
		os.Exit(m.Run())
	}
	c := exec.Command(os.Args[0], os.Args[1:]...)
	c.Env = append(os.Environ(), own+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := c.Run()
	var failed *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &failed):
		os.Exit(max(failed.ExitCode(), 1))
	}
	os.Exit(m.Run()) // no namespaces here
}
