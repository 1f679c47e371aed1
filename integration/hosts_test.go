package integration

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestAStoppedOwnerIsNamedReadersGoOnAndAKilledOneIsReplacedAtOnce stops one backup in
// its middle.
func TestAStoppedOwnerIsNamedReadersGoOnAndAKilledOneIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	small := noisyImage(t, 11, 2)
	v.backup("web1", small)
	before := packsOf(v)
	stopped := v.start("backup", "web2", "--disk", "vda="+noisyImage(t, 12, 300), "--rate", "16MiB") // it would take 16 seconds
	eventually(t, "the backup writes", func() bool { return packsOf(v) > before })
	defer stopped.signal(syscall.SIGKILL)
	if !stopped.stop() {
		t.Fatalf("the backup is over: %s", stopped.wait().err)
	}

	v.must(0, "points")
	v.must(0, "point", "show", "web1@latest")
	v.must(0, "check", "--data")
	v.must(0, "diff", "web1@latest", "web1@latest")
	v.must(0, "vault", "info")
	if v.restored("web1", "latest") != hashFile(t, small) {
		t.Error("the restore differs")
	}
	pid := strconv.Itoa(stopped.cmd.Process.Pid)
	for _, writing := range [][]string{
		{"backup", "web3", "--disk", "vda=" + small, "--no-wait"}, {"vault", "rebuild-index", "--no-wait"},
	} {
		told := v.must(5, writing...)
		for _, part := range []string{"pid " + pid + " ", "backup web2", "since 20", "stopped", "kill -CONT " + pid} {
			if !strings.Contains(told.err, part) {
				t.Errorf("%q does not say %q: %s", writing, part, told.err)
			}
		}
	}
	waiting := v.start("backup", "web3", "--disk", "vda="+small, "--wait", "300ms")
	if o := waiting.expect(5); !strings.Contains(o.err, "waiting: ") {
		t.Errorf("it does not say for whom it waits: %s", o.err)
	}
	stopped.signal(syscall.SIGKILL)
	stopped.wait()
	v.must(0, "backup", "web3", "--disk", "vda="+small, "--no-wait")
	v.must(0, "check", "--data")
}

// TestAStoppedReaderHoldsNoWriterUp stops a mount that has files open.
func TestAStoppedReaderHoldsNoWriterUp(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	image := noisyImage(t, 13, 4)
	v.backup("web1", image)
	at, mount := v.mounted()
	hashFile(t, filepath.Join(at, "web1", "latest", "disks", "vda.raw"))
	defer mount.signal(syscall.SIGCONT)
	mount.stop()
	v.backup("web1", image, "--no-wait")
	v.must(0, "vault", "rebuild-index", "--no-wait")
	v.must(0, "check", "--data")
}

// onHost runs the program as on another host: with another machine-id and host name.
func (v vault) onHost(name string, args ...string) *exec.Cmd {
	v.t.Helper()
	id := filepath.Join(v.t.TempDir(), "machine-id")
	if err := os.WriteFile(id, []byte(strings.Repeat("abcd", 8)+"\n"), 0o644); err != nil {
		v.t.Fatal(err)
	}
	script := `touch /etc/machine-id; mount --bind "$0" /etc/machine-id && hostname "$1" && shift && exec "$@"`
	cmd := v.command(args...)
	cmd.Args = append([]string{"unshare", "-m", "-u", "sh", "-c", script, id, name, binary}, args...)
	path := needs.Tool(v.t, "unshare")
	cmd.Path = path
	return cmd
}

