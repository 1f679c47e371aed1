package btrfs

import (
	"encoding/binary"
	"errors"
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
	rand *rand.Rand
}

func fill(t testing.TB, dir string, seed uint64) filler {
	return filler{treetest.Filler{T: t, Dir: dir}, rand.New(rand.NewPCG(seed, 3))}
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

func (p filler) everything(entries int) {
	p.files()
	p.folders(entries)
	p.nodes()
	p.attributes()
	p.times()
}

func (p filler) files() {
	for _, n := range []int{0, 1, 100, 2000, 2048, 4095, 4096, 4097, 65536, 131072, 131073, 1<<20 + 17} {
		p.File(fmt.Sprintf("noise-%d", n), p.noise(n))
		p.File(fmt.Sprintf("text-%d", n), p.text(n))
	}
	p.File("zeros", make([]byte, 3<<20))
	holey, err := os.Create(p.Path("holey"))
	p.Must(err)
	for _, at := range []int64{0, 1 << 20, 5<<20 + 100, 40 << 20} {
		_, err = holey.WriteAt(p.text(50000), at)
		p.Must(err)
	}
	p.Must(holey.Truncate(41<<20 + 5))
	p.Must(holey.Close())
	ahead, err := os.Create(p.Path("allocated ahead"))
	p.Must(err)
	p.Must(unix.Fallocate(int(ahead.Fd()), 0, 0, 1<<20))
	_, err = ahead.WriteAt(p.noise(9000), 300000)
	p.Must(err)
	p.Must(ahead.Sync())
	p.Must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 1<<20))
	p.Must(unix.Fallocate(int(ahead.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, 303000, 3000))
	p.Must(ahead.Close())
	over, err := os.Create(p.Path("written over"))
	p.Must(err)
	for range 60 { // compressed extents of which parts are left
		_, err = over.WriteAt(p.text(1+p.rand.IntN(200000)), int64(p.rand.IntN(2<<20)))
		p.Must(err)
		p.Must(over.Sync())
	}
	p.Must(over.Close())
	p.Must(os.Chmod(p.File("setuid", p.noise(10)), 0o755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	p.Must(os.Chown(p.File("owned", p.noise(10)), 4000000000, 12345))
}

func (p filler) folders(entries int) {
	for _, n := range []int{0, 3, entries} {
		dir := fmt.Sprintf("folder-%d", n)
		p.Must(os.Mkdir(p.Path(dir), 0o751))
		for i := range n {
			p.File(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i), nil)
		}
		for i := 0; i < n; i += 5 {
			p.Must(os.Remove(p.Path(fmt.Sprintf("%s/%s-%d", dir, strings.Repeat("name", i%9), i))))
		}
	}
	p.Must(os.MkdirAll(p.Path("a/b/c/d/e/f"), 0o700))
	for _, name := range []string{strings.Repeat("n", 255), "with\nline", "\xff\xfe not UTF-8", "Grüße", "...", " ", "-"} {
		p.File("a/"+name, p.noise(5))
	}
	p.Must(os.Link(p.Path("noise-4096"), p.Path("a/b/second name")))
	many := p.File("many names", p.noise(5))
	for i := range 300 { // more than fit one item of references
		if err := os.Link(many, p.Path(fmt.Sprintf("a/b/%s%d", strings.Repeat("l", 200), i))); errors.Is(err, unix.EMLINK) {
			break // without extref
		} else {
			p.Must(err)
		}
	}
}

func (p filler) nodes() {
	p.Nodes()
	for _, n := range []int{1, 100, 1000, 3000} {
		p.Must(os.Symlink(strings.Repeat("t/", n/2)+strings.Repeat("u", n%2), p.Path(fmt.Sprintf("link-%d", n))))
	}
}

func (p filler) attributes() {
	few := p.File("few attributes", p.noise(100))
	p.Attribute(few, "user.a", []byte("1"))
	p.Attribute(few, "user.empty", nil)
	p.Attribute(few, "trusted.t", []byte("2"))
	p.Attribute(few, "user.large", p.noise(3000))
	many := p.File("many attributes", nil)
	for i := range 200 {
		p.Attribute(many, fmt.Sprintf("user.%s.%d", strings.Repeat("x", i%60), i), p.noise(i%50))
	}
	p.Attribute(p.Path("folder-3"), "user.of a folder", []byte("f"))
	p.Attribute(p.Path("link-1"), "trusted.of a link", p.noise(300))
	acl := le.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 5, 1000}, {4, 4, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		acl = le.AppendUint32(le.AppendUint16(le.AppendUint16(acl, uint16(e[0])), uint16(e[1])), e[2])
	}
	p.Attribute(few, "system.posix_acl_access", acl)
	p.Attribute(p.Path("folder-3"), "system.posix_acl_default", acl)
	p.File("folder-3/inherits", nil)
}

func (p filler) times() {
	p.Times(time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(-9000000000, 1), time.Unix(1<<33, 5), time.Unix(1700000000, 123456789))
}
