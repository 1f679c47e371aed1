package ext

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// benchImage holds 12,000 small files in 400 folders, or one large file.
func benchImage(b *testing.B, large int64) string {
	b.Helper()
	source := filepath.Join(treetest.Scratch(b), "source")
	os.Mkdir(source, 0o755)
	if large > 0 {
		chunk := pattern(1, 1<<20)
		f, err := os.Create(filepath.Join(source, "large"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for at := int64(0); at < large; at += int64(len(chunk)) {
			if _, err := f.WriteAt(chunk, at); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := 0; large == 0 && i < 12_000; i++ {
		dir := filepath.Join(source, fmt.Sprintf("folder %d/of %d", i%20, i/20%20))
		os.MkdirAll(dir, 0o755)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %d", i)), pattern(i, i%5000), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return mkfs(b, large+large/8+200<<20, "-t", "ext4", "-b", "4096", "-d", source)
}

// BenchmarkWalk lists a tree and reads the metadata of each entry, as find does.
func BenchmarkWalk(b *testing.B) {
	image := benchImage(b, 0)
	for _, how := range []string{"opened", "warm"} {
		b.Run(how, func(b *testing.B) {
			b.ReportAllocs()
			v := opened(b, image, tree.Options{})
			for b.Loop() {
				if how == "opened" {
					v = opened(b, image, tree.Options{})
				}
				if n := treetest.Walk(b, v); n < 12_000 {
					b.Fatalf("%d entries", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/12_421, "ns/entry")
		})
	}
}

// BenchmarkRead reads a large file in pieces of a megabyte.
func BenchmarkRead(b *testing.B) {
	const size = 256 << 20
	v := opened(b, benchImage(b, size), tree.Options{})
	ino, err := resolve(v, "large")
	if err != nil {
		b.Fatal(err)
	}
	f, err := v.Open(ino)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		for at := int64(0); at < size; at += int64(len(buf)) {
			if _, err := f.ReadAt(buf, at); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkLookup finds a name in a folder of 20,000, by its hash tree and without.
func BenchmarkLookup(b *testing.B) {
	for _, features := range []string{"dir_index", "^dir_index"} {
		b.Run(features, func(b *testing.B) {
			image := mkfs(b, 64<<20, "-t", "ext4", "-N", "30000", "-O", features)
			dir, unmount := mounted(b, image, "") // mke2fs would be slow with such a folder
			for i := range 20_000 {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("a name with a number %d", i)), nil, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			unmount()
			v := opened(b, image, tree.Options{})
			i := 0
			for b.Loop() {
				if _, err := v.Lookup(v.Root(), fmt.Sprintf("a name with a number %d", i%20_000)); err != nil {
					b.Fatal(err)
				}
				i += 7919
			}
		})
	}
}
