package xfs

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// filler fills a mounted file system with one of everything.
type filler struct {
	treetest.Filler
	rand  *rand.Rand
	plain bool // what it writes can be compressed
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

// populate fills a mounted file system. entries is how many names the largest
// folder gets.
func populate(t testing.TB, dir string, entries int) {
	t.Helper()
	filler{treetest.Filler{T: t, Dir: dir}, rand.New(rand.NewPCG(7, 7)), false}.everything(entries)
}

func (p filler) everything(entries int) {
	p.T.Helper()
	p.files()
	p.folders(entries)
	p.links()
	p.nodes()
	p.attributes()
	p.times()
}

func (p filler) files() {
	for _, n := range []int{0, 1, 511, 512, 4095, 4096, 4097, 65536, 1<<20 + 17} {
		p.File(fmt.Sprintf("file-%d", n), p.text(n))
	}
	holey, err := os.Create(p.Path("holey"))
	p.Must(err)
	for _, at := range []int64{0, 1 << 20, 5<<20 + 100, 40 << 30} {
		_, err = holey.WriteAt(p.text(5000), at)
		p.Must(err)
	}
	p.Must(holey.Truncate(41 << 30 / 1000)) // cut within, so that a sum of it is quick
	p.Must(holey.Close())
	ahead, err := os.Create(p.Path("allocated ahead"))
	p.Must(err)
	p.Must(unix.Fallocate(int(ahead.Fd()), 0, 0, 1<<20))
	_, err = ahead.WriteAt(p.text(9000), 300000)
	p.Must(err)
	p.Must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 1<<20))
	p.Must(ahead.Close())
	p.fragmented("fragmented", 40)
	p.fragmented("shattered", 900)
	p.Must(os.Chmod(p.File("setuid", p.text(10)), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	p.Must(os.Chown(p.File("owned", p.text(10)), 4000000000, 12345))
}

// fragmented writes every other block of a file, so that each is an extent.
func (p filler) fragmented(name string, n int) {
	f, err := os.Create(p.Path(name))
	p.Must(err)
	defer f.Close()
	var s unix.Statfs_t
	p.Must(unix.Fstatfs(int(f.Fd()), &s))
	step := min(s.Bsize, 4096)
	for i := range n {
		_, err := f.WriteAt(p.text(int(step)), int64(i)*2*s.Bsize)
		p.Must(err)
	}
	p.Must(f.Sync())
}

func (p filler) folders(entries int) {
	for _, n := range []int{0, 3, 12, 60, 400, entries} {
		dir := fmt.Sprintf("folder-%d", n)
		p.Must(os.Mkdir(p.Path(dir), 0o751))
		for i := range n {
			p.File(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i), nil)
		}
		for i := 0; i < n; i += 3 { // leaves gaps
			if i%4 != 0 {
				p.Must(os.Remove(p.Path(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i))))
			}
		}
	}
	p.Must(os.MkdirAll(p.Path("a/b/c/d/e/f"), 0o700))
	for _, name := range []string{strings.Repeat("n", 255), "with\nline", "\xff\xfe not UTF-8", "Grüße", "...", " ", "-"} {
		p.File("a/"+name, p.text(5))
	}
	p.Must(os.Link(p.Path("file-4096"), p.Path("a/b/second name")))
	p.Must(os.Link(p.Path("file-4096"), p.Path("third name")))
}

func (p filler) links() {
	for _, n := range []int{1, 20, 100, 300, 335, 336, 337, 420, 480, 800, 968, 969, 1020, 1023} {
		p.Must(os.Symlink(strings.Repeat("t/", n/2)+strings.Repeat("u", n%2), p.Path(fmt.Sprintf("link-%d", n))))
	}
	p.Must(os.Symlink("/absolute", p.Path("link")))
}

func (p filler) nodes() {
	p.Nodes()
	p.Must(unix.Mknod(p.Path("whiteout"), unix.S_IFCHR|0o600, 0))
}

func (p filler) attributes() {
	few := p.File("few attributes", p.text(100))
	p.Attribute(few, "user.a", []byte("1"))
	p.Attribute(few, "user.empty", nil)
	p.Attribute(few, "trusted.t", []byte("2"))
	p.Attribute(few, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	large := p.File("large attributes", p.text(100))
	for _, n := range []int{200, 2000, 3000, 4039, 4040, 4041, 9000, 30000, 65536} {
		p.Attribute(large, fmt.Sprintf("user.%d", n), p.text(n))
	}
	many := p.File("many attributes", nil)
	for i := range 700 {
		p.Attribute(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i), p.text(i%50))
	}
	for i := 0; i < 700; i += 5 {
		p.Must(unix.Lremovexattr(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i)))
	}
	p.Attribute(p.Path("folder-60"), "user.of a folder", []byte("f"))
	p.Attribute(p.Path("link-1023"), "trusted.of a link", p.text(300))
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
	p.Attribute(p.File("with ACL", nil), "system.posix_acl_access", acl(1))
	p.Attribute(p.File("with long ACL", nil), "system.posix_acl_access", acl(20))
	p.Attribute(p.Path("folder-12"), "system.posix_acl_access", acl(3))
	p.Attribute(p.Path("folder-12"), "system.posix_acl_default", acl(5))
	p.File("folder-12/inherits", nil)
}

func (p filler) times() {
	p.Times(time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-2000000000, 1), time.Unix(1<<31-1, 5), time.Unix(1700000000, 123456789))
	far := p.File("time-far", nil) // kept only with bigtime, cut to 2038 without
	p.Must(os.Chtimes(far, time.Unix(9000000000, 7), time.Unix(9999999999, 8)))
}
