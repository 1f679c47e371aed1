package xfs

import (
	"encoding/binary"
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
	t     testing.TB
	dir   string
	rand  *rand.Rand
	plain bool // what it writes can be compressed
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

// text is so many bytes that no compression or chance makes equal to others.
func (p filler) text(n int) []byte {
	b := make([]byte, n)
	if p.plain {
		return append(b[:0], strings.Repeat(fmt.Sprintf("%016x\n", p.rand.Uint64()), n/17+1)[:n]...)
	}
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], p.rand.Uint64())
	}
	return b
}

func (p filler) file(name string, b []byte) string {
	p.t.Helper()
	p.must(os.WriteFile(p.path(name), b, 0o644))
	return p.path(name)
}

// populate fills a mounted file system. entries is how many names the largest
// folder gets.
func populate(t testing.TB, dir string, entries int) {
	t.Helper()
	filler{t, dir, rand.New(rand.NewPCG(7, 7)), false}.everything(entries)
}

func (p filler) everything(entries int) {
	p.t.Helper()
	p.files()
	p.folders(entries)
	p.links()
	p.nodes()
	p.attributes()
	p.times()
}

func (p filler) files() {
	for _, n := range []int{0, 1, 511, 512, 4095, 4096, 4097, 65536, 1<<20 + 17} {
		p.file(fmt.Sprintf("file-%d", n), p.text(n))
	}
	holey, err := os.Create(p.path("holey"))
	p.must(err)
	for _, at := range []int64{0, 1 << 20, 5<<20 + 100, 40 << 30} {
		_, err = holey.WriteAt(p.text(5000), at)
		p.must(err)
	}
	p.must(holey.Truncate(41 << 30 / 1000)) // cut within, so that a sum of it is quick
	p.must(holey.Close())
	ahead, err := os.Create(p.path("allocated ahead"))
	p.must(err)
	p.must(unix.Fallocate(int(ahead.Fd()), 0, 0, 1<<20))
	_, err = ahead.WriteAt(p.text(9000), 300000)
	p.must(err)
	p.must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 1<<20))
	p.must(ahead.Close())
	p.fragmented("fragmented", 40)
	p.fragmented("shattered", 900)
	p.must(os.Chmod(p.file("setuid", p.text(10)), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	p.must(os.Chown(p.file("owned", p.text(10)), 4000000000, 12345))
}

// fragmented writes every other block of a file, so that each is an extent.
func (p filler) fragmented(name string, n int) {
	f, err := os.Create(p.path(name))
	p.must(err)
	defer f.Close()
	var s unix.Statfs_t
	p.must(unix.Fstatfs(int(f.Fd()), &s))
	step := min(s.Bsize, 4096)
	for i := range n {
		_, err := f.WriteAt(p.text(int(step)), int64(i)*2*s.Bsize)
		p.must(err)
	}
	p.must(f.Sync())
}

func (p filler) folders(entries int) {
	for _, n := range []int{0, 3, 12, 60, 400, entries} {
		dir := fmt.Sprintf("folder-%d", n)
		p.must(os.Mkdir(p.path(dir), 0o751))
		for i := range n {
			p.file(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i), nil)
		}
		for i := 0; i < n; i += 3 { // leaves gaps
			if i%4 != 0 {
				p.must(os.Remove(p.path(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i))))
			}
		}
	}
	p.must(os.MkdirAll(p.path("a/b/c/d/e/f"), 0o700))
	for _, name := range []string{strings.Repeat("n", 255), "with\nline", "\xff\xfe not UTF-8", "Grüße", "...", " ", "-"} {
		p.file("a/"+name, p.text(5))
	}
	p.must(os.Link(p.path("file-4096"), p.path("a/b/second name")))
	p.must(os.Link(p.path("file-4096"), p.path("third name")))
}

func (p filler) links() {
	for _, n := range []int{1, 20, 100, 300, 335, 336, 337, 420, 480, 800, 968, 969, 1020, 1023} {
		p.must(os.Symlink(strings.Repeat("t/", n/2)+strings.Repeat("u", n%2), p.path(fmt.Sprintf("link-%d", n))))
	}
	p.must(os.Symlink("/absolute", p.path("link")))
}

func (p filler) nodes() {
	p.must(unix.Mkfifo(p.path("fifo"), 0o600))
	p.must(unix.Mknod(p.path("socket"), unix.S_IFSOCK|0o600, 0))
	p.must(unix.Mknod(p.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	p.must(unix.Mknod(p.path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(253, 70000))))
	p.must(unix.Mknod(p.path("whiteout"), unix.S_IFCHR|0o600, 0))
}

func (p filler) attribute(path, name string, value []byte) {
	p.t.Helper()
	p.must(unix.Lsetxattr(path, name, value, 0))
}

func (p filler) attributes() {
	few := p.file("few attributes", p.text(100))
	p.attribute(few, "user.a", []byte("1"))
	p.attribute(few, "user.empty", nil)
	p.attribute(few, "trusted.t", []byte("2"))
	p.attribute(few, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	large := p.file("large attributes", p.text(100))
	for _, n := range []int{200, 2000, 3000, 4039, 4040, 4041, 9000, 30000, 65536} {
		p.attribute(large, fmt.Sprintf("user.%d", n), p.text(n))
	}
	many := p.file("many attributes", nil)
	for i := range 700 {
		p.attribute(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i), p.text(i%50))
	}
	for i := 0; i < 700; i += 5 {
		p.must(unix.Lremovexattr(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i)))
	}
	p.attribute(p.path("folder-60"), "user.of a folder", []byte("f"))
	p.attribute(p.path("link-1023"), "trusted.of a link", p.text(300))
	p.acls()
}

// acls gives a file and a folder ACLs with many entries.
func (p filler) acls() {
	acl := func(users int) []byte {
		b := le.AppendUint32(nil, 2)
		add := func(tag, permissions uint16, id uint32) {
			b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, tag), permissions), id)
		}
		add(1, 6, ^uint32(0))
		for i := range users {
			add(2, uint16(i%8), uint32(1000+i))
		}
		add(4, 4, ^uint32(0))
		add(8, 5, 77)
		add(16, 7, ^uint32(0))
		add(32, 0, ^uint32(0))
		return b
	}
	p.attribute(p.file("with ACL", nil), "system.posix_acl_access", acl(1))
	p.attribute(p.file("with long ACL", nil), "system.posix_acl_access", acl(20))
	p.attribute(p.path("folder-12"), "system.posix_acl_access", acl(3))
	p.attribute(p.path("folder-12"), "system.posix_acl_default", acl(5))
	p.file("folder-12/inherits", nil)
}

func (p filler) times() {
	for i, at := range []time.Time{time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-2000000000, 1), time.Unix(1<<31-1, 5), time.Unix(1700000000, 123456789)} {
		name := p.file(fmt.Sprintf("time-%d", i), nil)
		p.must(os.Chtimes(name, at, at.Add(time.Nanosecond)))
	}
	far := p.file("time-far", nil) // kept only with bigtime, cut to 2038 without
	p.must(os.Chtimes(far, time.Unix(9000000000, 7), time.Unix(9999999999, 8)))
}
