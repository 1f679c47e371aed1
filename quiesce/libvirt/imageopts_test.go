package libvirt

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

func TestDisksAreDescribedToQEMUWithoutProbing(t *testing.T) {
	for name, c := range map[string]struct{ disk, want, secrets string }{
		"file": {`<disk type='file'><driver type='raw'/><source file='/a,b "c.raw'/><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"file","filename":"/a,b \"c.raw","read-only":true}}`, ""},
		"block": {`<disk type='block'><driver type='qcow2'/><source dev='/dev/vg/a'/><target dev='vda'/></disk>`,
			`{"driver":"qcow2","read-only":true,"backing":null,"file":{"driver":"host_device","filename":"/dev/vg/a","read-only":true}}`, ""},
		"chain": {`<disk type='file'><driver type='qcow2'/><source file='/t'/><backingStore type='file'><format type='qcow2'/><source file='/m'/>
			<backingStore type='file'><format type='raw'/><source file='/b'/></backingStore></backingStore><target dev='vda'/></disk>`,
			`{"driver":"qcow2","read-only":true,"file":{"driver":"file","filename":"/t","read-only":true},
			"backing":{"driver":"qcow2","read-only":true,"file":{"driver":"file","filename":"/m","read-only":true},
			"backing":{"driver":"raw","read-only":true,"file":{"driver":"file","filename":"/b","read-only":true}}}}`, ""},
		"rbd": {`<disk type='network'><driver type='raw'/><auth username='u'><secret type='ceph' uuid='UUID'/></auth>
			<source protocol='rbd' name='pool/ns/img'><host name='m1' port='6790'/><host name='m2'/><snapshot name='s'/><config file='/etc/c.conf'/></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"rbd","pool":"pool","namespace":"ns","image":"img","snapshot":"s","conf":"/etc/c.conf","user":"u",
			"key-secret":"hf-secret-0","auth-client-required":["cephx","none"],"server":[{"host":"m1","port":"6790"},{"host":"m2","port":"6789"}],"read-only":true}}`, "ceph UUID"},
		"iscsi": {`<disk type='network'><driver type='raw'/><source protocol='iscsi' name='iqn.2020-01.x:t/2'><host name='::1' port='3261'/><auth username='u'><secret type='iscsi' usage='k'/></auth>
			<initiator><iqn name='iqn.i'/></initiator></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"iscsi","transport":"tcp","portal":"[::1]:3261","target":"iqn.2020-01.x:t","lun":2,"initiator-name":"iqn.i","user":"u",
			"password-secret":"hf-secret-0","read-only":true}}`, "iscsi k"},
		"nbd unix": {`<disk type='network'><driver type='raw'/><source protocol='nbd' name='e,x'><host transport='unix' socket='/s'/></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"nbd","server":{"type":"unix","path":"/s"},"export":"e,x","read-only":true}}`, ""},
		"nbd": {`<disk type='network'><driver type='qcow2'/><source protocol='nbd'><host name='h'/></source><target dev='vda'/></disk>`,
			`{"driver":"qcow2","read-only":true,"backing":null,"file":{"driver":"nbd","server":{"type":"inet","host":"h","port":"10809"},"read-only":true}}`, ""},
		"https": {`<disk type='network'><driver type='raw'/><source protocol='https' name='a b.img' query='x=1'><host name='h' port='444'/></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"https","url":"https://h:444/a%20b.img?x=1","read-only":true}}`, ""},
		"gluster": {`<disk type='network'><driver type='raw'/><source protocol='gluster' name='v/p/q'><host name='h'/></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"gluster","volume":"v","path":"p/q","server":[{"type":"inet","host":"h","port":"24007"}],"read-only":true}}`, ""},
		"nfs": {`<disk type='network'><driver type='raw'/><source protocol='nfs' name='/p'><host name='h'/></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"file":{"driver":"nfs","server":{"type":"inet","host":"h"},"path":"/p","read-only":true}}`, ""},
		"luks": {`<disk type='file'><driver type='raw'/><source file='/l'><encryption format='luks'><secret type='passphrase' uuid='UUID'/></encryption></source><target dev='vda'/></disk>`,
			`{"driver":"luks","read-only":true,"key-secret":"hf-secret-0","file":{"driver":"raw","read-only":true,"file":{"driver":"file","filename":"/l","read-only":true}}}`, "passphrase UUID"},
		"slice": {`<disk type='file'><driver type='raw'/><source file='/l'><slices><slice type='storage' offset='512' size='1024'/></slices></source><target dev='vda'/></disk>`,
			`{"driver":"raw","read-only":true,"offset":512,"size":1024,"file":{"driver":"file","filename":"/l","read-only":true}}`, ""},
	} {
		o, err := parseDisk(t, c.disk).Options()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := json.Marshal(o.Node)
		var got, want any
		json.Unmarshal(text, &got)
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, text, c.want)
		}
		r := o.Secrets["hf-secret-0"]
		if s := strings.TrimSpace(r.Type + " " + r.UUID + r.Usage); s != c.secrets {
			t.Errorf("%s: secret %q", name, s)
		}
	}
	for name, disk := range map[string]string{
		"tls":           `<disk type='network'><driver type='raw'/><source protocol='nbd' tls='yes'><host name='h'/></source><target dev='vda'/></disk>`,
		"format":        `<disk type='file'><driver type='vmdk'/><source file='/x'/><target dev='vda'/></disk>`,
		"relative":      `<disk type='file'><driver type='raw'/><source file='x'/><target dev='vda'/></disk>`,
		"no host":       `<disk type='network'><driver type='raw'/><source protocol='iscsi' name='x'/><target dev='vda'/></disk>`,
		"protocol":      `<disk type='network'><driver type='raw'/><source protocol='vxhs' name='x'><host name='h'/></source><target dev='vda'/></disk>`,
		"rbd name":      `<disk type='network'><driver type='raw'/><source protocol='rbd' name='x'/><target dev='vda'/></disk>`,
		"lun":           `<disk type='network'><driver type='raw'/><source protocol='iscsi' name='x/-1'><host name='h'/></source><target dev='vda'/></disk>`,
		"raw on a base": `<disk type='file'><driver type='raw'/><source file='/x'/><backingStore type='file'><format type='raw'/><source file='/y'/></backingStore><target dev='vda'/></disk>`,
		"volume":        `<disk type='volume'><driver type='raw'/><source pool='p' volume='v'/><target dev='vda'/></disk>`,
	} {
		if o, err := parseDisk(t, disk).Options(); err == nil {
			t.Errorf("%s: %v", name, o)
		}
	}
}

