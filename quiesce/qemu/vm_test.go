package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// vm is a QEMU without a guest: a firmware that finds nothing to boot, and disks that are
// written to through the monitor as a guest would.
type vm struct {
	t       testing.TB
	folder  string
	cmd     *exec.Cmd
	said    *bytes.Buffer
	mon     *qmp.Client // of the code under test
	hand    *qmp.Client // the test's own
	m       *Machine
	scratch ScratchOptions
	user    *syscall.Credential // that QEMU runs as; nil: ours
}

// shortFolder is a folder with a name short enough for sockets in it.
func shortFolder(t testing.TB) string {
	t.Helper()
	parent := "/dev/shm"
	if i, err := os.Stat(parent); err != nil || !i.IsDir() {
		parent = ""
	}
	folder, err := os.MkdirTemp(parent, "hfq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func run1(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// diskArgs makes an image of 64 MiB and says how to attach it as disk id.
func diskArgs(t testing.TB, folder, id, format string, more ...string) []string {
	t.Helper()
	path := filepath.Join(folder, id+"."+format)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		run1(t, "qemu-img", "create", "-q", "-f", format, path, "64M")
	}
	dev := "virtio-blk-pci,id=" + id + ",drive=n-" + id + ",serial=serial-" + id
	return []string{
		"-blockdev", "driver=" + format + ",node-name=n-" + id + ",discard=unmap,file.driver=file,file.discard=unmap,file.filename=" + path,
		"-device", strings.Join(append([]string{dev}, more...), ","),
	}
}

// boot starts a machine with arguments that are made from the path of its folder.
func boot(t testing.TB, arguments func(folder string) []string) *vm {
	t.Helper()
	return bootAs(t, nil, arguments)
}

func bootAs(t testing.TB, user *syscall.Credential, arguments func(folder string) []string) *vm {
	t.Helper()
	needs.Tools(t, "qemu-system-x86_64", "qemu-img")
	v := &vm{t: t, folder: shortFolder(t), user: user}
	v.scratch = ScratchOptions{Folder: filepath.Join(v.folder, "scratch"), LowWater: 1}
	v.start(arguments(v.folder)...)
	return v
}

func (v *vm) start(args ...string) {
	v.t.Helper()
	v.said = &bytes.Buffer{}
	a, b := filepath.Join(v.folder, "a"), filepath.Join(v.folder, "b")
	os.Remove(a)
	os.Remove(b)
	all := append([]string{"-M", "pc", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16", "-no-user-config",
		"-name", "a machine", "-uuid", "8e9a3b76-0d5c-4b0c-9d9e-3f1c1a2b3c4d",
		"-qmp", "unix:" + a + ",server=on,wait=off", "-qmp", "unix:" + b + ",server=on,wait=off"}, args...)
	v.cmd = exec.Command("qemu-system-x86_64", all...)
	v.cmd.Stderr = v.said
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: v.user}
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	exited := make(chan struct{})
	cmd, said := v.cmd, v.said
	go func() { cmd.Wait(); close(exited) }()
	v.t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
		if v.t.Failed() && said.Len() > 0 {
			v.t.Logf("QEMU said: %s", said)
		}
	})
	v.mon, v.hand = v.dial(a), v.dial(b)
	v.reopen()
}

// reopen makes another Machine, as the next run does.
func (v *vm) reopen() {
	v.t.Helper()
	var err error
	if v.m, err = Open(v.t.Context(), v.mon, Options{Interval: 20 * time.Millisecond}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vm) dial(socket string) *qmp.Client {
	v.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := qmp.Dial(v.t.Context(), socket)
		if err == nil {
			v.t.Cleanup(func() { c.Close() })
			return c
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			v.t.Fatal(err)
		}
	}
	v.t.Fatalf("QEMU does not start: %s", v.said)
	return nil
}

// io lets qemu-io write as the device of a disk.
func (v *vm) io(disk, command string) {
	v.t.Helper()
	if said := v.tryIO(disk, command); said != "" && !strings.HasPrefix(said, "wrote") && !strings.HasPrefix(said, "discard") {
		v.t.Fatalf("qemu-io %s %s: %s", disk, command, said)
	}
}

