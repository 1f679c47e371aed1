package ntfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maker writes files into a mounted volume; its chance is fixed.
type maker struct {
	t    testing.TB
	dir  string
	rand *rand.ChaCha8
}

func newMaker(t testing.TB, dir string) *maker {
	return &maker{t, dir, rand.NewChaCha8([32]byte{1})}
}

func (m *maker) path(name string) string { return filepath.Join(m.dir, name) }

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) write(name string, content []byte) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), content, 0o644))
}

func (m *maker) random(n int) []byte {
	b := make([]byte, n)
	m.rand.Read(b)
	return b
}

// text is n bytes that compress well.
func (m *maker) text(n int) []byte {
	var b bytes.Buffer
	r := rand.New(m.rand)
	for b.Len() < n {
		fmt.Fprintf(&b, "line %d of what a guest wrote, word %x, ", b.Len(), r.IntN(300))
		if r.IntN(8) == 0 {
			b.WriteString(strings.Repeat("-", r.IntN(400)))
		}
	}
	return b.Bytes()[:n]
}

// sparse writes pieces at offsets of a file of a size.
func (m *maker) sparse(name string, size int64, pieces map[int64][]byte) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	f, err := os.Create(m.path(name))
	m.must(err)
	defer f.Close()
	for at, p := range pieces {
		_, err := f.WriteAt(p, at)
		m.must(err)
	}
	m.must(f.Truncate(size))
}

func (m *maker) xattr(name, attribute string, value []byte) {
	m.t.Helper()
	m.must(unix.Setxattr(m.path(name), attribute, value, 0))
}

// shortAsWell is a file that gets a DOS name.
const shortAsWell = "Long Name With A Short One.txt"

// ordinary writes one of everything that a volume can have.
func (m *maker) ordinary(large int) {
	m.write("empty", nil)
	m.write("resident", []byte("a few bytes"))
	m.write("almost resident", m.random(690))
	m.write("large.bin", m.random(large))
	m.write("sub/deep/er/file.txt", m.text(5000))
	m.sparse("sparse", 3<<20+77, map[int64][]byte{0: m.random(100), 1 << 20: m.random(70000), 2<<20 + 5: m.random(3)})
	m.sparse("grown", 700_000, map[int64][]byte{0: m.random(10_000)})
	m.sparse("hole", 1<<22+1, nil)
	for _, name := range []string{"ümläut", "日本語.txt", "emoji 😀", "half of one \xed\xa0\xbd", "trailing dot.", "con", `back\slash`, "a:b*c?", "UPPER", "upper", strings.Repeat("x", 255)} {
		m.write("names/"+name, []byte(name))
	}
	m.must(os.Link(m.path("resident"), m.path("sub/second name")))
	m.must(os.Link(m.path("large.bin"), m.path("sub/deep/large again")))
	m.must(os.Symlink("../resident", m.path("sub/link")))
	m.must(os.Symlink("/absolute/ünï", m.path("absolute")))
	m.must(os.Symlink(strings.Repeat("long/", 300)+"end", m.path("long link")))
	m.must(unix.Mknod(m.path("null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	m.must(unix.Mknod(m.path("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(254, 700))))
	m.write("streams", []byte("main"))
	m.xattr("streams", "user.Zone.Identifier", []byte("[ZoneTransfer]\r\nZoneId=3\r\n"))
	m.xattr("streams", "user.empty", nil)
	m.xattr("streams", "user.large", m.random(60_000))
	m.xattr("sub", "user.of a folder", []byte("x"))
	m.write(shortAsWell, []byte("dos"))
	m.xattr(shortAsWell, "system.ntfs_dos_name", []byte("LONGNA~1.TXT"))
	m.write("hidden", []byte("h"))
	m.xattr("hidden", "system.ntfs_attrib_be", []byte{0, 0, 0, 0x27})
	when := time.Date(2031, 5, 6, 7, 8, 9, 123456700, time.UTC)
	m.must(os.Chtimes(m.path("hidden"), time.Date(1975, 1, 2, 3, 4, 5, 600, time.UTC), when))
}

// compressed writes files into a folder that is marked so.
func (m *maker) compressed() {
	m.must(os.Mkdir(m.path("packed"), 0o755))
	m.xattr("packed", "system.ntfs_attrib_be", []byte{0, 0, 8, 0x10})
	m.write("packed/text", m.text(1_500_003))
	m.write("packed/random", m.random(300_000))
	m.write("packed/zeros", make([]byte, 400_000))
	m.write("packed/small", m.text(100))
	m.write("packed/unit", m.text(65536))
	var mixed []byte // units that are compressed, not compressed, and holes, side by side
	for i := range 40 {
		switch i % 4 {
		case 0:
			mixed = append(mixed, m.text(65536)...)
		case 1:
			mixed = append(mixed, m.random(65536)...)
		case 2:
			mixed = append(mixed, make([]byte, 65536)...)
		default:
			mixed = append(append(mixed, m.text(30000)...), m.random(35000)...)
		}
	}
	m.write("packed/mixed", mixed)
	m.sparse("packed/sparse", 5<<20+9, map[int64][]byte{1 << 20: m.text(200_000), 3<<20 + 77: m.random(70_000)})
	m.sparse("packed/grown", 900_000, map[int64][]byte{0: m.text(100_000)})
}
