package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAMountOfASealedVaultTellsItsMemoryToNobody mounts as a user without
// rights, for whom the program cannot be dumped nor looked into while it holds the
// vault's secret, and reads a disk through the mount.
func TestAMountOfASealedVaultTellsItsMemoryToNobody(t *testing.T) {
	needRoot(t)
	needFUSE(t)
	const nobody = 65534
	folder := t.TempDir()
	for dir := folder; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(folder, "holdfast")
	if err := os.Link(binary, program); err != nil {
		data, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	disk := bytes.Repeat([]byte("what a guest keeps to itself; "), 10_000)
	files := map[string][]byte{"pass": []byte("open sesame\n"), "vda.img": disk}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(folder, "home")
	mountpoint := filepath.Join(home, "mnt")
	if err := os.MkdirAll(mountpoint, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{home, mountpoint} {
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	vaultAt := filepath.Join(home, "vault")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "HOLDFAST_VAULT="+vaultAt, "HOLDFAST_PASSPHRASE_FILE="+filepath.Join(folder, "pass"))
		cmd.Dir = home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	for _, args := range [][]string{
		{"vault", "create", vaultAt, "--sealed", "--no-recovery-key"},
		{"backup", "web1", "--disk", "vda=" + filepath.Join(folder, "vda.img"), "--min-free=none"},
	} {
		if out, err := command(args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	mount := command("mount", mountpoint)
	var said bytes.Buffer
	mount.Stderr = &said
	if err := mount.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mount.Wait() }()
	defer func() {
		mount.Process.Signal(syscall.SIGTERM)
		<-ended
		exec.Command("umount", "-l", mountpoint).Run() // there only when the program failed
	}()
	proc := fmt.Sprintf("/proc/%d", mount.Process.Pid)
	waitForMount(t, mountpoint, &said)

	limits, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && !strings.HasPrefix(strings.TrimSpace(rest), "0 ") {
			t.Errorf("a core dump may be written: %s", line)
		}
	}
	// The kernel gives the files of a process that cannot be dumped to root.
	st, err := os.Stat(proc + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	if st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("its own user can read its memory")
	}
	for _, name := range []string{"cmdline", "environ"} {
		if b, err := os.ReadFile(filepath.Join(proc, name)); err != nil || bytes.Contains(b, []byte("open sesame")) {
			t.Errorf("%s holds the passphrase, or: %v", name, err)
		}
	}
	read := exec.Command("cat", filepath.Join(mountpoint, "web1/latest/disks/vda.raw"))
	read.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if got, err := read.Output(); err != nil || !bytes.Equal(got, disk) {
		t.Errorf("the disk reads otherwise through the mount, %v", err)
	}
}

func waitForMount(t *testing.T, mountpoint string, said *bytes.Buffer) {
	t.Helper()
	for range 600 {
		var here, above syscall.Stat_t
		if err := syscall.Stat(mountpoint, &here); err != nil && err != syscall.EACCES { // root is not let in
			t.Fatal(err)
		} else if err == syscall.EACCES {
			return
		}
		if syscall.Stat(filepath.Dir(mountpoint), &above) == nil && here.Dev != above.Dev {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("nothing was mounted")
}
