package procs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestACommandLineTellsOfItsMachine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line string
		want Machine
	}{
		"drives and sockets": {
			"qemu-system-x86_64 -name web1,debug-threads=on -uuid 6A3F0C62-8e44-4d0a-9a5c-0123456789ab -nodefaults -S -qmp unix:/run/web1.qmp,server=on,wait=off " +
				"-drive file=web1.qcow2,format=qcow2,if=virtio,id=d0 -drive file=/vms/a,,b.raw,format=raw,if=none,id=d1 -cdrom x.iso " +
				"-chardev socket,path=/run/web1.qga,server=on,wait=off,id=ga -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0",
			Machine{Name: "web1", UUID: "6a3f0c62-8e44-4d0a-9a5c-0123456789ab", QMP: []string{"/run/web1.qmp"}, Agents: []string{"/run/web1.qga"},
				Disks: []Disk{{"d0", "/cwd/web1.qcow2", "qcow2"}, {"d1", "/vms/a,b.raw", "raw"}}},
		},
		"libvirt": {
			`/usr/bin/qemu-system-x86_64 -name guest=db1,debug-threads=on -machine pc-q35-7.2,usb=off,pflash0=libvirt-pflash0-format,pflash1=libvirt-pflash1-format ` +
				`-blockdev {"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE.fd","node-name":"libvirt-pflash0-storage","read-only":true} ` +
				`-blockdev {"node-name":"libvirt-pflash0-format","read-only":true,"driver":"raw","file":"libvirt-pflash0-storage"} ` +
				`-blockdev {"driver":"file","filename":"/var/lib/libvirt/qemu/nvram/db1_VARS.fd","node-name":"libvirt-pflash1-storage"} ` +
				`-blockdev {"node-name":"libvirt-pflash1-format","read-only":false,"driver":"raw","file":"libvirt-pflash1-storage"} ` +
				`-chardev socket,id=charmonitor,fd=25,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control ` +
				`-blockdev {"driver":"file","filename":"/vms/db1.qcow2","node-name":"libvirt-1-storage","cache":{"direct":true}} ` +
				`-blockdev {"node-name":"libvirt-1-format","driver":"qcow2","file":"libvirt-1-storage","backing":null}`,
			Machine{Libvirt: true, Name: "db1", NVRAM: "/var/lib/libvirt/qemu/nvram/db1_VARS.fd", Disks: []Disk{{"libvirt-1-format", "/vms/db1.qcow2", "qcow2"}}},
		},
		"one dash or two, and no format": {
			"qemu-kvm --name old -hda disk.img --append --verbose last.img",
			Machine{Name: "old", Disks: []Disk{{"hda", "/cwd/disk.img", ""}, {"", "/cwd/last.img", ""}}},
		},
		"a monitor by chardev": {
			"qemu-system-x86_64 -chardev socket,id=m,path=q.sock,server -mon chardev=m,mode=control -mon chardev=other -drive if=pflash,file=code.fd,readonly=on -drive if=pflash,file=vars.fd " +
				"-chardev socket,id=t,path=/run/tpm -tpmdev emulator,id=tpm0,chardev=t -blockdev driver=qcow2,node-name=n,file.driver=file,file.filename=/x.qcow2",
			Machine{QMP: []string{"/cwd/q.sock"}, NVRAM: "/cwd/vars.fd", TPM: "/run/tpm", Disks: []Disk{{"n", "/x.qcow2", "qcow2"}}},
		},
		"a network disk": {"qemu-system-x86_64 -drive file=rbd:pool/image,format=raw", Machine{Disks: []Disk{{"", "rbd:pool/image", "raw"}}}},
		"nothing":        {"qemu-system-x86_64", Machine{}},
	} {
		if got := Parse(strings.Fields(test.line), "/cwd"); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, test.want)
		}
	}
}

