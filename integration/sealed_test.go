package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestWhoHoldsASecretTellsItsMemoryToNobody restores as a user without rights into a
// pipe that nobody reads: the program, which holds the vault's secret then, cannot be dumped nor
// looked into. And it mounts, which goes through another program.
func TestWhoHoldsASecretTellsItsMemoryToNobody(t *testing.T) {
	needs.Root(t)
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
	disk := bytes.Repeat([]byte("what a guest keeps to itself; "), 200_000)
	pass := filepath.Join(folder, "pass")
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
	if err := os.Chmod(pass, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pass, home, mountpoint} {
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	vaultAt := filepath.Join(home, "vault")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "HOLDFAST_VAULT="+vaultAt, "HOLDFAST_PASSPHRASE_FILE="+pass, "HOLDFAST_STATE="+filepath.Join(home, "state"))
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
	restore := command("restore", "web1@latest", "--to", "-", "--quiet")
	out, err := restore.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := restore.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d", restore.Process.Pid)
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
	rest, err := io.ReadAll(out)
	if err := errors.Join(err, restore.Wait()); err != nil || !bytes.Equal(append(first, rest...), disk) {
		t.Errorf("the disk is restored otherwise, %v", err)
	}
	mountAndRead(t, command, mountpoint, disk)
}

// mountAndRead mounts as the command's user, or as root where /dev/fuse is not
// for everybody.
func mountAndRead(t *testing.T, command func(...string) *exec.Cmd, mountpoint string, disk []byte) {
	t.Helper()
	mount, read := command("mount", mountpoint), exec.Command("cat", filepath.Join(mountpoint, "web1/latest/disks/vda.raw"))
	if st, err := os.Stat("/dev/fuse"); err == nil && st.Mode()&6 == 6 {
		read.SysProcAttr = mount.SysProcAttr
	} else {
		mount.SysProcAttr = nil
	}
	said, err := mount.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.Start(); err != nil {
		t.Fatal(err)
	}
	text, _ := bufio.NewReader(said).ReadString('\n')
	if !strings.Contains(text, "mounted at") {
		t.Fatalf("it says %q, not that it is mounted: %v", text, mount.Wait())
	}
	if got, err := read.Output(); err != nil || !bytes.Equal(got, disk) {
		t.Errorf("the disk reads otherwise through the mount, %v", err)
	}
	mount.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, said)
	if err := mount.Wait(); err != nil {
		t.Error(err)
	}
}
