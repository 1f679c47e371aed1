package xfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// TestInsideAGuest is no test: testdata/make-fixtures runs it in a guest whose
// kernel can mount what few kernels can (version 4, names without case), to make
// the images that TestFixtures reads.
func TestInsideAGuest(t *testing.T) {
	what, device, report := os.Getenv("XFS_GUEST_DOES"), os.Getenv("XFS_GUEST_DEVICE"), os.Getenv("XFS_GUEST_REPORT")
	if what == "" {
		t.Skip("makes fixtures in a guest")
	}
	dir := t.TempDir()
	p := filler{treetest.Filler{T: t, Dir: dir}, rand.New(rand.NewPCG(11, 11)), true}
	on := func() { p.Must(unix.Mount(device, dir, "xfs", unix.MS_NOATIME, "")) }
	off := func() { p.Must(unix.Unmount(dir, 0)) }
	on()
	switch what {
	case "populate":
		p.everything(700)
	case "load":
		p.load(500)
		unix.Sync()
		p.load(500)
		shutDown(t, dir, logForced)
		off()
		return
	}
	off()
	on()
	p.Must(os.WriteFile(report, digest(exact.Kernel(t, dir)), 0))
	off()
}

// digest is a reading as a file: a path and a sum of what is known of it a line.
func digest(r treetest.Lines) []byte {
	var b bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&b, "%.8x %q\n", sha256.Sum256([]byte(r[path])), path)
	}
	fmt.Fprintln(&b, "end")
	return b.Bytes()
}

// sameDigest fails where a reading is not that which a digest was made of.
func sameDigest(t testing.TB, got treetest.Lines, want []byte) {
	t.Helper()
	lines := map[string]string{}
	for path := range got {
		lines[fmt.Sprintf("%q", path)] = got[path]
	}
	seen, bad := 0, 0
	for line := range strings.Lines(string(want)) {
		if line == "end\n" {
			break
		}
		sum, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		seen++
		if is := fmt.Sprintf("%.8x", sha256.Sum256([]byte(lines[path]))); is != sum {
			if bad++; bad <= 5 {
				t.Errorf("%s differs: got %q", path, lines[path])
			}
		}
	}
	if bad > 0 || seen != len(got) {
		t.Errorf("%d paths differ; there are %d, not %d", bad, len(got), seen)
	}
}
