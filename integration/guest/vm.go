package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// Options of Start. The zero value starts a guest with new disks.
type Options struct {
	Root, Data string   // images; empty: new ones, root.qcow2 (an independent copy) and data.raw (256 MiB) in Dir
	Dir        string   // where disks, sockets and the console's log lie; empty: a new folder of the test
	Name       string   // of the VM; empty: guest
	Args       []string // more arguments for QEMU
	NoAgent    bool     // without the agent's channel
}

// VM is a running guest.
type VM struct {
	Dir        string
	Root, Data string // images; the first is qcow2 unless Options named another, the second raw
	QMP, QGA   string // sockets; each serves one client at a time
	Console    string // log of the guest's console
	Command    *exec.Cmd
	done       chan struct{}
}

// Start starts a guest; it is killed when the test ends. Its agent answers later:
// WaitAgent.
func Start(t testing.TB, o Options) *VM {
	t.Helper()
	needs.Tools(t, "qemu-system-x86_64")
	files := Get(t)
	if o.Dir == "" {
		o.Dir = socketDir(t)
	}
	v := &VM{Dir: o.Dir, Root: o.Root, Data: o.Data, QMP: o.Dir + "/qmp", QGA: o.Dir + "/qga", Console: o.Dir + "/console",
		done: make(chan struct{})}
	if v.Root == "" {
		v.Root = o.Dir + "/root.qcow2"
		NewRoot(t, v.Root)
	}
	if v.Data == "" {
		v.Data = o.Dir + "/data.raw"
		NewData(t, v.Data)
	}
	v.Command = exec.Command("qemu-system-x86_64", v.arguments(files, o)...)
	v.Command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(o.Dir + "/qemu.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v.Command.Stdout, v.Command.Stderr = log, log
	if err := v.Command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { v.Command.Wait(); close(v.done) }()
	t.Cleanup(v.Kill)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(v.QMP); err == nil {
			return v
		}
		if time.Now().After(end) || !v.Running() {
			b, _ := os.ReadFile(log.Name())
			t.Fatalf("qemu does not start: %s", b)
		}
	}
}

// Arguments of QEMU for kernel and root file system, which other ways to start the guest use as well.
const Append = "root=LABEL=hfroot rw console=ttyS0 quiet mitigations=off no_timer_check"

func (v *VM) arguments(f Files, o Options) []string {
	name := o.Name
	if name == "" {
		name = "guest"
	}
	a := []string{"-name", name, "-accel", "tcg", "-M", "pc", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none",
		"-kernel", f.Kernel, "-initrd", f.Initrd, "-append", Append,
		"-drive", "if=virtio,file=" + v.Root + ",format=" + formatOf(v.Root), "-drive", "if=virtio,file=" + v.Data + ",format=" + formatOf(v.Data),
		"-serial", "file:" + v.Console, "-qmp", "unix:" + v.QMP + ",server=on,wait=off"}
	if !o.NoAgent {
		a = append(a, "-chardev", "socket,path="+v.QGA+",server=on,wait=off,id=qga0", "-device", "virtio-serial",
			"-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")
	}
	return append(a, o.Args...)
}

func formatOf(path string) string {
	if strings.HasSuffix(path, ".qcow2") {
		return "qcow2"
	}
	return "raw"
}

// NewRoot makes a qcow2 image of the root file system at path that depends on no other file.
func NewRoot(t testing.TB, path string) {
	t.Helper()
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", Get(t).Root, path)
}

// NewData makes the second disk at path, raw, 256 MiB, with an empty file system.
func NewData(t testing.TB, path string) {
	t.Helper()
	run(t, "truncate", "-s", "256M", path)
	run(t, "mkfs.ext4", "-q", "-L", "hfdata", path)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(needs.Tool(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// socketDir is a folder of the test whose name is short enough for sockets in it.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hfguest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Kill ends QEMU at once, as a crash does, and waits for its end.
func (v *VM) Kill() {
	v.Command.Process.Kill()
	<-v.done
}

// Running tells whether QEMU has not ended.
func (v *VM) Running() bool {
	select {
	case <-v.done:
		return false
	default:
		return true
	}
}

// WaitAgent waits until the agent answers, and fails the test when it does not within five
// minutes.
func (v *VM) WaitAgent(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end) && v.Running(); time.Sleep(300 * time.Millisecond) {
		if _, err := v.Agent("guest-ping", nil); err == nil {
			return
		}
	}
	b, _ := os.ReadFile(v.Console)
	t.Fatalf("the guest's agent does not answer; its console ends with\n%s", b[max(0, len(b)-2000):])
}

// Agent sends one command to the guest's agent and returns what it returned. It is
// a client of its own, apart from the one that is tested.
func (v *VM) Agent(command string, args any) (json.RawMessage, error) {
	c, err := net.Dial("unix", v.QGA)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // a guest without KVM, on a machine that others use, too
	if command == "guest-ping" {
		c.SetDeadline(time.Now().Add(2 * time.Second))
	}
	in := bufio.NewReader(c)
	id := time.Now().UnixNano() & 0xffffffff
	fmt.Fprintf(c, "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%d}}\n", id)
	for {
		if _, err := in.ReadBytes(0xff); err != nil {
			return nil, err
		}
		var sync struct{ Return int64 }
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if json.Unmarshal(line, &sync) == nil && sync.Return == id {
			break
		}
	}
	request, err := json.Marshal(map[string]any{"execute": command, "arguments": orEmpty(args)})
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(append(request, '\n')); err != nil {
		return nil, err
	}
	var reply struct {
		Return json.RawMessage
		Error  *struct{ Desc string }
	}
	if err := json.NewDecoder(in).Decode(&reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("%s: %s", command, reply.Error.Desc)
	}
	return reply.Return, nil
}

func orEmpty(args any) any {
	if args == nil {
		return struct{}{}
	}
	return args
}

// Exec runs a shell command in the guest and returns its output; it fails the test when
// the command does.
func (v *VM) Exec(t testing.TB, command string) string {
	t.Helper()
	r, err := v.Agent("guest-exec", map[string]any{"path": "/bin/sh", "arg": []string{"-c", command}, "capture-output": true})
	if err != nil {
		t.Fatal(err)
	}
	var started struct{ PID int }
	if err := json.Unmarshal(r, &started); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		r, err := v.Agent("guest-exec-status", map[string]any{"pid": started.PID})
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			Exited   bool
			ExitCode int
			Out      []byte `json:"out-data"`
			Err      []byte `json:"err-data"`
		}
		if err := json.Unmarshal(r, &status); err != nil {
			t.Fatal(err)
		}
		if status.Exited {
			if status.ExitCode != 0 {
				t.Fatalf("in the guest: %s: exit %d: %s%s", command, status.ExitCode, status.Out, status.Err)
			}
			return string(status.Out)
		}
	}
	t.Fatalf("in the guest: %s does not end", command)
	return ""
}

// Image returns the path of a file beside the guest's disks.
func (v *VM) Image(name string) string { return filepath.Join(v.Dir, name) }