func TestOnlyQEMUIsListedAndWhatEndsIsPassedOver(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, line := range map[string]string{
		"7": "qemu-system-x86_64\x00-name\x00web1\x00", "8": "/bin/sh\x00-c\x00qemu-system-x86_64 -name x\x00", "9": "", "self": "qemu-kvm\x00",
		"10": "/opt/qemu-system-aarch64\x00-name\x00db\x00",
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(proc, "11"), 0o700); err != nil { // ended
		t.Fatal(err)
	}
	all, err := listIn(proc)
	if err != nil || len(all) != 2 || all[0].Name != "web1" || all[1].Name != "db" || all[1].PID != 10 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := Get(1 << 30); !errors.Is(err, ErrNotQEMU) {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestARunningQEMUIsFoundByItsSocket(t *testing.T) {
	t.Parallel()
	qemu := needs.Tool(t, "qemu-system-x86_64")
	socket := filepath.Join(t.TempDir(), "qmp")
	cmd := exec.CommandContext(t.Context(), qemu, "-machine", "none", "-display", "none", "-nodefaults", "-name", "a b@c:d", "-qmp", "unix:"+socket+",server=on,wait=off")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		p, err := Get(cmd.Process.Pid)
		if err == nil && p.Name == "a b@c:d" && len(p.QMP) == 1 && p.QMP[0] == socket {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", p, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("qemu\x00-name\x00x\x00-blockdev\x00{\"driver\":\"raw\",\"node-name\":\"a\",\"file\":\"a\"}", "/")
	f.Add("qemu\x00-drive\x00file=,,,\x00-qmp\x00unix:", "")
	f.Fuzz(func(t *testing.T, line, cwd string) {
		args := splitArgs([]byte(line))
		m := Parse(args, cwd)
		if len(m.Disks) > len(args) || len(m.QMP) > len(args) {
			t.Errorf("%d disks and %d monitors of %d words", len(m.Disks), len(m.QMP), len(args))
		}
	})
}

func TestTheStateOfATPMIsFoundByItsSocket(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for pid, line := range map[string]string{
		"7": "swtpm\x00socket\x00--tpmstate\x00dir=/run/other\x00--ctrl\x00type=unixio,path=/run/other.sock\x00",
		"8": "/usr/bin/swtpm\x00socket\x00--ctrl\x00type=unixio,path=/run/t.sock,mode=0600\x00--tpmstate\x00dir=/srv/tpm,mode=0600\x00--tpm2\x00",
		"9": "cat\x00--tpmstate\x00dir=/etc\x00--ctrl\x00path=/run/x.sock\x00",
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := findTPM(proc, "/run/t.sock"); err != nil || got.Folder != "/srv/tpm" || got.UID != uint32(os.Getuid()) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := findTPM(proc, "/run/x.sock"); !errors.Is(err, ErrNoTPM) {
		t.Errorf("what is no swtpm: %+v, %v", got, err)
	}
}

func TestAFileIsAProcesssOnlyIfItCanWriteToIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if Writes(os.Getpid(), path) {
		t.Error("a file that is read is taken for one that is written")
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !Writes(os.Getpid(), path) || Writes(os.Getpid(), path+"x") || Writes(1<<30, path) {
		t.Error("who writes is not told")
	}
}

func TestAFileIsFoundByWhatAProcessHoldsOpen(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	open := func(name string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return path
	}
	web, db := open("procs-web1.qcow2"), open("vms/procs-db1.qcow2")
	open("a/procs-two.raw")
	open("b/procs-two.raw")
	gone := open("procs-gone.raw")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"procs-web1.qcow2": web, "./procs-web1.qcow2": web, "vms/procs-db1.qcow2": db, "procs-db1.qcow2": db,
		"b1.qcow2": "", "procs-two.raw": "", "a/procs-two.raw": filepath.Join(folder, "a/procs-two.raw"), "procs-gone.raw": "",
		"../procs-web1.qcow2": "", web: "", "": "", ".": "", "nbd://host/procs-web1.qcow2": "",
	} {
		if path, ok := OpenFile(os.Getpid(), name); path != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", name, path, ok)
		}
	}
	if _, ok := OpenFile(-1, "procs-web1.qcow2"); ok {
		t.Error("no process holds it open")
	}
}
