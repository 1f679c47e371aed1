package ntfs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// BenchmarkWalk stats 10,000 files of a volume that was just opened; find does so
// through an ntfs-3g that was just mounted.
func BenchmarkWalk(b *testing.B) {
	image := makeNTFS(b, 256)
	mounted(b, image, "", func(dir string) {
		m := newMaker(b, dir)
		for i := range 10_000 {
			m.write(fmt.Sprintf("folder %03d/file number %05d.txt", i/50, i), m.random(i%3000))
		}
	})
	f, err := os.Open(image)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("ours", func(b *testing.B) { treetest.BenchWalk(b, Format, f, 256<<20, 10_200) })
	b.Run("find", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			mounted(b, image, "ro", func(dir string) {
				b.StartTimer()
				if out, err := exec.Command("find", dir, "-size", "+9000000").CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				b.StopTimer()
			})
			b.StartTimer()
		}
	})
}

// BenchmarkRead reads a plain and a compressed file in pieces of 1 MiB.
func BenchmarkRead(b *testing.B) {
	image := makeNTFS(b, 256)
	mounted(b, image, "compression", func(dir string) {
		m := newMaker(b, dir)
		m.write("plain", m.text(128<<20))
		m.must(os.Mkdir(m.path("packed"), 0o755))
		m.xattr("packed", "system.ntfs_attrib_be", []byte{0, 0, 8, 0x10})
		m.write("packed/text", m.text(32<<20))
	})
	v := treetest.OpenImage(b, Format, image, tree.Options{})
	packed, err := v.Lookup(v.Root(), "packed")
	if err != nil {
		b.Fatal(err)
	}
	for name, dir := range map[string]uint64{"plain": v.Root(), "text": packed} {
		ino, err := v.Lookup(dir, name)
		if err != nil {
			b.Fatal(err)
		}
		a, _ := v.Stat(ino)
		f, err := v.Open(ino)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(a.Size)
			for range b.N {
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(f, 0, a.Size), make([]byte, 1<<20))
				if err != nil || n != a.Size {
					b.Fatal(n, err)
				}
			}
		})
	}
}
