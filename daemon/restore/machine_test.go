package restore

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const webXML = `<domain type='kvm'><name>web 1</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
<os><type arch='x86_64' machine='pc'>hvm</type><nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/vms/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/data'/><target dev='vdb' bus='virtio'/></disk>
<disk type='file' device='disk'><source file='/vms/scratch.raw'/><target dev='vdc' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/isos/gone.iso'/><target dev='hdc' bus='ide'/></disk>
<disk type='file' device='cdrom'><target dev='hdd' bus='ide'/></disk>
<interface type='user'><mac address='52:54:00:11:22:33'/></interface></devices></domain>`

func web(t *testing.T) *Machine {
	t.Helper()
	return &Machine{
		Config: map[string][]byte{domainFile: []byte(webXML), nvramFile: []byte("vars")},
		Disks: map[string]NewDisk{
			"vda": {Path: "/new/vda.qcow2", Kind: Qcow2, Source: "/vms/web.qcow2", Was: "qcow2"},
			"vdb": {URI: "nbd://storage:99/web", Kind: NBD, Source: "/dev/vg/data", Was: "block"},
		},
		LeftOut: []blockstore.LeftOut{{Name: "vdc", Reason: "excluded"}, {Name: "hdc", Reason: "a CD-ROM"}, {Name: "hdd", Reason: "an empty drive"}},
		NVRAM:   "/new/nvram.fd",
	}
}

func TestADomainIsDefinedAroundItsRestoredDisks(t *testing.T) {
	t.Parallel()
	m := web(t)
	d, err := m.Define()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/new/vda.qcow2", "storage", "/new/nvram.fd", "11111111-2222-4333-8444-555555555555", "52:54:00:11:22:33", "hdd"} {
		if !strings.Contains(d.Text, want) {
			t.Errorf("%s is missing in\n%s", want, d.Text)
		}
	}
	for _, gone := range []string{"/vms/", "vdc", "gone.iso", "/dev/vg/data"} {
		if strings.Contains(d.Text, gone) {
			t.Errorf("%s is still in\n%s", gone, d.Text)
		}
	}
	if d.Name != "web 1" || !d.Domain || len(d.Notes) != 2 {
		t.Errorf("%+v", d)
	}
	m.Name, m.NewMACs = "web2", true
	if d, err = m.Define(); err != nil {
		t.Fatal(err)
	}
	if d.Name != "web2" || d.UUID == "11111111-2222-4333-8444-555555555555" || !isUUID(d.UUID) || strings.Contains(d.Text, "52:54:00:11:22:33") {
		t.Errorf("the copy is %s, %s:\n%s", d.Name, d.UUID, d.Text)
	}
}

func TestAHostileDefinitionIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no xml":        "hello",
		"cut short":     webXML[:200],
		"entities":      `<!DOCTYPE domain [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><domain><name>&b;</name></domain>`,
		"deep":          "<domain>" + strings.Repeat("<a>", 100000) + strings.Repeat("</a>", 100000) + "</domain>",
		"large":         "<domain><name>x</name><!--" + strings.Repeat("x", maxDefinition) + "--></domain>",
		"another thing": "<network><name>x</name></network>",
		"no name":       "<domain></domain>",
		"a path":        "<domain><name>../../etc/x</name></domain>",
		"other disks":   "<domain type='kvm'><name>x</name><devices></devices></domain>",
	} {
		m := web(t)
		m.Config[domainFile] = []byte(text)
		if d, err := m.Define(); err == nil {
			t.Errorf("%s: defined as %+v", name, d)
		}
	}
}

func TestAnAddressIsNotTakenForAFileThatWasOpen(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]bool{
		"virtio-net,mac=52:54:00:40:fd:cb": false, "mac=fd:54:00:40:11:cb": false,
		"tap,fd=3": true, "fd:7": true, "fds=3:4": true, "vhostfd=9": true, `{"fd":"x"}`: true, "unix:fd=4": true,
	} {
		if passedFile.MatchString(arg) != want {
			t.Errorf("%s: %v", arg, !want)
		}
	}
}

const webCommand = `/usr/bin/qemu-system-x86_64
-name
guest=web1,debug-threads=on
-uuid
11111111-2222-4333-8444-555555555555
-drive
file=/vms/web,, 1.raw,format=raw,if=virtio
-blockdev
{"driver":"file","filename":"/vms/data.qcow2","node-name":"f"}
-drive
file=/vms/data.qcow2.other,format=raw
-drive
if=pflash,format=raw,file=/vms/web_VARS.fd
-device
virtio-net,mac=52:54:00:11:22:33
-incoming
defer
-append
it's quoted $HOME
`

