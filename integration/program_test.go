package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// binary is the program under test, built once.
var binary string

// builtBinary names, in the environment, the program for a test that runs itself again.
const builtBinary = "HOLDFAST_TEST_BINARY"

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	os.Unsetenv("HOLDFAST_VAULT")
	preferMemory()
	folder, err := os.MkdirTemp("", "holdfast-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	os.Setenv("HOLDFAST_STATE", filepath.Join(folder, "state"))
	if binary = os.Getenv(builtBinary); binary != "" {
		return m.Run()
	}
	binary = filepath.Join(folder, "holdfast")
	build := exec.Command("go", "build", "-o", binary, module+"/cmd/holdfast")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binary:", err)
		return 1
	}
	return m.Run()
}

// endsWithUs has a process killed when this one dies, however that comes about.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// preferMemory puts the folders of the tests on tmpfs where there is enough of it:
// they write and remove some GiB.
func preferMemory() {
	var s syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs("/dev/shm", &s) == nil && int64(s.Bavail)*s.Bsize > 6<<30 {
		os.Setenv("TMPDIR", "/dev/shm")
	}
}

func needFUSE(t *testing.T) {
	t.Helper()
	needs.Tools(t, "fusermount3")
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		needs.Missing(t, "FUSE: %v", err)
	}
	f.Close()
}

// vault is a vault in a folder of the test.
type vault struct {
	t    *testing.T
	path string
}

// newVault makes an empty vault.
func newVault(t *testing.T) vault {
	return newVaultAt(t, filepath.Join(t.TempDir(), "vault"))
}

func newVaultAt(t *testing.T, path string) vault {
	t.Helper()
	v := vault{t, path}
	v.must(0, "vault", "create", path)
	return v
}

// outcome is what a command line led to.
type outcome struct {
	out, err string
	code     int
}

func (v vault) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(v.t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "HOLDFAST_VAULT="+v.path)
	cmd.SysProcAttr = endsWithUs()
	return cmd
}

// run runs the program to its end.
func (v vault) run(args ...string) outcome {
	v.t.Helper()
	p := v.start(args...)
	return p.wait()
}

// must runs the program and fails the test unless it ends with code.
func (v vault) must(code int, args ...string) outcome {
	v.t.Helper()
	o := v.run(args...)
	if o.code != code {
		v.t.Fatalf("holdfast %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), o.code, code, o.out, o.err)
	}
	return o
}

// running is a program that was started.
type running struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err words
}

// words are what a program has said so far. Safe for concurrent use.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// start starts the program; it is killed with the test.
func (v vault) start(args ...string) *running {
	v.t.Helper()
	p := &running{t: v.t, cmd: v.command(args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	return p
}

func (p *running) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// ended tells whether the program is over, whether it was waited for or not.
func (p *running) ended() bool { return over(p.cmd) }

// over tells whether a process that was started has ended.
func over(cmd *exec.Cmd) bool {
	return strings.Trim(threads(cmd.Process.Pid), "ZX") == ""
}

// threads are the states of a process's threads, a letter each.
func threads(pid int) (states string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, f := range files {
		stat, err := os.ReadFile(f)
		if i := bytes.LastIndex(stat, []byte(") ")); err == nil && i > 0 {
			states += string(stat[i+2])
		}
	}
	return states
}

// stop has the program stop until it is told to go on. It does nothing any more when this returns,
// which is false if it had ended.
func (p *running) stop() bool {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	eventually(p.t, "the program stands still", func() bool {
		return strings.Trim(threads(p.cmd.Process.Pid), "TZX") == ""
	})
	return !p.ended()
}

// wait returns the outcome; the code of a program that was killed is -1. One that hangs ends in the end, and says where
// it hung.
func (p *running) wait() outcome {
	p.t.Helper()
	late := time.AfterFunc(10*time.Minute, func() {
		p.cmd.Process.Signal(syscall.SIGQUIT)
		p.cmd.Process.Signal(syscall.SIGCONT)
	})
	defer late.Stop()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, context.Canceled) { // at the test's end it may have ended by itself just before
		p.t.Fatal(err)
	}
	return outcome{p.out.String(), p.err.String(), p.cmd.ProcessState.ExitCode()}
}

func (p *running) expect(code int) outcome {
	p.t.Helper()
	o := p.wait()
	if o.code != code {
		p.t.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(p.cmd.Args, " "), o.code, code, o.out, o.err)
	}
	return o
}

// point is what the tests read of a listing.
type point struct {
	ID      string `json:"id"`
	Machine string `json:"machine"`
	Seq     int    `json:"seq"`
	Sizes   struct {
		Logical, Protected, Changed, Stored, Read int64
	} `json:"sizes"`
}

// points lists the vault, or one machine.
func (v vault) points(machine ...string) []point {
	v.t.Helper()
	o := v.must(0, append([]string{"points", "--json"}, machine...)...)
	var list []point
	if err := json.Unmarshal([]byte(o.out), &list); err != nil {
		v.t.Fatalf("points --json: %v: %s", err, o.out)
	}
	return list
}

// backup backs one disk up as vda of a machine.
func (v vault) backup(machine, image string, more ...string) outcome {
	v.t.Helper()
	return v.must(0, append([]string{"backup", machine, "--disk", "vda=" + image}, more...)...)
}

// restored restores vda of a point and returns the hash of the file.
func (v vault) restored(machine, ref string) string {
	v.t.Helper()
	target := filepath.Join(v.t.TempDir(), "restored.raw")
	v.must(0, "restore", machine+"@"+ref, "--to", target)
	defer os.Remove(target)
	return hashFile(v.t, target)
}

// mounted starts the mount and waits until it shows something.
func (v vault) mounted() (at string, p *running) {
	v.t.Helper()
	needFUSE(v.t)
	at = filepath.Join(v.t.TempDir(), "mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		v.t.Fatal(err)
	}
	p = v.start("mount", at)
	v.t.Cleanup(func() {
		p.signal(syscall.SIGINT)
		if p.cmd.ProcessState == nil {
			p.wait()
		}
		exec.Command("fusermount3", "-u", "-z", "-q", at).Run() // only after a failure there is something to do
	})
	eventually(v.t, "the mount shows points", func() bool {
		if p.ended() {
			v.t.Fatalf("the mount has ended: %s", p.wait().err)
		}
		names, err := os.ReadDir(at)
		return err == nil && len(names) > 0
	})
	return at, p
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !so(); time.Sleep(5 * time.Millisecond) { // a guest without KVM, on a machine that others use, too
		if time.Now().After(deadline) {
			t.Fatalf("waited five minutes in vain until %s", what)
		}
	}
}
