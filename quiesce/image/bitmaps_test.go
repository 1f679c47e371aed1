package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// kinds are those of an image's extents, for each 64 KiB.
func kinds(t *testing.T, i *Image) (list []blockstore.ExtentKind) {
	t.Helper()
	err := i.Extents(t.Context(), func(e blockstore.Extent) error {
		for at := e.Offset; at < e.End(); at += 64 << 10 {
			list = append(list, e.Kind)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOnlyWhatABitmapMarksIsReadOfAnImage(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-io", "qemu-nbd")
	path := filepath.Join(t.TempDir(), "vda")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 512k", path)
	run(t, "qemu-img", "bitmap", "--add", path, "other")
	run(t, "qemu-img", "bitmap", "--add", path, "ours")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -q -P 2 64k 64k", "-c", "write -q -z 256k 64k", "-c", "write -q -P 3 960k 4k", path)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	i := open(t, Spec{Path: path, Format: "qcow2", Bitmap: "ours"})
	want := slices.Repeat([]blockstore.ExtentKind{blockstore.Same}, 16)
	want[1], want[4], want[15] = blockstore.Data, blockstore.Zero, blockstore.Data
	if got := kinds(t, i); i.Doubt() != "" || !slices.Equal(got, want) {
		t.Errorf("%q, %v", i.Doubt(), got)
	}
	p := make([]byte, 4)
	if _, err := i.ReadAt(p, 960<<10); err != nil || !bytes.Equal(p, []byte{3, 3, 3, 3}) {
		t.Errorf("%v, %v", p, err)
	}
	if err := i.Verify(); err != nil {
		t.Error(err)
	}
	i.Close()
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(was, now) {
		t.Errorf("the image was written to (%v)", err)
	}
}

func TestABitmapInDoubtIsNotUsed(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-io", "qemu-nbd")
	for name, c := range map[string]struct {
		prepare func(path string)
		want    string
	}{
		"none":    {func(string) {}, "is gone"},
		"another": {func(path string) { run(t, "qemu-img", "bitmap", "--add", path, "theirs") }, "is gone"},
		"stopped": {func(path string) { run(t, "qemu-img", "bitmap", "--add", "--disable", path, "ours") }, "had stopped"},
		"in use": {func(path string) {
			run(t, "qemu-img", "bitmap", "--add", path, "ours")
			f, at := entryOf(t, path)
			defer f.Close()
			f.WriteAt([]byte{0, 0, 0, bitmapInUse | bitmapAuto}, at+12)
		}, "was not saved"},
		"written by something old": {func(path string) {
			run(t, "qemu-img", "bitmap", "--add", path, "ours")
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.WriteAt(make([]byte, 8), 88)
		}, "is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vda")
			run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
			run(t, "qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 64k", path)
			c.prepare(path)
			i := open(t, Spec{Path: path, Format: "qcow2", Bitmap: "ours"})
			if !strings.Contains(i.Doubt(), c.want) || slices.Contains(kinds(t, i), blockstore.Same) {
				t.Errorf("%q, %v", i.Doubt(), kinds(t, i))
			}
		})
	}
	base := filepath.Join(t.TempDir(), "base")
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "1M")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", clone)
	run(t, "qemu-img", "bitmap", "--add", clone, "ours")
	if i := open(t, Spec{Path: clone, Format: "qcow2", Backing: []string{filepath.Dir(base)}, Bitmap: "ours"}); !strings.Contains(i.Doubt(), "backing") {
		t.Errorf("with a backing file: %q", i.Doubt())
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if i := open(t, Spec{Path: raw, Bitmap: "ours"}); !strings.Contains(i.Doubt(), "raw") {
		t.Errorf("raw: %q", i.Doubt())
	}
}

// TestAHeldImageTellsOfItsBitmap, as a restore in place holds one.
func TestAHeldImageTellsOfItsBitmap(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-io", "qemu-nbd")
	path := filepath.Join(t.TempDir(), "vda")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
	run(t, "qemu-img", "bitmap", "--add", path, "ours")
	held, err := Hold(Spec{Path: path, Format: "qcow2"})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	e, err := held.Edit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.WriteAt([]byte("written in place"), 128<<10); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	spec := held.Spec()
	spec.Bitmap = "ours"
	i := open(t, spec)
	got := kinds(t, i)
	if i.Doubt() != "" || got[2] != blockstore.Data || got[0] != blockstore.Same || got[15] != blockstore.Same {
		t.Errorf("%q, %v", i.Doubt(), got)
	}
}

// entryOf finds the first entry of an image's directory of bitmaps.
func entryOf(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	h, err := readHeader(f)
	if err != nil || h.bitmaps.count != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
	return f, int64(h.bitmaps.offset)
}

// FuzzBitmaps: whatever lies where the directory should, it is read or refused.
func FuzzBitmaps(f *testing.F) {
	entry := binary.BigEndian.AppendUint64(nil, 0x10000)
	entry = append(entry, 0, 0, 0, 1, 0, 0, 0, bitmapAuto, bitmapDirtyTracked, 16, 0, 4, 0, 0, 0, 0)
	entry = append(entry, "ours\x00\x00\x00\x00"...)
	f.Add(entry, uint32(1))
	f.Add(append(entry, entry...), uint32(2))
	f.Add(entry[:20], uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		list, err := readBitmaps(bytes.NewReader(b), directory{count: count % 1000, size: uint64(len(b))})
		if err == nil && len(list) != int(count%1000) {
			t.Errorf("%d of %d", len(list), count)
		}
		for _, one := range list {
			if one.name == "" || len(one.name) > maxBitmapName {
				t.Errorf("%q", one.name)
			}
		}
	})
}
