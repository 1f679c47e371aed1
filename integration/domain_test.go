package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// ownLibvirt says, in the environment, that the process has its own view of libvirt's folders,
// and names a folder for the rest.
const ownLibvirt = "HOLDFAST_OWN_LIBVIRT"

// inOwnLibvirt runs the rest of a test in a mount namespace where libvirt's folders are
// empty, with a libvirtd of its own; the host's is not touched. It returns false in the
// process outside, where all has been done.
func inOwnLibvirt(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownLibvirt) != "" {
		startLibvirt(t)
		return true
	}
	needs.Root(t)
	needs.Tools(t, "unshare", "mount", "virsh", "libvirtd", "qemu-system-x86_64", "qemu-img", "qemu-nbd")
	folder, err := os.MkdirTemp("/dev/shm", "hfl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
mount -t tmpfs -o mode=755 tmpfs /run
for d in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
	mkdir -p "$0/$d" "$d"
	mount --bind "$0/$d" "$d"
done
[ /var/run -ef /run ] || mount --bind /run /var/run
"$@" # not instead of this shell, which is the namespace's init and reaps what libvirtd waits for
exit $?`
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private",
		"sh", "-c", script, folder, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), ownLibvirt+"="+folder, builtBinary+"="+binary)
	cmd.SysProcAttr = endsWithUs() // and all that is in there with it
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return false
}

// startLibvirt starts libvirtd, which ends with the test.
func startLibvirt(t *testing.T) {
	t.Helper()
	const conf = "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nremember_owner = 0\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = \"file\"\n"
	for name, text := range map[string]string{"qemu.conf": conf, "libvirtd.conf": "auth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n"} {
		if err := os.WriteFile(filepath.Join("/etc/libvirt", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("libvirtd", "-f", "/etc/libvirt/libvirtd.conf")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(t.TempDir(), "libvirtd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	said := func() string {
		b, _ := os.ReadFile(log.Name())
		return string(b)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	eventually(t, "libvirtd listens", func() bool {
		if over(cmd) {
			t.Fatalf("libvirtd has ended: %s", said())
		}
		_, err := os.Stat("/run/libvirt/libvirt-sock")
		return err == nil
	})
	// It asks every emulator of the host what it can do before it answers.
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := virsh("version")
		if err == nil {
			return
		}
		if over(cmd) || time.Now().After(end) {
			t.Fatalf("libvirtd does not answer: %s%s", out, said())
		}
	}
}

// domain is a domain without a guest, with vda (qcow2) and vdb (raw).
type domain struct {
	t            *testing.T
	name, folder string
}

func newDomain(t *testing.T, name string) *domain {
	t.Helper()
	d := &domain{t, name, t.TempDir()}
	for disk, format := range map[string]string{"vda": "qcow2", "vdb": "raw"} {
		if out, err := exec.Command("qemu-img", "create", "-q", "-f", format, filepath.Join(d.folder, disk), "64M").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	d.define("")
	t.Cleanup(func() { virsh("destroy", "--domain="+d.name) })
	d.virsh("start", "--domain="+name)
	d.write("vda", 1, 0, "8M")
	d.write("vdb", 2, 1<<20, "4M")
	return d
}

// define gives the domain a definition; uuid may be "".
func (d *domain) define(uuid string) {
	d.t.Helper()
	if uuid != "" {
		uuid = "<uuid>" + uuid + "</uuid>"
	}
	text := `<domain type='qemu'><name>` + d.name + `</name>` + uuid + `<memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<cpu mode='custom' match='exact'><model>qemu64</model></cpu><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='DIR/vda'/><target dev='vda' bus='virtio'/><serial>ser-a</serial></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/vdb'/><target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`
	file := filepath.Join(d.folder, "domain.xml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", d.folder)), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.virsh("define", "--file="+file)
}

func (d *domain) virsh(args ...string) string {
	d.t.Helper()
	out, err := virsh(args...)
	if err != nil {
		d.t.Fatalf("virsh %v: %v: %s", args, err, out)
	}
	return out
}

func virsh(args ...string) (string, error) {
	out, err := exec.Command("virsh", append([]string{"-q"}, args...)...).CombinedOutput()
	return string(out), err
}

// write writes to a disk as a guest does, whatever libvirt calls it in QEMU.
func (d *domain) write(disk string, value byte, off int64, length string) {
	d.t.Helper()
	said := d.io(disk, fmt.Sprintf("write -P %d %d %s", value, off, length))
	if strings.TrimSpace(said) != "" {
		d.t.Fatalf("write to %s: %s", disk, said)
	}
}

// io has QEMU do something to a disk by way of its device.
func (d *domain) io(disk, command string) string {
	device := map[string]string{"vda": "virtio-disk0", "vdb": "virtio-disk1"}[disk]
	return d.virsh("qemu-monitor-command", "--domain="+d.name, "--hmp", fmt.Sprintf("qemu-io -d /machine/peripheral/%s/virtio-backend \"%s\"", device, command))
}

func (d *domain) content(disk string) string {
	d.t.Helper()
	raw := filepath.Join(d.folder, disk+".now")
	defer os.Remove(raw)
	format := map[string]string{"vda": "qcow2", "vdb": "raw"}[disk]
	if strings.TrimSpace(d.virsh("domstate", "--domain="+d.name)) == "running" {
		d.io(disk, "flush")
	}
	if out, err := exec.Command("qemu-img", "convert", "-U", "-f", format, "-O", "raw", filepath.Join(d.folder, disk), raw).CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	return hashFile(d.t, raw)
}

