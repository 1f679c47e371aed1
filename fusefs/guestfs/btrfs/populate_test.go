package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filler fills a mounted file system with one of everything.
type filler struct {
	t    testing.TB
	dir  string
	rand *rand.Rand
}

func fill(t testing.TB, dir string, seed uint64) filler {
	return filler{t, dir, rand.New(rand.NewPCG(seed, 3))}
}

func (p filler) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p filler) path(parts ...string) string {
	return filepath.Join(append([]string{p.dir}, parts...)...)
}

// noise is so many bytes that no compression makes smaller, text so many that any does.
func (p filler) noise(n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], p.rand.Uint64())
	}
	return b[:n]
}

func (p filler) text(n int) []byte {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d %x the same words again and again\n", p.rand.IntN(100), p.rand.IntN(1<<20))
		if p.rand.IntN(200) == 0 {
			b.Write(p.noise(900))
			b.WriteString(strings.Repeat("z", p.rand.IntN(6000)))
		}
	}
	return []byte(b.String()[:n])
}

func (p filler) file(name string, b []byte) string {
	p.t.Helper()
	p.must(os.WriteFile(p.path(name), b, 0o644))
	return p.path(name)
}

func (p filler) everything(entries int) {
	p.files()
	p.folders(entries)
	p.nodes()
	p.attributes()
	p.times()
}

func (p filler) files() {
	for _, n := range []int{0, 1, 100, 2000, 2048, 4095, 4096, 4097, 65536, 131072, 131073, 1<<20 + 17} {
		p.file(fmt.Sprintf("noise-%d", n), p.noise(n))
		p.file(fmt.Sprintf("text-%d", n), p.text(n))
	}
	p.file("zeros", make([]byte, 3<<20))
	holey, err := os.Create(p.path("holey"))
	p.must(err)
	for _, at := range []int64{0, 1 << 20, 5<<20 + 100, 40 << 20} {
		_, err = holey.WriteAt(p.text(50000), at)
		p.must(err)
	}
	p.must(holey.Truncate(41<<20 + 5))
	p.must(holey.Close())
	ahead, err := os.Create(p.path("allocated ahead"))
	p.must(err)
	p.must(unix.Fallocate(int(ahead.Fd()), 0, 0, 1<<20))
	_, err = ahead.WriteAt(p.noise(9000), 300000)
	p.must(err)
	p.must(ahead.Sync())
	p.must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 1<<20))
	p.must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, 303000, 3000))
	p.must(ahead.Close())
	over, err := os.Create(p.path("written over"))
	p.must(err)
	for range 60 { // compressed extents of which parts are left
		_, err = over.WriteAt(p.text(1+p.rand.IntN(200000)), int64(p.rand.IntN(2<<20)))
		p.must(err)
		p.must(over.Sync())
	}
	p.must(over.Close())
	p.must(os.Chmod(p.file("setuid", p.noise(10)), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	p.must(os.Chown(p.file("owned", p.noise(10)), 4000000000, 12345))
}

func (p filler) folders(entries int) {
	for _, n := range []int{0, 3, entries} {
		dir := fmt.Sprintf("folder-%d", n)
		p.must(os.Mkdir(p.path(dir), 0o751))
		for i := range n {
			p.file(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i), nil)
		}
		for i := 0; i < n; i += 5 {
			p.must(os.Remove(p.path(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i))))
		}
	}
	p.must(os.MkdirAll(p.path("a/b/c/d/e/f"), 0o700))
	for _, name := range []string{strings.Repeat("n", 255), "with\nline", "\xff\xfe not UTF-8", "Grüße", "...", " ", "-"} {
		p.file("a/"+name, p.noise(5))
	}
	p.must(os.Link(p.path("noise-4096"), p.path("a/b/second name")))
	many := p.file("many names", p.noise(5))
	for i := range 300 { // more than fit one item of references
		if err := os.Link(many, p.path(fmt.Sprintf("a/b/%s%d", strings.Repeat("l", 200), i))); errors.Is(err, unix.EMLINK) {
			break // without extref
		} else {
			p.must(err)
		}
	}
}

func (p filler) nodes() {
	for _, n := range []int{1, 100, 1000, 3000} {
		p.must(os.Symlink(strings.Repeat("t/", n/2)+strings.Repeat("u", n%2), p.path(fmt.Sprintf("link-%d", n))))
	}
	p.must(unix.Mkfifo(p.path("fifo"), 0o600))
	p.must(unix.Mknod(p.path("socket"), unix.S_IFSOCK|0o600, 0))
	p.must(unix.Mknod(p.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	p.must(unix.Mknod(p.path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(253, 70000))))
}

func (p filler) attribute(path, name string, value []byte) {
	p.t.Helper()
	p.must(unix.Lsetxattr(path, name, value, 0))
}

func (p filler) attributes() {
	few := p.file("few attributes", p.noise(100))
	p.attribute(few, "user.a", []byte("1"))
	p.attribute(few, "user.empty", nil)
	p.attribute(few, "trusted.t", []byte("2"))
	p.attribute(few, "user.large", p.noise(3000))
	many := p.file("many attributes", nil)
	for i := range 200 {
		p.attribute(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i), p.noise(i%50))
	}
	p.attribute(p.path("folder-3"), "user.of a folder", []byte("f"))
	p.attribute(p.path("link-1"), "trusted.of a link", p.noise(300))
	acl := le.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 5, 1000}, {4, 4, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = le.AppendUint32(le.AppendUint16(le.AppendUint16(acl, uint16(e[0])), uint16(e[1])), e[2])
	}
	p.attribute(few, "system.posix_acl_access", acl)
	p.attribute(p.path("folder-3"), "system.posix_acl_default", acl)
	p.file("folder-3/inherits", nil)
}

func (p filler) times() {
	for i, at := range []time.Time{time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-9000000000, 1), time.Unix(1<<33, 5), time.Unix(1700000000, 123456789)} {
		name := p.file(fmt.Sprintf("time-%d", i), nil)
		p.must(os.Chtimes(name, at, at.Add(time.Nanosecond)))
	}
}