// does runs a command and fails the test unless it ends with code.
func does(t *testing.T, code int, cmd *exec.Cmd) outcome {
	t.Helper()
	p := &running{t: t, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p.expect(code)
}

// stateOf is the name, mode, size and times of change of everything in a folder.
func stateOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	state := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil {
			c := st.Sys().(*syscall.Stat_t).Ctim
			state[p] = st.Mode().String() + " " + strconv.FormatInt(st.Size(), 10) + " " + st.ModTime().String() + " " + strconv.FormatInt(c.Nano(), 10)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestAVaultWhoseHostDiedIsReadFromAReadOnlyDiskAndTakenOver is the day on which only
// the vault's folder is left.
func TestAVaultWhoseHostDiedIsReadFromAReadOnlyDiskAndTakenOver(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	v := newVault(t)
	image := noisyImage(t, 14, 4)
	v.backup("web1", image)
	v.backup("web1", image)
	want := hashFile(t, image)
	id := v.points()[0].ID

	ro := vault{t, filepath.Join(t.TempDir(), "ro")}
	if err := os.Mkdir(ro.path, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"mount", "--bind", v.path, ro.path}, {"mount", "-o", "remount,bind,ro", ro.path}} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", words, err, out)
		}
	}
	t.Cleanup(func() { exec.Command("umount", "-l", ro.path).Run() })
	before := stateOf(t, v.path)
	target := filepath.Join(t.TempDir(), "r.raw")
	for _, args := range [][]string{
		{"points"}, {"points", "--json"}, {"point", "show", "web1@latest"}, {"check", "--data"}, {"vault", "info"},
		{"diff", "web1@" + id, "web1@latest"}, {"restore", "web1@latest", "--to", target},
	} {
		o := does(t, 0, ro.onHost("rescue", args...))
		if strings.Count(o.err, "warning: ") != 1 || !strings.Contains(o.err, "belongs to host ") {
			t.Errorf("%q says on standard error:\n%s", args, o.err)
		}
	}
	if hashFile(t, target) != want {
		t.Error("the restore differs")
	}
	at, mount := ro.mounted() // by this host: nothing is to be said
	if hashFile(t, filepath.Join(at, "web1", "latest", "disks", "vda.raw")) != want {
		t.Error("the mount differs")
	}
	mount.signal(syscall.SIGINT)
	if o := mount.wait(); strings.Contains(o.err, "warning") {
		t.Errorf("the mount warns: %s", o.err)
	}
	readOnly := func(cmd *exec.Cmd) {
		t.Helper()
		if o := does(t, 1, cmd); !strings.Contains(o.err, "read-only") {
			t.Errorf("%s", o.err)
		}
	}
	readOnly(ro.command("backup", "web1", "--disk", "vda="+image))
	readOnly(ro.onHost("rescue", "vault", "takeover", "--yes"))
	readOnly(ro.command("vault", "hold-sweep", "--for", "1h"))
	for name, was := range before {
		if now := stateOf(t, v.path)[name]; now != was {
			t.Errorf("%s was touched: %s, now %s", name, was, now)
		}
	}

	if o := does(t, 5, v.onHost("rescue", "backup", "web1", "--disk", "vda="+image)); !strings.Contains(o.err, "vault takeover") {
		t.Errorf("no way out is named: %s", o.err)
	}
	does(t, 2, v.onHost("rescue", "vault", "takeover"))
	does(t, 0, v.onHost("rescue", "vault", "takeover", "--yes"))
	does(t, 0, v.onHost("rescue", "backup", "web1", "--disk", "vda="+image))
	does(t, 0, v.onHost("rescue", "check", "--data"))
	if o := v.must(5, "backup", "web1", "--disk", "vda="+image); !strings.Contains(o.err, "host rescue") {
		t.Errorf("the host before is told: %s", o.err)
	}
	v.must(0, "vault", "takeover", "--yes")
	v.backup("web1", image)
	v.must(0, "check", "--data")
}

// TestAnotherUserIsToldWhoseTheVaultIsAndMayUseItOnceItIsTheirs runs the program as nobody.
func TestAnotherUserIsToldWhoseTheVaultIsAndMayUseItOnceItIsTheirs(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	needs.Tools(t, "setpriv")
	v := newVault(t)
	image := noisyImage(t, 15, 2)
	v.backup("web1", image)
	for dir := filepath.Dir(v.path); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state") // of that user
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(state, 65534, 65534), os.Chmod(filepath.Dir(state), 0o755)); err != nil {
		t.Fatal(err)
	}
	asNobody := func(args ...string) *exec.Cmd {
		cmd := v.command()
		cmd.Path, _ = exec.LookPath("setpriv")
		cmd.Args = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary}, args...)
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "HOLDFAST_STATE="+state)
		return cmd
	}
	for _, args := range [][]string{{"points"}, {"check"}, {"vault", "takeover", "--yes"}, {"backup", "web1", "--disk", "vda=" + image}} {
		o := does(t, 1, asNobody(args...))
		if !strings.Contains(o.err, "permission denied") || !strings.Contains(o.err, "belongs to user root") {
			t.Errorf("%q: %s", args, o.err)
		}
	}
	for _, path := range []string{v.path, image} {
		if out, err := exec.Command("chown", "-R", "65534:65534", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.Chmod(filepath.Dir(image), 0o755); err != nil {
		t.Fatal(err)
	}
	does(t, 0, asNobody("points"))
	does(t, 0, asNobody("check", "--data"))
	does(t, 0, asNobody("vault", "info"))
}