func (v *vm) tryIO(disk, command string) (said string) {
	v.t.Helper()
	line := fmt.Sprintf("qemu-io -d /machine/peripheral/%s/virtio-backend \"%s\"", disk, command)
	if err := v.hand.Do(context.Background(), "human-monitor-command", object{"command-line": line}, &said); err != nil {
		v.t.Fatal(err)
	}
	return said
}

func (v *vm) do(command string, args object, reply any) {
	v.t.Helper()
	if err := v.hand.Do(v.t.Context(), command, args, reply); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vm) snapshot(q SnapshotRequest) *Snapshot {
	v.t.Helper()
	q.Scratch = v.scratch
	s, err := v.m.Snapshot(v.t.Context(), q)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (v *vm) release(s *Snapshot, committed bool) {
	v.t.Helper()
	if err := s.Check(v.t.Context()); err != nil {
		v.t.Error(err)
	}
	if err := s.Release(context.Background(), committed); err != nil {
		v.t.Error(err)
	}
	v.nothingLeft(committed, s.request)
}

// nothingLeft holds the promise that Release leaves one bitmap of the vault to a disk at most.
func (v *vm) nothingLeft(committed bool, q SnapshotRequest) {
	v.t.Helper()
	keep := q.Parent
	if committed {
		keep = q.Point
	}
	vault, _ := vaultOf(q.Point)
	left, err := v.m.Leftovers(v.t.Context(), CleanRequest{Vault: vault, Keep: keep, Scratch: v.scratch})
	if err != nil || len(left) > 0 {
		v.t.Errorf("left: %v, %v", left, err)
	}
	entries, _ := os.ReadDir(v.scratch.Folder)
	for _, e := range entries {
		v.t.Errorf("left in the scratch folder: %s", e.Name())
	}
}

// content applies a source to the content of the parent, as a backup does.
func content(t *testing.T, src blockstore.Source, parent []byte) []byte {
	t.Helper()
	all := make([]byte, src.Size())
	next := int64(0)
	err := src.Extents(t.Context(), func(e blockstore.Extent) error {
		if e.Offset != next || e.Length <= 0 || e.End() > src.Size() {
			return fmt.Errorf("extent %+v after %d", e, next)
		}
		next = e.End()
		switch e.Kind {
		case blockstore.Same:
			if parent == nil {
				return fmt.Errorf("extent %+v without a parent", e)
			}
			copy(all[e.Offset:e.End()], parent[e.Offset:e.End()])
		case blockstore.Data:
			n, err := src.ReadAt(all[e.Offset:e.End()], e.Offset)
			if int64(n) != e.Length || err != nil && err != io.EOF {
				return fmt.Errorf("%d of %d bytes, %w", n, e.Length, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != src.Size() {
		t.Fatalf("extents end at %d of %d", next, src.Size())
	}
	return all
}

// dataBytes is how much a backup would read.
func dataBytes(t *testing.T, src blockstore.Source) (n int64) {
	t.Helper()
	if err := src.Extents(t.Context(), func(e blockstore.Extent) error {
		if e.Kind == blockstore.Data {
			n += e.Length
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// whole reads everything, whatever the extents say.
func whole(t *testing.T, src blockstore.Source) []byte {
	t.Helper()
	all := make([]byte, src.Size())
	if n, err := src.ReadAt(all, 0); n != len(all) || err != nil && err != io.EOF {
		t.Fatal(n, err)
	}
	return all
}

// same compares without printing megabytes.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: byte %d is %#x, want %#x (%d and %d bytes)", what, i, got[i], want[i], len(got), len(want))
			return
		}
	}
	t.Errorf("%s: %d bytes, want %d", what, len(got), len(want))
}

const testVault = "0123456789abcdef"

func bitmapOf(point string) string { return BitmapName(testVault, point) }

// nobody is a user who may not read what root has in its folders.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}

func hexByte(b byte) string { return fmt.Sprintf("%#x", b) }
func dec(n int64) string    { return fmt.Sprint(n) }
