package btrfs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// sync syncs one file or folder, which writes to the log.
func (p filler) sync(name string) {
	p.T.Helper()
	f, err := os.Open(p.Path(name))
	p.Must(err)
	defer f.Close()
	p.Must(f.Sync())
}

// load does so many things below a folder, most of them followed by a sync of what they
// were done to.
func (p filler) load(dir string, n int) {
	for i := range 4 {
		p.Must(os.MkdirAll(p.Path(dir, fmt.Sprintf("d%d", i)), 0o755))
	}
	some := func() string { return fmt.Sprintf("%s/d%d/f%d", dir, p.rand.IntN(4), p.rand.IntN(25)) }
	for range n {
		name := some()
		path := p.Path(name)
		switch p.rand.IntN(16) {
		case 0, 1, 2, 3:
			os.WriteFile(path, p.text(p.rand.IntN(300000)), 0o640)
		case 4:
			os.Remove(path)
			name = filepath.Dir(name)
		case 5, 6:
			os.Rename(path, p.Path(some()))
			name = filepath.Dir(name)
		case 7:
			os.Link(path, p.Path(some()))
		case 8:
			os.Symlink(strings.Repeat("x", 1+p.rand.IntN(1000)), path)
			name = filepath.Dir(name)
		case 9:
			unix.Lsetxattr(path, fmt.Sprintf("user.%d", p.rand.IntN(5)), p.noise(p.rand.IntN(900)), 0)
		case 10:
			unix.Lremovexattr(path, fmt.Sprintf("user.%d", p.rand.IntN(5)))
		case 11:
			os.Truncate(path, int64(p.rand.IntN(400000)))
		default:
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				continue
			}
			f.WriteAt(p.text(1+p.rand.IntN(20000)), int64(p.rand.IntN(1<<19)))
			if p.rand.IntN(3) == 0 {
				unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, int64(p.rand.IntN(1<<19)), 40000)
			}
			f.Close()
		}
		if s, err := os.Lstat(p.Path(name)); err == nil && s.Mode()&os.ModeType&^os.ModeDir == 0 && p.rand.IntN(3) > 0 {
			p.sync(name)
		}
	}
}

var changeTime = regexp.MustCompile(` c (\d+) `)

// likeBefore gives back the time of change of what the kernel took a name from when it
// replayed the log: it sets that to the time of the mount.
func likeBefore(kernel, ours treetest.Lines, mounted time.Time) treetest.Lines {
	for path, line := range kernel {
		is, was := changeTime.FindStringSubmatch(line), changeTime.FindString(ours[path])
		if is == nil || was == "" {
			continue
		}
		if at, err := strconv.ParseInt(is[1], 10, 64); err == nil && at > mounted.Add(-time.Second).UnixNano() {
			kernel[path] = strings.Replace(line, is[0], was, 1)
		}
	}
	return kernel
}

// A copy taken while the guest runs has what it synced in the log alone.
func TestTheLogIsReplayedAsTheKernelReplaysIt(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for i, c := range []struct {
		options, mounted string
		n                int
	}{
		{"", "", 40},
		{"", "compress=zstd", 120},
		{"-O ^no-holes", "", 120},
		{"-n 4096 --csum xxhash", "compress=lzo", 200},
		{"-m single", "nodatasum", 80},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			images := mkfs(t, 1, 300, strings.Fields(c.options)...)
			dir, unmount := mount(t, images, strings.TrimPrefix(c.mounted+",commit=300", ","))
			p := fill(t, dir, uint64(i))
			treetest.Run(t, "btrfs", "-q", "subvolume", "create", p.Path("sub"))
			p.Must(os.Mkdir(p.Path("top"), 0o755))
			p.load("top", c.n)
			p.load("sub", c.n)
			treetest.Run(t, "btrfs", "filesystem", "sync", dir)
			p.load("sub", c.n/3)
			p.load("top", c.n)
			p.File("top/last", p.text(90000))
			p.sync("top/last")
			live := filepath.Join(filepath.Dir(images[0]), "live.img")
			treetest.Run(t, "cp", "--sparse=always", images[0], live)
			unmount()
			v := opened(t, live)
			if info := v.Info(); info.Journal != tree.Replayed || len(info.Notes) > 0 {
				t.Errorf("the volume says %+v", info)
			}
			got := exact.Ours(t, v)
			replayed := time.Now()
			dir, _ = mount(t, []string{live}, "")
			treetest.SameLines(t, got, likeBefore(exact.Kernel(t, dir), got, replayed))
		})
	}
}

func TestALogThatIsTooLargeIsLeftOutAndSaidSo(t *testing.T) {
	t.Parallel()
	needKernel(t)
	images := mkfs(t, 1, 300)
	dir, unmount := mount(t, images, "commit=300")
	p := fill(t, dir, 9)
	for i := range 500 {
		p.Attribute(p.File(fmt.Sprint(i), nil), "user.x", p.noise(3500))
		p.sync(fmt.Sprint(i))
	}
	live := filepath.Join(filepath.Dir(images[0]), "live.img")
	treetest.Run(t, "cp", "--sparse=always", images[0], live)
	unmount()
	l := part(t, live)
	v, err := Format.Open(l.R, l.Size, tree.Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	if i := v.Info(); i.Journal != tree.NotReplayed || !strings.Contains(strings.Join(i.Notes, " "), "last commit") {
		t.Errorf("the volume says %+v", i)
	}
	if _, err := readAll(v, 1000); err != nil { // of what was committed
		t.Error(err)
	}
}
