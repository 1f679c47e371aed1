package qga_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// port starts a QEMU without a guest, and returns the socket of its agent's port and what kills it.
func port(t *testing.T) (socket string, kill func()) {
	t.Helper()
	qemu := needs.Tool(t, "qemu-system-x86_64")
	dir, err := os.MkdirTemp("", "qga-")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "qga")
	cmd := exec.Command(qemu, "-M", "pc", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none",
		"-chardev", "socket,path="+socket+",server=on,wait=off,id=qga0", "-device", "virtio-serial",
		"-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(func() { kill(); os.RemoveAll(dir) })
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := qga.Dial(t.Context(), socket); !errors.Is(err, qga.ErrGone) {
			return socket, kill
		}
		if time.Now().After(end) {
			t.Fatal("qemu does not open its socket")
		}
	}
}

func TestQEMUsOwnPortTellsApartAbsentBusyAndGone(t *testing.T) {
	t.Parallel()
	socket, kill := port(t)
	for range 2 { // a client that left does not stand in the way of the next
		if _, err := qga.Dial(t.Context(), socket); !errors.Is(err, qga.ErrAbsent) {
			t.Errorf("without an agent: %v", err)
		}
	}
	first := qga.New(socket)
	defer first.Close()
	if err := first.Ping(t.Context()); !errors.Is(err, qga.ErrAbsent) {
		t.Errorf("without an agent: %v", err)
	}
	if _, err := qga.Dial(t.Context(), socket); !errors.Is(err, qga.ErrBusy) {
		t.Errorf("while another client is connected: %v", err)
	}
	kill()
	if _, err := qga.Dial(t.Context(), socket); !errors.Is(err, qga.ErrGone) {
		t.Errorf("without QEMU: %v", err)
	}
}
