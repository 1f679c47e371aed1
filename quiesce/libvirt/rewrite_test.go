package libvirt

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const definition = `<!-- kept --><domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>a &amp; b</name>
  <uuid>28961a7b-3c8a-44fd-99bb-a75dcc4ca976</uuid>
  <genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid>
  <metadata><x:y xmlns:x="urn:x" x:z="1 &lt; 2"><!-- note --><![CDATA[a<b]]></x:y></metadata>
  <sysinfo type='smbios'><system><entry name='uuid'>28961a7b-3c8a-44fd-99bb-a75dcc4ca976</entry><entry name='serial'>s</entry></system></sysinfo>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>/fw.fd</loader><nvram template='/t.fd'>/old_VARS.fd</nvram></os>
  <unknown future='yes'><deep/></unknown>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <auth username='u'><secret type='ceph' uuid='11111111-2222-4333-8444-555555555555'/></auth>
      <source protocol='rbd' name='p/i' index='1'><host name='m'/><encryption format='luks'/></source>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
    </disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/b'><seclabel model='dac' relabel='no'/></source><target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
    <interface type='network'><mac address='52:54:00:11:22:33'/><source network='default'/></interface>
    <interface type='bridge'><source bridge='br0'/></interface>
    <channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-7-a/org.qemu.guest_agent.0'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <hostdev type='usb'/><hostdev type='pci'><source/></hostdev>
  </devices>
  <qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>
</domain>`

