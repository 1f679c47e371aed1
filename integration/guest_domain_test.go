package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
)

// newGuestDomain starts the test guest as a domain of libvirt, and waits until it writes on both disks.
func newGuestDomain(t *testing.T, name string) *domain {
	t.Helper()
	files := guest.Get(t)
	d := &domain{t, name, t.TempDir()}
	guest.NewRoot(t, d.folder+"/root.qcow2")
	guest.NewData(t, d.folder+"/data.raw")
	text := `<domain type='qemu'><name>` + name + `</name><memory unit='MiB'>512</memory>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>` + files.Kernel + `</kernel><initrd>` + files.Initrd + `</initrd><cmdline>` + guest.Append + `</cmdline></os>
<features><acpi/></features><cpu mode='custom' match='exact'><model>qemu64</model></cpu><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='DIR/root.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/data.raw'/><target dev='vdb' bus='virtio'/></disk>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`
	file := d.folder + "/domain.xml"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", d.folder)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.virsh("define", "--file="+file)
	t.Cleanup(func() { virsh("destroy", "--domain="+name) })
	d.virsh("start", "--domain="+name)
	waitAgent(t, name)
	return d
}

// waitAgent waits until the agent of a domain tells of both file systems, and the guest's writer
// has had a moment to write.
func waitAgent(t *testing.T, name string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if out, err := virsh("domfsinfo", "--domain="+name); err == nil && strings.Contains(out, "/data") {
			time.Sleep(3 * time.Second)
			return
		}
	}
	t.Fatalf("the agent of domain %s does not answer", name)
}

// TestAGuestOfLibvirtComesBackUnderANewNameAndAnswers is the bad day of a whole machine: it is backed up
// while it runs and writes, lost, and made again beside what is left of it.
func TestAGuestOfLibvirtComesBackUnderANewNameAndAnswers(t *testing.T) {
	if !inOwnLibvirt(t) {
		return
	}
	d, v := newGuestDomain(t, "guest one"), newVault(t)
	if o := v.must(0, "protect", "--libvirt", "guest one"); !strings.Contains(o.out, "filesystem") {
		t.Errorf("protect: %s", o.out)
	}
	v.must(0, "backup", "guest-one", "--min-free", "none")
	v.must(0, "backup", "guest-one", "--min-free", "none")
	if p := v.newest("guest-one"); p.Consistency != "filesystem" || p.Disks[0].Mode != "bitmap" {
		t.Errorf("the second point is %+v", p)
	}
	d.virsh("destroy", "--domain=guest one")

	folder := filepath.Join(t.TempDir(), "back")
	v.must(0, "restore", "guest-one@latest", "--to", folder+"/", "--define", "--name", "guest two", "--new-macs", "--start")
	t.Cleanup(func() { virsh("destroy", "--domain=guest two") })
	waitAgent(t, "guest two")
	d.virsh("destroy", "--domain=guest two")

	raw := filepath.Join(t.TempDir(), "root.raw")
	tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", folder+"/vda.qcow2", raw)
	guest.Examine(t, raw, folder+"/vdb.raw")
}
