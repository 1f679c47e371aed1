package libvirt

import (
	"context"
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

var daemon struct {
	sync.Mutex
	cmd *exec.Cmd
}

// host is a connection to a libvirtd of the tests' own.
func host(t testing.TB) *Host {
	t.Helper()
	if os.Getenv(inside) == "" {
		needs.Missing(t, "needs root, libvirtd, virsh, QEMU and unshare")
	}
	startDaemon(t)
	h, err := Connect(ctx(t), "qemu:///system")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // cleanups use it, too
	t.Cleanup(cancel)
	return c
}

const qemuConf = `user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
`

// startDaemon starts libvirtd unless it runs, and waits until it answers.
func startDaemon(t testing.TB) {
	t.Helper()
	daemon.Lock()
	defer daemon.Unlock()
	if daemon.cmd != nil {
		return
	}
	for name, text := range map[string]string{"qemu.conf": qemuConf, "libvirtd.conf": "auth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n"} {
		if err := os.WriteFile(filepath.Join("/etc/libvirt", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(os.Getenv(inside), "libvirtd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("libvirtd", "-f", "/etc/libvirt/libvirtd.conf")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	daemon.cmd = cmd
	// It asks every emulator of the host what it can do before it answers.
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if exec.Command("virsh", "-q", "-c", "qemu:///system", "version").Run() == nil {
			return
		}
	}
	text, _ := os.ReadFile(log.Name())
	t.Fatalf("libvirtd does not answer:\n%s", text)
}

// stopDaemon ends libvirtd; domains go on.
func stopDaemon() {
	daemon.Lock()
	defer daemon.Unlock()
	if daemon.cmd != nil {
		daemon.cmd.Process.Signal(syscall.SIGTERM)
		daemon.cmd.Wait()
		daemon.cmd = nil
	}
}

// vm is a domain without a guest: its firmware finds nothing to boot.
type vm struct {
	*Domain
	t    testing.TB
	dir  string
	runs bool
}

type vmOptions struct {
	name    string // empty: one of the test's name
	disks   string // XML of disks; empty: vda (qcow2) and vdb (raw)
	devices string // more XML
	top     string // XML beside devices
	off     bool
	runs    bool // its firmware runs; else its processor is stopped, which saves time
}

const diskSize = 64 << 20

// define makes a domain with disks of 64 MiB and starts it.
func define(t testing.TB, o vmOptions) *vm {
	t.Helper()
	h := host(t)
	v := &vm{t: t, dir: t.TempDir(), runs: o.runs}
	if o.name == "" {
		o.name = strings.ReplaceAll(t.Name(), "/", "-")
	}
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", v.file("vda.qcow2"), "64M")
	run(t, "qemu-img", "create", "-q", "-f", "raw", v.file("vdb.raw"), "64M")
	if o.disks == "" {
		o.disks = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='DIR/vda.qcow2'/><target dev='vda' bus='virtio'/><serial>ser-a</serial></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/vdb.raw'/><target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>`
	}
	memory, cpu := "32", "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"
	if strings.Contains(o.top, "<os>") { // a real guest
		memory, cpu = "512", "<cpu mode='maximum'/>"
	} else {
		o.top += "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
	}
	text := `<domain type='qemu'><name>` + inText.Replace(o.name) + `</name><memory unit='MiB'>` + memory + `</memory><vcpu>1</vcpu>` + o.top + cpu + `
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>` + o.disks + o.devices + `<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`
	d, err := h.Define(ctx(t), strings.ReplaceAll(text, "DIR", v.dir))
	if err != nil {
		t.Fatal(err)
	}
	v.Domain = d
	t.Cleanup(v.remove)
	if !o.off {
		v.start()
	}
	return v
}

func (v *vm) file(name string) string { return filepath.Join(v.dir, name) }

func (v *vm) start() {
	v.t.Helper()
	var err error
	if v.runs {
		err = v.Start(ctx(v.t))
	} else {
		_, err = v.virsh(ctx(v.t), "start", "--paused")
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *vm) remove() {
	c, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	startDaemon(v.t)
	v.Stop(c)
	if err := v.Undefine(c, false); err != nil {
		v.t.Error(err)
	}
}

// kill ends QEMU as a lack of memory would, and waits until libvirt has seen it.
func (v *vm) kill() {
	v.t.Helper()
	pid := v.pid()
	if pid == 0 {
		v.t.Fatal("QEMU's process is not known")
	}
	syscall.Kill(pid, syscall.SIGKILL)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s, _, err := v.State(ctx(v.t)); err == nil && !s.Active() {
			return
		}
	}
	v.t.Fatal("libvirt does not see that QEMU is gone")
}

// io writes to a disk as the guest would, by a command of qemu-io.
func (v *vm) io(disk, command string) {
	v.t.Helper()
	disks, err := v.Disks(ctx(v.t))
	if err != nil {
		v.t.Fatal(err)
	}
	for _, d := range disks {
		if d.Name != disk {
			continue
		}
		out, err := v.virsh(ctx(v.t), "qemu-monitor-command", "--hmp", "--cmd",
			fmt.Sprintf(`qemu-io -d /machine/peripheral/%s/virtio-backend "%s"`, d.Alias, command))
		if err != nil || strings.TrimSpace(out) != "" {
			v.t.Fatalf("qemu-io: %v %s", err, out)
		}
		return
	}
	v.t.Fatalf("no disk %s", disk)
}

// run runs a tool and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