// backUp makes a point and compares each of its disks with what the domain's holds.
func (d *domain) backUp(v vault, code int, flags ...string) *outcomeOf {
	d.t.Helper()
	o := v.must(code, append([]string{"backup", "web-1", "--json", "--min-free", "none"}, flags...)...)
	var r outcomeOf
	if err := json.Unmarshal([]byte(o.out), &r); err != nil {
		d.t.Fatal(err)
	}
	for _, disk := range r.Point.Disks {
		target := filepath.Join(d.t.TempDir(), disk.Name+".raw")
		v.must(0, "restore", "web-1@"+r.Point.ID, "--disk", disk.Name+"="+target)
		if hashFile(d.t, target) != d.content(disk.Name) {
			d.t.Errorf("disk %s of point %s differs from what the domain has (%s)", disk.Name, r.Point.ID, r.modes())
		}
	}
	return &r
}

func TestADomainIsBackedUpByNameOnAndOff(t *testing.T) {
	if !inOwnLibvirt(t) {
		return
	}
	d, v := newDomain(t, "web 1"), newVault(t)
	if o := v.must(0, "discover"); !strings.Contains(o.out, "web 1") || !strings.Contains(o.err, "holdfast protect web-1 --libvirt") {
		t.Errorf("discover: %s%s", o.out, o.err)
	}
	if o := v.must(0, "protect", "--libvirt", "qemu:///system/web 1"); !strings.Contains(o.out, "machine web-1 is protected") || !strings.Contains(o.out, "crash") {
		t.Errorf("protect: %s", o.out)
	}
	if r := d.backUp(v, 0); r.modes() != "vda scan, vdb scan" || len(r.Point.LeftOut) != 1 {
		t.Errorf("the first point: %s, %v", r.modes(), r.Point.LeftOut)
	}
	d.write("vda", 3, 9<<20, "64k")
	d.write("vdb", 4, 0, "64k")
	if r := d.backUp(v, 0); r.modes() != "vda bitmap, vdb scan" || r.Point.Sizes.Changed != 2*64<<10 {
		t.Errorf("the second point: %s, %+v", r.modes(), r.Point)
	}
	if o := v.must(0, "point", "show", "web-1@latest"); !strings.Contains(o.out, "domain.xml") {
		t.Errorf("the point: %s", o.out)
	}
	if list := d.virsh("checkpoint-list", "--domain=web 1", "--name"); strings.Count(list, "hf-") != 1 {
		t.Errorf("checkpoints: %s", list)
	}
	v.must(0, "doctor", "web-1")

	d.virsh("destroy", "--domain=web 1") // QEMU ends in good order, and saves its bitmaps
	if r := d.backUp(v, 0); r.modes() != "vda bitmap, vdb " {
		t.Errorf("while it is off: %s", r.modes())
	}
	d.virsh("start", "--domain=web 1")
	d.write("vda", 6, 14<<20, "64k")
	if r := d.backUp(v, 0); r.modes() != "vda bitmap, vdb scan" {
		t.Errorf("on again: %s", r.modes())
	}
	d.write("vda", 5, 12<<20, "64k")
	if r := d.backUp(v, 0); r.modes() != "vda bitmap, vdb scan" {
		t.Errorf("and then: %s", r.modes())
	}
	if o := v.must(0, "machines"); !strings.Contains(o.out, "running") {
		t.Errorf("machines: %s", o.out)
	}
	d.virsh("destroy", "--domain=web 1")
	if o := v.must(0, "unprotect", "web-1"); !strings.Contains(o.out, "removed from the VM: ") {
		t.Errorf("unprotect: %s", o.out)
	}
	d.virsh("undefine", "--domain=web 1") // refused where checkpoints are left
}

func TestADomainThatWasReplacedOrIsGoneIsToldApart(t *testing.T) {
	if !inOwnLibvirt(t) {
		return
	}
	d, v := newDomain(t, "web-1"), newVault(t)
	v.must(0, "protect", "web-1", "--libvirt", "web-1")
	d.backUp(v, 0)
	d.virsh("destroy", "--domain=web-1")
	d.virsh("domrename", "--domain=web-1", "web-9")
	if o := v.must(0, "backup", "web-1", "--min-free", "none"); !strings.Contains(o.err, `is called "web-9" now`) {
		t.Errorf("a domain that was renamed: %s", o.err)
	}
	d.virsh("undefine", "--domain=web-9", "--checkpoints-metadata")
	if o := v.must(6, "backup", "web-1", "--min-free", "none"); !strings.Contains(o.err, "migrated?") {
		t.Errorf("a domain that is gone: %s", o.err)
	}
	if o := v.must(0, "machines"); !strings.Contains(o.out, "GONE (migrated?)") {
		t.Errorf("machines: %s", o.out)
	}
	d.name = "web-9"
	d.define("11111111-8e44-4d0a-9a5c-0123456789ab")
	if o := v.must(8, "backup", "web-1", "--min-free", "none"); !strings.Contains(o.err, "--new-vm") {
		t.Errorf("another domain of its name: %s", o.err)
	}
	v.must(0, "unprotect", "web-1")
	d.virsh("undefine", "--domain=web-9")
}