func parseDisk(t testing.TB, text string) Disk {
	t.Helper()
	disks, err := DisksOf("<domain><devices>" + text + "</devices></domain>")
	if err != nil || len(disks) != 1 {
		t.Fatal(disks, err)
	}
	return disks[0]
}

func TestADiskThatIsItselfANetworkExportIsReadOffAndRunning(t *testing.T) {
	host(t)
	dir := t.TempDir()
	image := dir + "/disk"
	content := make([]byte, 8<<20)
	copy(content[1<<20:], strings.Repeat("holdfast", 8192))
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("qemu-nbd", "-t", "-f", "raw", "-x", "an export", "-e", "8", "-k", dir+"/sock", image)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", dir+"/sock"); err == nil { // its name is there before it listens
			c.Close()
			break
		}
	}
	v := define(t, vmOptions{off: true, disks: `<disk type='network' device='disk'><driver name='qemu' type='raw'/>
<source protocol='nbd' name='an export'><host transport='unix' socket='` + dir + `/sock'/></source><target dev='vda' bus='virtio'/></disk>`})
	disks, err := v.Disks(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.OpenDisk(ctx(t), disks[0])
	if err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(t, &SnapshotDisk{Source: r}, nil)
	if string(got) != string(content) {
		t.Error("other bytes than the export's")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	v.start()
	q := request(v, "", p1)
	q.Disks = []qemu.DiskRequest{{Name: "vda"}}
	s := take(v, q)
	got, _ = readAll(t, s.Disks[0], nil)
	if string(got) != string(content) {
		t.Error("other bytes than the export's, while the domain runs")
	}
	release(v, s, true)
	wantCheckpoints(v)
}

func TestAnImageWhoseHeaderNamesFilesIsRefused(t *testing.T) {
	v := define(t, vmOptions{off: true})
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", v.file("vda.qcow2"), "64M")
	disks, err := v.Disks(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := v.OpenDisk(ctx(t), disks[0]); err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
		t.Errorf("%v %v", r, err)
	}
	r, err := v.OpenDisk(ctx(t), disks[1])
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := r.ReadAt(make([]byte, 512), 0); err == nil {
		t.Error("bytes of a reader that is closed")
	}
}

// createLUKS makes an encrypted image of 1 MiB. qemu-img finds out how fast the processor is by its share
// of processor time, and gives up where the kernel counted none in so short a while: then it is asked again.
func createLUKS(t *testing.T, path, passphrase string) {
	t.Helper()
	for try := 1; ; try++ {
		out, err := exec.Command("qemu-img", "create", "-q", "-f", "luks", "--object", "secret,id=s,data="+passphrase, "-o", "key-secret=s,iter-time=10", path, "1M").CombinedOutput()
		if err == nil {
			return
		}
		if try == 50 || !strings.Contains(string(out), "accurate CPU usage") {
			t.Fatalf("qemu-img: %v: %s", err, out)
		}
	}
}

func TestAnEncryptedDiskIsReadWithLibvirtsSecret(t *testing.T) {
	v := define(t, vmOptions{off: true})
	const id = "11111111-2222-4333-8444-555555555555"
	if _, err := v.host.virsh(ctx(t), "secret-define", "--file", document("<secret><uuid>"+id+"</uuid><usage type='volume'><volume>/luks vol</volume></usage></secret>")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.host.virsh(ctx(t), "secret-undefine", "--secret="+id) })
	if _, err := v.host.virsh(ctx(t), "secret-set-value", "--secret="+id, "--plain", "--file", document("pass word")); err != nil {
		t.Fatal(err)
	}
	createLUKS(t, v.file("luks"), "pass word")
	run(t, "qemu-io", "--object", "secret,id=s,data=pass word", "-c", "write -P 5 64k 64k", "--image-opts", "driver=luks,key-secret=s,file.filename="+v.file("luks"))
	for _, ref := range []string{"uuid='" + id + "'", "usage='/luks vol'"} {
		disk := parseDisk(t, `<disk type='file'><driver type='raw'/><source file='`+v.file("luks")+`'><encryption format='luks'><secret type='passphrase' `+ref+`/></encryption></source><target dev='vda'/></disk>`)
		r, err := v.OpenDisk(ctx(t), disk)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := readAll(t, &SnapshotDisk{Source: r}, nil)
		want(t, content, 64<<10, 5, 64<<10)
		r.Close()
	}
}
