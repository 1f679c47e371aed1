package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// tool runs a tool of the host and returns its output.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ext4Image makes a disk with a file system of real files: the source of Go's
// standard library, about 60 MiB of 256.
func ext4Image(t *testing.T) (image, file string) {
	t.Helper()
	needs.Tools(t, "mkfs.ext4", "debugfs")
	image = filepath.Join(t.TempDir(), "disk.raw")
	source := filepath.Join(goRoot(t), "src")
	tool(t, "mkfs.ext4", "-q", "-F", "-d", source, image, "256M")
	return image, "/net/http/server.go"
}

func goRoot(t *testing.T) string {
	t.Helper()
	root := strings.TrimSpace(tool(t, "go", "env", "GOROOT"))
	if _, err := os.Stat(filepath.Join(root, "src")); err != nil {
		needs.Missing(t, "the source of Go's standard library: %v (%s)", err, runtime.Version())
	}
	return root
}

// noisyImage is a disk of blocks that do not compress, with holes between. It is made from
// a seed, so that two of one seed are equal.
func noisyImage(t *testing.T, seed uint64, mib int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "noisy.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(mib)<<20 + 4096*3); err != nil { // not a whole number of blocks
		t.Fatal(err)
	}
	noise := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	buf := make([]byte, 1<<20)
	for i := range mib {
		if i%7 == 3 {
			continue // a hole
		}
		noise.Read(buf)
		if _, err := f.WriteAt(buf, int64(i)<<20); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// change overwrites n places of an image.
func change(t *testing.T, image string, rng *rand.Rand, n int) {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		p := make([]byte, 1+rng.IntN(20<<10))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if _, err := f.WriteAt(p, rng.Int64N(size-int64(len(p)))); err != nil {
			t.Fatal(err)
		}
	}
}

// someFile returns a file of a folder of the vault, the largest there is.
func someFile(t *testing.T, folder string) string {
	t.Helper()
	var largest string
	var size int64
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatalf("no file in %s: %v", folder, err)
	}
	return largest
}

// newRand has a seed that the test prints.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
