package exfat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// makeImage makes a volume of so many MiB.
func makeImage(t testing.TB, mib int64, options ...string) string {
	t.Helper()
	needs.Tools(t, "mkfs.exfat", "fsck.exfat", "mount.exfat-fuse", "losetup")
	image := filepath.Join(t.TempDir(), "exfat.img")
	treetest.Sparse(t, image, mib<<20)
	treetest.Run(t, "mkfs.exfat", append(append([]string{"-L", "DATEN ü1"}, options...), image)...)
	return image
}

// mounted calls f with a folder where exfat-fuse shows an image.
func mounted(t testing.TB, image, options string, f func(dir string)) {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	needs.That(t, err == nil && os.Getuid() == 0, "/dev/fuse and root")
	dir := t.TempDir()
	loop := strings.TrimSpace(treetest.Run(t, "losetup", "--find", "--show", image))
	defer treetest.Run(t, "losetup", "--detach", loop)
	treetest.Run(t, "mount.exfat-fuse", "-o", options, loop, dir)
	defer treetest.Unmount(t, dir)
	f(dir)
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// populate writes files of all kinds; some in pieces, since it makes holes between
// clusters first.
func populate(t testing.TB, dir string, large, many int) {
	t.Helper()
	for i := range 24 {
		write(t, filepath.Join(dir, fmt.Sprint("filler", i)), treetest.Random(40_000, byte(i)))
	}
	for i := range 12 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprint("filler", 2*i))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "in pieces"), treetest.Random(large, 1))
	for name, n := range map[string]int{"empty": 0, "A.TXT": 5, "one cluster": 4096, "whole": large, "sub/deep/er/file": 70_001,
		"ümläut.txt": 1, "日本語 のファイル.txt": 2, "Ελληνικά.txt": 3, "emoji 😀 and 𝄞.txt": 4, "dir/fifteen-units": 1,
		"names/" + strings.Repeat("y", 255): 255, "names/exactly-thirty-units-are-here": 30, "names/ leading and trailing.x": 2} {
		write(t, filepath.Join(dir, name), treetest.Random(n, 2))
	}
	for i := range many {
		write(t, filepath.Join(dir, "many", fmt.Sprintf("a file with a name of some length %04d.txt", i)), fmt.Append(nil, i))
		if i%50 == 0 { // other clusters between those of the folder
			write(t, filepath.Join(dir, fmt.Sprint("between", i)), treetest.Random(9000, 3))
		}
	}
	when := time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "A.TXT"), when, when); err != nil {
		t.Fatal(err)
	}
}

func openBytes(t testing.TB, b []byte, o tree.Options) *volume {
	t.Helper()
	return treetest.OpenBytes(t, Format, b, o).(*volume)
}
