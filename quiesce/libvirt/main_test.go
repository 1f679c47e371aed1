package libvirt

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
)

// inside says, in the environment, that the process has its own view of libvirt's folders,
// and where it keeps files that must go.
const inside = "HOLDFAST_LIBVIRT_TEST"

// TestMain runs the tests again in namespaces where libvirt's folders are empty ones, so that
// a libvirtd of their own has the usual paths and the host's is not touched, and where
// every process ends with them.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		code := m.Run()
		stopDaemon()
		os.Exit(code)
	}
	if os.Getuid() != 0 || !installed("unshare", "mount", "libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "qemu-nbd") {
		os.Exit(m.Run()) // those that need libvirtd say that it is missing
	}
	os.Exit(again())
}

func installed(tools ...string) bool {
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			return false
		}
	}
	return true
}

func again() int {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-libvirt-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	script := `set -e
mount -t tmpfs -o mode=755 tmpfs /run
for d in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
	mkdir -p "$0/$d" "$d"
	mount --bind "$0/$d" "$d"
done
[ /var/run -ef /run ] || mount --bind /run /var/run
"$@" &
wait $!` // the shell also waits for QEMUs, whose parent is gone
	args := append([]string{"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, dir, os.Args[0]}, os.Args[1:]...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), inside+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	runtime.LockOSThread() // the death that the kernel reports to the child is this thread's
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signal.Ignore(os.Interrupt) // the child ends first
	err = cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
