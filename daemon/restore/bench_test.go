package restore

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// fileDisk is a disk whose bytes are those of a file: the cost of reading is that
// of cp.
type fileDisk struct {
	*os.File
	size int64
}

func (f fileDisk) Info() blockstore.DiskInfo { return blockstore.DiskInfo{Name: "vda"} }
func (f fileDisk) Size() int64               { return f.size }
func (f fileDisk) BlockSize() int            { return 65536 }

func (f fileDisk) Extents(_ context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Offset: off, Length: length})
}

// BenchmarkRestore puts a disk of 256 MiB, half of it zeros, into memory, in turn
// with cp --sparse=always.
func BenchmarkRestore(b *testing.B) {
	folder, err := os.MkdirTemp("/dev/shm", "holdfast-bench-")
	if err != nil {
		b.Skip("needs /dev/shm: ", err)
	}
	defer os.RemoveAll(folder)
	d := randomDisk("vda", 256<<20, 65536, 1)
	path := filepath.Join(folder, "source")
	if err := os.WriteFile(path, d.bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	target := filepath.Join(folder, "target")
	each := func(name string, restore func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(d.size)
			for b.Loop() {
				if err := restore(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				os.Remove(target)
				b.StartTimer()
			}
		})
	}
	for _, kind := range []Kind{Raw, Qcow2} {
		each(kind.String(), func() error {
			_, err := Run(context.Background(), toFile(fileDisk{f, d.size}, kind, target), Options{})
			return err
		})
	}
	each("cp", func() error { return exec.Command("cp", "--sparse=always", path, target).Run() })
}