func TestARewriteChangesWhatItShallAndKeepsAllElse(t *testing.T) {
	out, err := RewriteXML(definition, Rewrite{
		Name: "new <name>", UUID: NewUUID, NewMACs: true, NVRAM: "/n/VARS.fd", Remove: []string{"sda", "hostdev1"},
		Disks:  map[string]NewDisk{"vda": {Path: "/r/it's.raw", Format: "raw"}, "vdb": {NBD: &Server{Socket: "/s"}, Export: "e", Format: "raw"}},
		Random: bytes.NewReader(bytes.Repeat([]byte{0xab}, 100)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<name>new &lt;name&gt;</name>", "<uuid>abababab-abab-4bab-abab-abababababab</uuid>", "<entry name='uuid'>abababab-abab-4bab-abab-abababababab</entry>",
		"<entry name='serial'>s</entry>", "<genid/>", "<nvram template='/t.fd'>/n/VARS.fd</nvram>", "<unknown future='yes'><deep/></unknown>",
		"<x:y xmlns:x='urn:x' x:z='1 &lt; 2'><!-- note -->a&lt;b</x:y>",
		"<disk type='file' device='disk'>\n      <driver name='qemu' type='raw' cache='none' discard='unmap'/>\n      <source file='/r/it&apos;s.raw'/>\n      <target dev='vda' bus='virtio'/>\n      <boot order='1'/>",
		"<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='e'><seclabel model='dac' relabel='no'/><host transport='unix' socket='/s'/></source><target dev='vdb'",
		"<mac address='52:54:00:ab:ab:ab'/><source network='default'/>", "<source bridge='br0'/><mac address='52:54:00:ab:ab:ab'/>",
		"<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>", "<hostdev type='usb'/>",
		"<qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>", "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %s", want)
		}
	}
	for _, gone := range []string{"rbd", "ceph", "sda", "type='pci'", "backingStore", "id='7'", "luks"} {
		if strings.Contains(out, gone) {
			t.Errorf("still has %s", gone)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	same, err := RewriteXML(out, Rewrite{})
	if err != nil || same != out {
		t.Errorf("changing nothing changes it: %v\n%s", err, same)
	}
}

func TestARewriteThatCannotBeDoneIsRefused(t *testing.T) {
	for name, r := range map[string]Rewrite{
		"no such disk":        {Disks: map[string]NewDisk{"vdz": {Path: "/x", Format: "raw"}}},
		"a host device":       {Disks: map[string]NewDisk{"hostdev0": {Path: "/x", Format: "raw"}}},
		"no format":           {Disks: map[string]NewDisk{"vda": {Path: "/x"}}},
		"relative path":       {Disks: map[string]NewDisk{"vda": {Path: "x", Format: "raw"}}},
		"nothing to remove":   {Remove: []string{"hostdev9"}},
		"slash in a name":     {Name: "a/b"},
		"bad uuid":            {UUID: "1"},
		"relative NVRAM":      {NVRAM: "x"},
		"no more randomness":  {UUID: NewUUID, Random: strings.NewReader("x")},
		"no more randomness2": {NewMACs: true, Random: strings.NewReader("x")},
	} {
		if out, err := RewriteXML(definition, r); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	for _, text := range []string{"", "<network/>", "<domain>", "<a></b>", "<domain/><domain/>", strings.Repeat("<a>", 100000), "<domain>" + strings.Repeat(" ", maxXML) + "</domain>",
		`<?xml version="1.0" encoding="utf-16"?><domain/>`, `<!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>`} {
		if _, err := RewriteXML(text, Rewrite{}); err == nil {
			t.Errorf("%.60s is accepted", text)
		}
	}
}

func TestWhatADefinitionNamesIsFound(t *testing.T) {
	root, err := parseXML(definition)
	if err != nil {
		t.Fatal(err)
	}
	disks := disksOf(root)
	var names []string
	for _, d := range disks {
		names = append(names, d.Name+": "+d.LeftOut)
	}
	if got := strings.Join(names, "\n"); got != `vda: 
vdb: 
sda: a CD-ROM drive
hostdev1: a PCI device of the host, passed through: should it be a disk, QEMU does not see its contents` {
		t.Error(got)
	}
	if n := namesIn(root); len(n["network"]) != 1 || n["network"][0] != "default" {
		t.Error(n)
	}
	if s := secretsIn(root); len(s) != 1 || s[0].Type != "ceph" {
		t.Error(s)
	}
	if f := firmwareOf(root, "u", DefaultURI); f.NVRAM != "/old_VARS.fd" || f.TPM != "" {
		t.Error(f)
	}
	tpm, _ := parseXML(`<domain><os><nvram type='file'><source file='/x'/></nvram></os><devices><tpm><backend type='emulator'/></tpm></devices></domain>`)
	if f := firmwareOf(tpm, "u", DefaultURI); f.NVRAM != "/x" || f.TPM != "/var/lib/libvirt/swtpm/u" {
		t.Error(f)
	}
}

func TestARewrittenDefinitionIsDefinedBesideTheOld(t *testing.T) {
	v := define(t, vmOptions{off: true, top: "<genid/>", devices: "<interface type='user'/>"})
	text, err := v.XML(ctx(t), false)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "qemu-img", "create", "-q", "-f", "raw", v.file("new.raw"), "64M")
	out, err := RewriteXML(text, Rewrite{Name: "restored", UUID: NewUUID, NewMACs: true, Remove: []string{"vdb"},
		Disks: map[string]NewDisk{"vda": {Path: v.file("new.raw"), Format: "raw"}}})
	if err != nil {
		t.Fatal(err)
	}
	if lacking, err := v.host.Lacking(ctx(t), out); err != nil || len(lacking) > 0 {
		t.Errorf("lacking: %q %v", lacking, err)
	}
	d, err := v.host.Define(ctx(t), out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Stop(ctx(t))
		if err := d.Undefine(ctx(t), false); err != nil {
			t.Error(err)
		}
	})
	if d.UUID() == v.UUID() || d.Name() != "restored" {
		t.Errorf("%s %s", d.UUID(), d.Name())
	}
	if err := d.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if state, _, err := d.State(ctx(t)); state != Running {
		t.Error(state, err)
	}
	lacking, err := v.host.Lacking(ctx(t), strings.NewReplacer("pc-i440fx", "pc-future", "type='user'", "type='network'", "</interface>", "<source network='net 7'/><filterref filter='f'/></interface>").Replace(out))
	if err != nil || len(lacking) != 3 {
		t.Errorf("lacking: %q %v", lacking, err)
	}
	found, missing, err := v.Related(ctx(t), true)
	if err != nil || len(found) > 0 || len(missing) > 0 {
		t.Errorf("related: %v %v %v", found, missing, err)
	}
}

func TestNetworksFiltersAndPoolsAreKept(t *testing.T) {
	v := define(t, vmOptions{off: true})
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a volume", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]any{
		{"net-define", "--file", document("<network><name>-n 1</name><bridge name='hfbr7'/></network>")},
		{"nwfilter-define", "--file", document("<filter name='inner'/>")},
		{"nwfilter-define", "--file", document("<filter name='outer'><filterref filter='inner'/></filter>")},
		{"pool-define", "--file", document("<pool type='dir'><name>p q</name><target><path>" + dir + "</path></target></pool>")},
		{"pool-start", "--pool=p q"},
	} {
		if _, err := v.host.virsh(ctx(t), c[0].(string), c[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		v.host.virsh(ctx(t), "pool-destroy", "--pool=p q")
		v.host.virsh(ctx(t), "pool-undefine", "--pool=p q")
		v.host.virsh(ctx(t), "net-undefine", "--network=-n 1")
	})
	root, err := parseXML(`<domain><devices><interface type='network'><source network='-n 1'/><filterref filter='outer'/></interface>
<disk type='volume'><driver type='raw'/><source pool='p q' volume='a volume'/><target dev='vda'/></disk></devices></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	found, missing, err := v.host.related(ctx(t), root, false)
	var names []string
	for _, d := range found {
		names = append(names, d.Kind+" "+d.Name)
		if _, err := parseXML(d.XML); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(names, ", "); err != nil || got != "network -n 1, pool p q, nwfilter outer, nwfilter inner" || len(missing) > 0 {
		t.Errorf("%s; missing %q; %v", got, missing, err)
	}
	r, err := v.OpenDisk(ctx(t), disksOf(root)[0])
	if err != nil || r.Size() != 1<<20 {
		t.Fatal(err)
	}
	r.Close()
}

func FuzzXMLIsReadAndWrittenTheSame(f *testing.F) {
	f.Add(definition)
	f.Add("<a b='&#10;&amp;'>x<!-- y --><?p i?></a>")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := parseXML(text)
		if err != nil {
			return
		}
		once := root.String()
		again, err := parseXML(once)
		if err != nil {
			t.Fatalf("%q is read, and written as %q, which is not: %v", text, once, err)
		}
		if twice := again.String(); once != twice {
			t.Fatalf("%q is written as %q, then as %q", text, once, twice)
		}
		disksOf(root)
		namesIn(root)
		secretsIn(root)
	})
}
