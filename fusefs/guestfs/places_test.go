package guestfs

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestFilesLieWhereTheirPlacesSay makes a volume of each kind, and puts the content of
// its files together from where it is said to lie.
func TestFilesLieWhereTheirPlacesSay(t *testing.T) {
	dir := filesToPlace(t)
	for _, c := range []struct {
		name, size string
		tools      []string
		make       string // a script: $1 the image, $2 the folder
		whole      int    // files that lie there as a whole, at least
	}{
		{"ext4", "48M", []string{"mkfs.ext4"}, `mkfs.ext4 -q -F -b 1024 -O inline_data -d "$2" "$1"`, 3},
		{"ext2", "48M", []string{"mkfs.ext2"}, `mkfs.ext2 -q -F -d "$2" "$1"`, 3},
		{"btrfs", "256M", []string{"mkfs.btrfs"}, `mkfs.btrfs -q -f -d single --rootdir "$2" "$1"`, 2},
		{"vfat", "48M", []string{"mkfs.vfat", "mcopy"}, `mkfs.vfat "$1" >/dev/null && mcopy -s -i "$1" "$2"/* ::/`, 3},
		{"ntfs", "48M", []string{"mkntfs", "ntfscp"}, `mkntfs -q -F "$1" && for f in "$2"/*; do ntfscp -q "$1" "$f" "${f##*/}"; done`, 2},
		{"iso", "48M", []string{"genisoimage"}, `genisoimage -quiet -R -o "$1" "$2"`, 3},
		{"udf", "48M", []string{"genisoimage"}, `genisoimage -quiet -udf -o "$1" "$2"`, 3},
		{"xfs", "320M", []string{"mkfs.xfs"}, `printf '/\n0 0\nd--755 0 0\nbig ---644 0 0 %s/big\nfew ---644 0 0 %s/few\nodd ---644 0 0 %s/odd\n$\n' "$2" "$2" "$2" >"$1.proto" && mkfs.xfs -q -f -p "$1.proto" "$1"`, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, tool := range c.tools {
				needs.Tools(t, tool)
			}
			image := filepath.Join(t.TempDir(), "image")
			run(t, "truncate", "-s", c.size, image)
			run(t, "sh", "-ec", c.make, "sh", image, dir)
			f, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, _ := f.Stat()
			g := Open([]Disk{{Name: "vda", R: f, Size: st.Size()}}, Options{})
			v, err := g.Volume("vda")
			if err != nil {
				t.Fatal(err)
			}
			fs, err := v.FS()
			if err != nil {
				t.Fatal(err)
			}
			if n := treetest.Placed(t, fs, f); n < c.whole {
				t.Errorf("%d files lie there as they are, %d should", n, c.whole)
			}
			if spans, ok := v.Where(4096, 10); !ok || len(spans) != 1 || spans[0] != (Span{Off: 4096, Len: 10}) {
				t.Errorf("a volume that is a disk lies at %v, %v", spans, ok)
			}
		})
	}
}

func filesToPlace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	random := make([]byte, 3<<20+777)
	rand.Read(random)
	for name, b := range map[string][]byte{"big": random, "few": random[:70_000], "odd": random[9:4099], "tiny": []byte("x"), "none": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	holes, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	defer holes.Close()
	for _, off := range []int64{100_000, 1 << 20, 5 << 20} {
		if _, err := holes.WriteAt(bytes.Repeat([]byte{7}, 5000), off); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
