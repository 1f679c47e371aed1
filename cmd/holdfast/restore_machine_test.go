package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// keepMachine makes a point of vda.img and vdb.img with configuration, as a backup of a
// protected machine does.
func (y *yard) keepMachine(config map[string]string, left ...blockstore.LeftOut) {
	y.t.Helper()
	o, err := blockstore.Own(y.t.Context(), y.path("vault"), blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		y.t.Fatal(err)
	}
	defer o.Close()
	b, err := o.Begin(y.t.Context(), blockstore.BackupOptions{Machine: "web1", Time: time.Now(), Asked: blockstore.Crash, Reached: blockstore.Crash})
	if err != nil {
		y.t.Fatal(err)
	}
	defer b.Abort()
	for name, format := range map[string]string{"vda": "qcow2", "vdb": "raw"} {
		i, err := image.Open(y.t.Context(), image.Spec{Path: y.path(name + ".img"), Format: "raw"})
		if err != nil {
			y.t.Fatal(err)
		}
		err = b.AddDisk(y.t.Context(), blockstore.DiskInfo{Name: name, Format: format, Source: "/vms/" + name + ".img", LogicalSector: 512}, i, nil)
		if err := errors.Join(err, i.Close()); err != nil {
			y.t.Fatal(err)
		}
	}
	for _, l := range left {
		b.LeaveOut(l)
	}
	for name, text := range config {
		if err := b.AddConfig(name, []byte(text)); err != nil {
			y.t.Fatal(err)
		}
	}
	if _, err := b.Commit(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
}

const yardDomain = `<domain type='qemu'><name>web1</name><uuid>0b51cb1f-1f0b-4f1e-9d56-6b5f0a5c6a01</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><cpu mode='custom' match='exact'><model>qemu64</model></cpu>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/vms/vda.img'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/vms/vdb.img'/><target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/isos/gone.iso'/><target dev='hdc' bus='ide'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/></interface>
NETWORK<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`

const libvirtInside = "HOLDFAST_RESTORE_LIBVIRT"

// TestAMachineOfLibvirtComesBack runs in a mount namespace in which a libvirtd of its own has the
// usual folders.
func TestAMachineOfLibvirtComesBack(t *testing.T) {
	if os.Getenv(libvirtInside) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can start a libvirtd")
		}
		needs.Tools(t, "libvirtd", "virsh", "qemu-system-x86_64", "unshare", "qemu-img", "qemu-nbd")
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		script := `set -e
mkdir -p "$0/run"
mount -t tmpfs -o mode=755 tmpfs /run
for d in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do mkdir -p "$0/$d" "$d"; mount --bind "$0/$d" "$d"; done
[ /var/run -ef /run ] || mount --bind /run /var/run
"$@" # not instead of this shell, which is the namespace's init: all processes in there end with it
exit $?`
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private", "sh", "-c", script, dir,
			os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "120s")
		cmd.Env = append(os.Environ(), libvirtInside+"="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	startLibvirtd(t)
	y := newYard(t)
	y.keepMachine(map[string]string{"domain.xml": strings.Replace(yardDomain, "NETWORK", "", 1)}, blockstore.LeftOut{Name: "hdc", Reason: "a CD-ROM"})
	folder := y.path("copy")
	o := y.must(exitDone, "restore", "web1@latest", "--to", folder+"/", "--define", "--name", "copy 1", "--new-macs", "--dry-run")
	o.says(t, "would make domain copy 1")
	o.says(t, "hdc is not in the point (a CD-ROM): the machine is made without it")
	if _, err := os.Stat(folder); err == nil {
		t.Error("a dry run wrote something")
	}
	o = y.must(exitDone, "restore", "web1@latest", "--to", folder+"/", "--define", "--name", "copy 1", "--new-macs", "--start", "--json")
	var said api.Restore
	if err := json.Unmarshal([]byte(o.out), &said); err != nil || said.Made == nil || !said.Made.Defined || !said.Made.Started {
		t.Fatalf("%v: %s", err, o.out)
	}
	defer virsh(t, "destroy", said.Made.UUID)
	if state := virsh(t, "domstate", "copy 1"); state != "running" {
		t.Errorf("the copy is %s", state)
	}
	text := virsh(t, "dumpxml", "--inactive", said.Made.UUID)
	for _, want := range []string{filepath.Join(folder, "vda.qcow2"), filepath.Join(folder, "vdb.raw")} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "52:54:00:11:22:33") || strings.Contains(text, "gone.iso") || said.Made.UUID == "0b51cb1f-1f0b-4f1e-9d56-6b5f0a5c6a01" {
		t.Errorf("the copy is too much the same:\n%s", text)
	}
	y.must(exitFailed, "restore", "web1@latest", "--to", y.path("again")+"/", "--define", "--name", "copy 1").says(t, "libvirt knows a machine copy 1 already")

	// Its own name is free; the disks go where they are told to.
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda="+y.path("a.qcow2"), "--disk", "vdb="+y.path("b.raw"), "--define").says(t, "virsh start 0b51cb1f")
	if list := virsh(t, "domblklist", "web1"); !strings.Contains(list, y.path("a.qcow2")) || !strings.Contains(list, y.path("b.raw")) {
		t.Error(list)
	}
	y.must(exitFailed, "restore", "web1@latest", "--to", y.path("again")+"/", "--define").says(t, "--in-place")
	virsh(t, "undefine", "web1")

	// Rolled back in place, and kept from starting meanwhile only.
	y.must(exitBusy, "restore", "web1@latest", "--in-place", "--yes", "--disk", "vda="+filepath.Join(folder, "vda.qcow2")).says(t, "shut the machine down first")

	y.keepMachine(map[string]string{"domain.xml": strings.Replace(yardDomain, "NETWORK", "<interface type='network'><source network='gone-net'/></interface>", 1)})
	y.must(exitWarnings, "restore", "web1@latest", "--to", y.path("again")+"/", "--define", "--dry-run").says(t, "gone-net")
	y.must(exitFailed, "restore", "web1@latest", "--to", y.path("again")+"/", "--define", "--start").says(t, "would not start here")
	if _, err := os.Stat(y.path("again")); err == nil {
		t.Error("something was written for a machine that would not start")
	}
}

