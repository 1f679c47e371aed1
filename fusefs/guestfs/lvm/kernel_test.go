package lvm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// fixture returns the physical volumes of a group that ../testdata/make-volumes had LVM
// and the kernel make, and what the kernel read from each logical volume.
func fixture(t testing.TB) (images [][]byte, sums map[string]string) {
	t.Helper()
	f, err := os.Open("testdata/vol.tgz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, b)
	}
	text, err := os.ReadFile("testdata/sums")
	if err != nil {
		t.Fatal(err)
	}
	sums = map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		sums[f[1]] = f[0] + " " + f[2]
	}
	return images, sums
}

func digest(t testing.TB, v *Volume) string {
	t.Helper()
	h, b := sha256.New(), make([]byte, 400_009)
	for off := int64(0); ; {
		n, err := v.ReadAt(b, off)
		h.Write(b[:n])
		if off += int64(n); err == io.EOF {
			return fmt.Sprintf("%x %d", h.Sum(nil), off)
		}
		if err != nil {
			t.Errorf("%s at %d: %v", v.Name, off, err)
			return ""
		}
	}
}

func TestVolumesOfManyKindsAreReadAsTheKernelReadsThem(t *testing.T) {
	t.Parallel()
	images, sums := fixture(t)
	g := open(t, images...)
	for name, want := range sums {
		v := volume(t, g, name)
		if name == "back" || name == "wc" { // whose newest blocks lie in a cache
			if kind := (*KindError)(nil); !errors.As(v.Err, &kind) || !strings.Contains(kind.Kind, "cache") {
				t.Errorf("%s: %v", name, v.Err)
			}
			continue
		}
		if v.Err != nil || digest(t, v) != want {
			t.Errorf("%s differs from what the kernel read: %v", name, v.Err)
		}
	}
}

// TestRAIDIsReadWithoutOneOfItsDisks takes each disk away in turn. What has nothing to
// be computed from says which is missing.
func TestRAIDIsReadWithoutOneOfItsDisks(t *testing.T) {
	t.Parallel()
	images, sums := fixture(t)
	for gone := range images {
		left := append([][]byte{}, images...)
		left[gone] = nil
		g := open(t, left...)
		for _, name := range []string{"r1", "r4", "r5", "r6", "r10"} {
			v := volume(t, g, name)
			if v.Err != nil || digest(t, v) != sums[name] {
				t.Errorf("%s without disk %d: %v", name, gone, v.Err)
			}
		}
		if v := volume(t, g, "r0"); v.Err != nil && !errors.As(v.Err, new(*MissingError)) {
			t.Errorf("r0 without disk %d: %v", gone, v.Err)
		}
		if v := volume(t, g, "thin"); (gone == 0) != errors.As(v.Err, new(*MissingError)) {
			t.Errorf("thin without disk %d: %v", gone, v.Err)
		}
	}
}

func TestALegThatFailedIsLeftOut(t *testing.T) {
	t.Parallel()
	images, sums := fixture(t)
	// Device-mapper's superblocks of the five legs of r6: its first leg failed, all
	// others say so.
	marked := 0
	for _, b := range images {
		for i := 0; i+512 <= len(b); i += 512 {
			if string(b[i:i+4]) == "DmRd" && b[i+8] == 5 {
				b[i+dmFailed] |= 1
				marked++
			}
		}
	}
	if marked != 5 {
		t.Fatalf("%d superblocks", marked)
	}
	g := open(t, images...)
	if v := volume(t, g, "r6"); v.Err != nil || digest(t, v) != sums["r6"] || !strings.Contains(v.Note, "1 are not filled") {
		t.Errorf("%v, %q", v.Err, v.Note)
	}
}

func TestDamagedMetadataOfThinVolumesIsAnErrorAndNoZeros(t *testing.T) {
	t.Parallel()
	images, _ := fixture(t)
	super := bytes.Index(images[0], []byte{0xba, 0x52, 0x9c, 0x01, 0, 0, 0, 0}) // 27022010
	if super < 0 {
		t.Fatal("no superblock of a pool")
	}
	images[0][super+100] ^= 1
	if v := volume(t, open(t, images...), "thin"); v.Err == nil || !strings.Contains(v.Err.Error(), "checksum") {
		t.Errorf("%v", v.Err)
	}
}
