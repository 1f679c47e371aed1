package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// qemuOpens says whether a QEMU can open an image for a machine, and what it says if not.
func qemuOpens(t *testing.T, path, format string, readOnly bool) (bool, string) {
	t.Helper()
	needs.Tools(t, "qemu-io")
	args := []string{"-f", format, "-c", "quit", path}
	if readOnly {
		args = append([]string{"-r"}, args...)
	}
	out, err := exec.Command("qemu-io", args...).CombinedOutput()
	return err == nil, string(out)
}

func makeImage(t *testing.T, format string, size string) string {
	t.Helper()
	needs.Tools(t, "qemu-img")
	path := filepath.Join(t.TempDir(), "vm."+format)
	run(t, "qemu-img", "create", "-q", "-f", format, path, size)
	return path
}

func TestAHeldImageIsOpenedByNoQEMU(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"raw", "qcow2"} {
		path := makeImage(t, format, "8M")
		h, err := Hold(Spec{Path: path, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{false, true} {
			if opened, said := qemuOpens(t, path, format, readOnly); opened || !strings.Contains(said, "lock") {
				t.Errorf("%s, read only %v: opened %v: %s", format, readOnly, opened, said)
			}
		}
		if _, err := Hold(Spec{Path: path, Format: format}); !errors.As(err, new(*InUseError)) {
			t.Errorf("held twice: %v", err)
		}
		i, err := Open(t.Context(), h.Spec())
		if err != nil {
			t.Fatalf("who holds an image may read it: %v", err)
		}
		if _, err := i.ReadAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
		if err := errors.Join(i.Verify(), i.Close(), h.Unchanged(), h.Release()); err != nil {
			t.Error(err)
		}
		if opened, said := qemuOpens(t, path, format, false); !opened {
			t.Errorf("%s: not opened after release: %s", format, said)
		}
	}
}

func TestAnImageThatAQEMUHasOpenIsNotHeld(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-nbd")
	for _, format := range []string{"raw", "qcow2"} {
		path := makeImage(t, format, "8M")
		i, err := Open(t.Context(), Spec{Path: path, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		i.Close()
		cmd := exec.Command("qemu-io", "-f", format, path) // as a machine has it
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.Write([]byte("length\n"))
		out.Read(make([]byte, 64))
		_, err = Hold(Spec{Path: path, Format: format})
		var inUse *InUseError
		if !errors.As(err, &inUse) || len(inUse.Users) == 0 || inUse.Users[0].Command != "qemu-io" {
			t.Errorf("%s: held: %v", format, err)
		}
		in.Close()
		cmd.Wait()
	}
}

func TestAnImageIsChangedInPlace(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd")
	const size = 8 << 20
	for _, format := range []string{"raw", "qcow2"} {
		path := makeImage(t, format, "8M")
		if format == "qcow2" {
			run(t, "qemu-img", "bitmap", "--add", path, "theirs")
		}
		h, err := Hold(Spec{Path: path, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		e, err := h.Edit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, size)
		rng, noise := rand.New(rand.NewPCG(1, 2)), rand.NewChaCha8([32]byte{2})
		for range 60 {
			off := rng.Int64N(size)
			p := make([]byte, 1+rng.IntN(min(200_000, int(size-off))))
			if rng.IntN(3) == 0 {
				err = e.Zero(off, int64(len(p)))
			} else {
				noise.Read(p)
				_, err = e.WriteAt(p, off)
			}
			if err != nil {
				t.Fatal(err)
			}
			copy(want[off:], p)
		}
		if _, err := e.WriteAt([]byte("xx"), e.Size()-1); err == nil {
			t.Error("wrote behind the end")
		}
		got := make([]byte, size)
		if _, err := e.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: what is read is not what was written: %v", format, err)
		}
		if opened, _ := qemuOpens(t, path, format, false); opened {
			t.Errorf("%s: a machine could start meanwhile", format)
		}
		if err := errors.Join(e.Sync(), e.Close(), h.Release()); err != nil {
			t.Fatal(err)
		}
		raw := filepath.Join(t.TempDir(), "raw")
		run(t, "qemu-img", "convert", "-f", format, "-O", "raw", path, raw)
		if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the image differs: %v", format, err)
		}
		if format == "qcow2" {
			run(t, "qemu-img", "check", "-q", path)
			if info := run(t, "qemu-img", "info", path); !strings.Contains(info, "theirs") || strings.Contains(info, "in-use") {
				t.Errorf("the bitmap of others did not survive: %s", info)
			}
		}
	}
}

func TestADeviceIsHeldAndChanged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, bytes.Repeat([]byte{1}, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dev := loopDevice(t, file)
	h, err := Hold(Spec{Path: dev, Format: "raw"})
	for range 200 { // losetup of other tests looks into every loop device
		if !errors.As(err, new(*InUseError)) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		h, err = Hold(Spec{Path: dev, Format: "raw"})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if opened, _ := qemuOpens(t, dev, "raw", false); opened {
		t.Error("a machine could open the device")
	}
	e, err := h.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.WriteAt([]byte("hello"), 100); err != nil {
		t.Error(err)
	}
	if err := errors.Join(e.Zero(4096, 1<<20), e.Sync(), e.Close()); err != nil {
		t.Error(err)
	}
	i, err := Open(t.Context(), h.Spec())
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	p := make([]byte, 8192)
	if _, err := i.ReadAt(p, 0); err != nil || string(p[99:105]) != "\x01hello" || p[4095] != 1 || p[4096] != 0 {
		t.Errorf("%v, %q", err, p[99:105])
	}
	if err := i.Extents(t.Context(), func(blockstore.Extent) error { return nil }); err != nil {
		t.Error(err)
	}
}