func virsh(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("virsh", append([]string{"-q", "-c", "qemu:///system"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("virsh %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func startLibvirtd(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{
		"qemu.conf":     "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nremember_owner = 0\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = \"file\"\n",
		"libvirtd.conf": "auth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n",
	} {
		if err := os.WriteFile(filepath.Join("/etc/libvirt", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said := new(pot)
	cmd := exec.Command("libvirtd", "-f", "/etc/libvirt/libvirtd.conf")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	// It asks every emulator of the host what it can do before it answers.
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if exec.Command("virsh", "-q", "-c", "qemu:///system", "version").Run() == nil {
			return
		}
	}
	t.Fatalf("libvirtd does not answer: %s", said)
}

func TestAMachineOfPlainQEMUComesBackAsAScript(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-system-x86_64", "qemu-img")
	y := newYard(t)
	socket := y.path("qmp")
	y.keepMachine(map[string]string{"qemu-command-line": strings.Join([]string{"qemu-system-x86_64", "-name", "web1", "-machine", "pc,accel=tcg", "-m", "32", "-nodefaults", "-display", "none",
		"-drive", "file=/vms/vda.img,if=virtio,format=qcow2", "-drive", "file=/vms/vdb.img,if=virtio,format=raw", "-qmp", "unix:" + socket + ",server=on,wait=off", ""}, "\n"), "machine.json": "{}"})
	folder := y.path("folder, with 'quotes'")
	o := y.must(exitDone, "restore", "web1@latest", "--to", folder+"/", "--quiet")
	o.says(t, "make it with\n  sh '")
	_, command, _ := strings.Cut(o.out, "make it with\n  ")
	command, _, _ = strings.Cut(command, "\n")
	cmd := exec.Command("sh", "-c", command)
	said := new(pot)
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.SetDeadline(deadline)
			_, err := io.ReadFull(conn, make([]byte, 1)) // it greets once its disks are open
			conn.Close()
			if err == nil {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the machine does not run: %s", said)
		}
	}
	y.must(exitUsage, "restore", "web1@latest", "--to", y.path("x")+"/", "--define").says(t, "no domain of libvirt")
	y.must(exitUsage, "restore", "web1@"+y.points[0].ID, "--to", y.path("x")+"/", "--define").says(t, "holds no definition of the machine, only its disks\nhint: the newest point that holds one is web1@p")
	y.must(exitDone, "restore", "web1@"+y.points[0].ID, "--to", y.path("disks")+"/", "--quiet").says(t, "the newest that does is web1@p")
}

func TestADiskGoesToAnExportOfAnotherServer(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-nbd", "qemu-img")
	y := newYard(t)
	for _, format := range []string{"raw", "qcow2"} {
		target, socket := y.path("target."+format), y.path(format+".s")
		if out, err := exec.Command("qemu-img", "create", "-q", "-f", format, target, "8M").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd := exec.Command("qemu-nbd", "-t", "-f", format, "-x", "disk", "-k", socket, target)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if conn, err := net.Dial("unix", socket); err == nil {
				conn.Close()
				break
			}
		}
		uri := "nbd+unix:///disk?socket=" + socket
		y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", uri, "--verify").says(t, ", verified)")
		y.must(exitFailed, "restore", "web1@latest", "--disk", "vda=nbd:"+uri).says(t, "--force")
		y.must(exitDone, "restore", "web1@"+y.points[0].ID, "--disk", "vda=nbd:"+uri, "--force")
		o := y.must(exitUsage, "restore", "web1@latest", "--in-place", "--yes", "--disk", "vda="+uri)
		o.says(t, "--no-safety-point")
		y.must(exitDone, "restore", "web1@latest", "--in-place", "--yes", "--no-safety-point", "--disk", "vda="+uri)
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		raw := y.path("out." + format)
		if out, err := exec.Command("qemu-img", "convert", "-f", format, "-O", "raw", target, raw).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := append(bytes.Clone(y.vda[1]), make([]byte, 8<<20-len(y.vda[1]))...)
		y.holds("out."+format, want)
	}
	y.must(exitFailed, "restore", "web1@latest", "--disk", "vda", "--to", "nbds://host/x").says(t, "TLS")
	y.must(exitFailed, "restore", "web1@latest", "--disk", "vda", "--to", "nbd://127.0.0.1:1/x").says(t, "refused")
}

// A file of that name in the folder where the command is run may be another machine's.
func TestAnImageOfWhichTheFolderIsNotKnownIsNotTakenBack(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{"web1.qcow2": "say --disk vda=/FOLDER/web1.qcow2", "": "say --disk vda=IMAGE"} {
		_, err := placeOf(blockstore.DiskInfo{Name: "vda", Source: source}, "")
		if _, f := explain(err); err == nil || !strings.Contains(f, want) {
			t.Errorf("%q: %v", source, err)
		}
	}
	if at, err := placeOf(blockstore.DiskInfo{Name: "vda", Source: "web1.qcow2"}, "here.qcow2"); err != nil || at.Path != "here.qcow2" {
		t.Errorf("one that is named: %+v, %v", at, err)
	}
}

func TestInPlaceIsConfirmedAndContradictionsAreRefused(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitUsage, "restore", "web1@latest", "--in-place").says(t, "--yes confirms it")
	y.must(exitUsage, "restore", "web1@latest", "--in-place", "--to", "x").says(t, "exclude each other")
	y.must(exitUsage, "restore", "web1@latest", "--in-place", "--define").says(t, "--in-place leaves the machine as it is")
	y.must(exitUsage, "restore", "web1@latest", "--to", "x", "--no-safety-point").says(t, "belongs to --in-place")
	y.must(exitUsage, "restore", "web1@latest", "--to", "x/", "--start").says(t, "belongs to --define")
	y.write("vda.img", y.vda[0])
	o := y.must(exitDone, "restore", "web1@latest", "--in-place", "--yes", "--min-free=none")
	o.says(t, "kept what is there now as web1@")
	o.says(t, "what was there before is web1@p")
	y.holds("vda.img", y.vda[1])
	if n := len(y.list()); n != 3 {
		t.Errorf("%d points", n)
	}
	if err := os.Remove(y.path("vdb.img")); err != nil {
		t.Fatal(err)
	}
	y.must(exitNotFound, "restore", "web1@latest", "--in-place", "--yes").says(t, "--disk vdb=IMAGE")
	y.must(exitWarnings, "restore", "web1@"+y.points[0].ID, "--in-place", "--yes", "--min-free=none", "--disk", "vda").says(t, "disk vdb is not in the point of the present state")
	y.holds("vda.img", y.vda[0])
}