func TestACommandLineBecomesAScriptThatNamesTheRestoredDisks(t *testing.T) {
	t.Parallel()
	m := &Machine{
		Config: map[string][]byte{commandFile: []byte(webCommand), nvramFile: []byte("vars")},
		Disks: map[string]NewDisk{
			"vda": {Path: "/new place/vda,1.raw", Kind: Raw, Source: "/vms/web, 1.raw", Was: "raw"},
			"vdb": {Path: `/new place/"b".qcow2`, Kind: Qcow2, Source: "/vms/data.qcow2", Was: "qcow2"},
		},
		Name: "web2", NewMACs: true, NVRAM: "/new place/nvram.fd",
	}
	d, err := m.Define()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Notes) > 0 || d.Name != "web2" {
		t.Errorf("%+v", d)
	}
	// What a shell makes of it, with another program in QEMU's place.
	text := strings.Replace(d.Text, "exec /usr/bin/qemu-system-x86_64", "exec printf '%s\\n'", 1)
	path := filepath.Join(t.TempDir(), "run.sh")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"guest=web2,debug-threads=on", "file=/new place/vda,,1.raw,format=raw,if=virtio", `{"driver":"file","filename":"/new place/\"b\".qcow2","node-name":"f"}`,
		"file=/vms/data.qcow2.other,format=raw", "if=pflash,format=raw,file=/new place/nvram.fd", "it's quoted $HOME",
	} {
		if !strings.Contains("\n"+string(out), "\n"+want+"\n") {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	for _, gone := range []string{"11111111-2222", "52:54:00:11:22:33", "-incoming", "defer"} {
		if strings.Contains(string(out), gone) {
			t.Errorf("%s is still in\n%s", gone, out)
		}
	}
	lacking, err := m.LackingCommand()
	if err != nil || !strings.Contains(strings.Join(lacking, "\n"), "/vms/data.qcow2.other") {
		t.Errorf("lacking %q, %v", lacking, err)
	}
}

func TestACommandLineThatDoesNotNameADiskIsSaidTo(t *testing.T) {
	t.Parallel()
	m := &Machine{Config: map[string][]byte{commandFile: []byte("qemu\n-drive\nfile=/proc/self/fd/3\n-netdev\ntap,fd=7\n")},
		Disks: map[string]NewDisk{"vda": {Path: "/new/a.raw", Kind: Raw, Source: "/vms/a.qcow2", Was: "qcow2"}}}
	d, err := m.Define()
	if err != nil || len(d.Notes) != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{"", "\n", "qemu\x00-x"} {
		m.Config[commandFile] = []byte(bad)
		if _, err := m.Define(); err == nil {
			t.Errorf("%q became a script", bad)
		}
	}
	if _, err := (&Machine{}).Define(); err == nil {
		t.Error("a machine was made of nothing")
	}
}

func TestStateOfATPMStaysInItsFolder(t *testing.T) {
	t.Parallel()
	pack := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if h.Typeflag == tar.TypeReg && h.Size == 0 {
				h.Size = 5
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				w.Write([]byte("state"))
			}
		}
		w.Flush()
		return b.Bytes()
	}
	folder := filepath.Join(t.TempDir(), "swtpm", "uuid")
	good := pack(tar.Header{Name: "tpm2/tpm2-00.permall", Typeflag: tar.TypeReg, Mode: 0o600})
	if err := unpackState(good, folder, false); err != nil {
		t.Fatal(err)
	}
	sameFile(t, filepath.Join(folder, "tpm2/tpm2-00.permall"), []byte("state"))
	if err := unpackState(good, folder, false); err == nil {
		t.Error("state that was there is replaced")
	}
	if err := unpackState(good, folder, true); err != nil {
		t.Error(err)
	}
	for name, data := range map[string][]byte{
		"out of it": pack(tar.Header{Name: "../../evil", Typeflag: tar.TypeReg}),
		"absolute":  pack(tar.Header{Name: "/etc/evil", Typeflag: tar.TypeReg}),
		"a link":    pack(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "link/evil", Typeflag: tar.TypeReg}),
		"a device":  pack(tar.Header{Name: "dev", Typeflag: tar.TypeChar}),
		"too large": pack(tar.Header{Name: "x", Typeflag: tar.TypeDir, Mode: 0o700})[:100],
		"twice":     pack(tar.Header{Name: "x", Typeflag: tar.TypeReg}, tar.Header{Name: "x", Typeflag: tar.TypeReg}),
	} {
		at := filepath.Join(t.TempDir(), "state")
		if err := unpackState(data, at, false); err == nil {
			t.Errorf("%s: taken", name)
		}
		wantNames(t, filepath.Dir(at))
	}
}

func TestAMachineThatIsAsleepIsNotTakenBack(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := refuseAsleep(folder, []byte(webXML)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "web 1.save"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refuseAsleep(folder, []byte(webXML)); err == nil || !strings.Contains(err.Error(), "managedsave-remove") {
		t.Error(err)
	}
}

func FuzzDefinition(f *testing.F) {
	f.Add([]byte(webXML))
	f.Add([]byte("<domain><name>x</name></domain>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := readDefinition(b)
		if err == nil && (d.Name == "" || strings.Contains(d.Name, "/")) {
			t.Errorf("a domain called %q", d.Name)
		}
	})
}

func FuzzCommandLine(f *testing.F) {
	f.Add([]byte(webCommand))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Machine{Config: map[string][]byte{commandFile: b, nvramFile: nil}, NewMACs: true, Name: "x",
			Disks: map[string]NewDisk{"vda": {Path: "/n", Source: "/vms/data.qcow2"}}}
		if d, err := m.Define(); err == nil && !strings.HasPrefix(d.Text, "#!/bin/sh\n") {
			t.Error("no script")
		}
	})
}
