package xfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// How a file system is shut down (XFS_FSOP_GOING_FLAGS_*).
const (
	logForced = 1
	logLost   = 2
)

// shutDown lets a mounted file system write nothing more, as a crash does.
func shutDown(t testing.TB, dir string, how uint32) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const goingDown = 0x8004587d // XFS_IOC_GOINGDOWN
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, f.Fd(), goingDown, uintptr(unsafe.Pointer(&how))); no != 0 {
		t.Fatal(no)
	}
}

// load does so many things to a mounted file system, some of them followed by a
// sync, so that the log has records of all sizes.
func load(t testing.TB, dir string, seed uint64, n int) {
	filler{treetest.Filler{T: t, Dir: dir}, rand.New(rand.NewPCG(seed, 1)), false}.load(n)
}

func (p filler) load(n int) {
	for i := range 8 {
		p.Must(os.MkdirAll(p.Path(fmt.Sprintf("d%d", i)), 0o755))
	}
	any := func() string { return p.Path(fmt.Sprintf("d%d", p.rand.IntN(8)), fmt.Sprintf("f%d", p.rand.IntN(120))) }
	for range n {
		path := any()
		switch k := p.rand.IntN(20); {
		case k < 6:
			os.WriteFile(path, p.text(p.rand.IntN(40000)), 0o640)
		case k < 9:
			os.Remove(path)
		case k < 11:
			os.Rename(path, any())
		case k == 11:
			os.Link(path, any())
		case k == 12:
			os.Symlink(strings.Repeat("x", 1+p.rand.IntN(1000)), path)
		case k == 13:
			unix.Lsetxattr(path, fmt.Sprintf("user.%d", p.rand.IntN(30)), p.text(p.rand.IntN(6000)), 0)
		case k == 14:
			unix.Lremovexattr(path, fmt.Sprintf("user.%d", p.rand.IntN(30)))
		case k == 15:
			os.Truncate(path, int64(p.rand.IntN(200000)))
		case k < 18:
			p.clone(path, any())
		default:
			if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
				f.WriteAt(p.text(3000), int64(p.rand.IntN(1<<20)))
				if k == 18 {
					f.Sync()
				}
				f.Close()
			}
		}
	}
}

// clone lets two files share a part, which what is written later takes apart.
func (p filler) clone(from, to string) {
	in, err := os.Open(from)
	if err != nil {
		return
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer out.Close()
	unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
}

// crashed makes an image whose file system was shut down under load.
func crashed(t testing.TB, options string, seed uint64, n int, how uint32) string {
	t.Helper()
	image := mkfs(t, 160, strings.Fields(options)...)
	dir, unmount := mount(t, image, "")
	load(t, dir, seed, n/2)
	unix.Sync()
	load(t, dir, seed+1000, n/2)
	shutDown(t, dir, how)
	unmount()
	return image
}

// replayedByKernel is the kernel's reading of a copy of a dirty image.
func replayedByKernel(t testing.TB, image string) treetest.Lines {
	t.Helper()
	dir, unmount := mount(t, treetest.Copy(t, image, filepath.Join(filepath.Dir(image), "copy.img")), "noatime")
	defer unmount()
	return exact.Kernel(t, dir)
}

func TestADirtyLogIsReplayedAsTheKernelReplaysIt(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for i, c := range []struct {
		options string
		n       int
		how     uint32
	}{
		{"", 400, logForced},
		{"", 2500, logLost},
		{"-m rmapbt=1 -i nrext64=1", 1500, logForced},
		{"-b size=1024 -n size=4096", 2000, logForced},
		{"-l su=64k", 800, logForced},
		{"-m reflink=0,bigtime=0 -i sparse=0", 9000, logLost},
		{"-n size=16384 -i size=1024", 2500, logForced},
		{"-s size=4096 -d agcount=3", 4000, logLost},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			image := crashed(t, c.options, uint64(i), c.n, c.how)
			v := treetest.OpenImage(t, Format, image, tree.Options{})
			if i := v.Info(); i.Journal != tree.Replayed || len(i.Notes) > 0 {
				t.Errorf("the volume says %+v", i)
			}
			treetest.SameLines(t, exact.Ours(t, v), replayedByKernel(t, image))
		})
	}
}
