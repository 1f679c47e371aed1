package fat

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// need skips a test where a tool is missing, or fails it on a machine that
// promised to have everything.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("HOLDFAST_CI") == "1" {
				t.Fatalf("needs %s", tool)
			}
			t.Skipf("needs %s", tool)
		}
	}
}

// makeFAT makes an image of so many KiB.
func makeFAT(t testing.TB, kib int64, options ...string) string {
	t.Helper()
	need(t, "mkfs.vfat", "mcopy")
	image := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(kib << 10); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.vfat", append(append([]string{"-i", "1234ABCD", "-n", "DATEN 1"}, options...), image)...)
	return image
}

// tool runs a tool; mtools gets settings that are the same everywhere.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// openImage opens an image; it is closed when the test ends.
func openImage(t testing.TB, image string, o tree.Options) tree.FileSystem {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !Format.Probe(f, info.Size()) {
		t.Fatal("it is not recognized")
	}
	v, err := Format.Open(f, info.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}
