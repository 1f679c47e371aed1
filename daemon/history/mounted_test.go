package history

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fact is what the kernel says of a path.
type fact struct {
	kind   string
	mode   uint32
	uid    uint32
	size   int64
	mtime  int64
	sum    string
	target string
	attr   string // the attribute user.x
}

// mounted is a file system that the kernel has mounted, and that is changed at random.
type mounted struct {
	t         *testing.T
	r         *rand.Rand
	image, at string
	device    string
	whole     bool // sync it all: its fsync leaves more than what was synced behind
	serial    int
	touched   map[string]bool // to be synced
}

// mountNew makes and mounts a file system; its journal is as dirty as it gets.
func mountNew(t *testing.T, seed uint64, size, mkfs, options string) *mounted {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	dir := scratch(t)
	m := &mounted{t: t, r: rand.New(rand.NewPCG(seed, 3)), image: filepath.Join(dir, "image"), at: filepath.Join(dir, "mnt"), touched: map[string]bool{}}
	sh(t, "", `truncate -s `+size+` "$1"; `+mkfs+` "$1" >/dev/null; mkdir "$2"`, m.image, m.at)
	m.device = strings.TrimSpace(sh(t, "", `losetup -f --show "$1"`, m.image))
	t.Cleanup(func() { sh(t, "", `losetup -d "$1"`, m.device) })
	sh(t, "", `mount -o noatime,`+options+` "$1" "$2"`, m.device, m.at)
	t.Cleanup(func() { sh(t, "", `umount "$1"`, m.at) })
	for _, d := range []string{"etc", "home", "home/ann", "home/ann/deep", "var"} {
		m.must(os.Mkdir(filepath.Join(m.at, d), 0o755))
	}
	return m
}

func (m *mounted) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// paths are the files or folders that there are, the top left out.
func (m *mounted) paths(folders bool) []string {
	var list []string
	m.must(filepath.WalkDir(m.at, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() == folders && p != m.at && d.Name() != "lost+found" && d.Name() != "steady" {
			list = append(list, p)
		}
		return err
	}))
	return list
}

func pick(r *rand.Rand, list []string, or string) string {
	if len(list) == 0 {
		return or
	}
	return list[r.IntN(len(list))]
}

// change does one thing.
func (m *mounted) change() {
	m.serial++
	r := m.r
	folder := pick(r, m.paths(true), m.at)
	fresh := filepath.Join(folder, fmt.Sprintf("n%d", m.serial))
	file := pick(r, m.paths(false), "")
	st, err := os.Lstat(file)
	regular := err == nil && st.Mode().IsRegular()
	random := make([]byte, r.IntN(30_000))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	what := r.IntN(14)
	if file == "" || what > 3 && what < 9 && !regular {
		what = r.IntN(3)
	}
	switch what {
	case 0, 1:
		m.must(os.WriteFile(fresh, random, 0o644))
		m.touched[fresh] = true
	case 2:
		m.must(os.Mkdir(fresh, 0o750))
	case 3:
		m.must(os.Symlink("target"+fmt.Sprint(m.serial), fresh))
	case 4:
		m.write(file, os.O_APPEND, random[:len(random)/4])
	case 5:
		m.write(file, 0, random[:len(random)/8])
	case 6:
		m.must(os.Chmod(file, []os.FileMode{0o600, 0o640, 0o755}[r.IntN(3)]))
		m.touched[file] = true
	case 7:
		m.must(os.Chown(file, r.IntN(5), r.IntN(5)))
		m.touched[file] = true
	case 8:
		if err := unix.Setxattr(file, "user.x", random[:r.IntN(50)%(len(random)+1)], 0); err != nil {
			m.t.Fatal(err)
		}
		m.touched[file] = true
	case 9, 10:
		m.rename(file, fresh)
	case 11:
		if other := pick(r, m.paths(true), folder); !strings.HasPrefix(fresh+"/", other+"/") {
			m.rename(other, fresh)
		}
	case 12:
		m.must(os.Remove(file))
	case 13:
		if strings.Count(strings.TrimPrefix(folder, m.at), "/") > 2 {
			m.must(os.RemoveAll(folder))
		}
	}
}

func (m *mounted) write(path string, flag int, b []byte) {
	f, err := os.OpenFile(path, os.O_WRONLY|flag, 0)
	m.must(err)
	_, err = f.Write(b)
	m.must(err)
	m.must(f.Close())
	m.touched[path] = true
}

// overwrite changes what a file holds, and neither its size nor where it lies.
func (m *mounted) overwrite(path string) {
	b := make([]byte, 20_000)
	for i := range b {
		b[i] = byte(m.r.Uint32())
	}
	if _, err := os.Lstat(path); err != nil {
		m.must(os.WriteFile(path, b, 0o644))
	}
	m.write(path, 0, b)
}

func (m *mounted) rename(from, to string) {
	m.must(os.Rename(from, to))
	for p := range m.touched {
		if p == from || strings.HasPrefix(p, from+"/") {
			m.touched[to+strings.TrimPrefix(p, from)] = true
		}
	}
}

// night syncs what was written, file by file, and returns the disk as it would be after a
// power cut: the journal holds what is not at home yet.
func (m *mounted) night() *image {
	m.t.Helper()
	if m.whole {
		sh(m.t, "", `sync -f "$1"`, m.at)
	}
	for p := range m.touched {
		m.sync(p)
	}
	for _, p := range append(m.paths(true), m.at) {
		m.sync(p)
	}
	clear(m.touched)
	for b := readImage(m.t, m.image); ; {
		again := readImage(m.t, m.image)
		if b.equal(again) { // the kernel was not at it meanwhile
			return b
		}
		b = again
	}
}

func (m *mounted) sync(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return // it is gone, or a link by now
	}
	m.must(f.Sync())
	m.must(f.Close())
}

// facts is what the kernel says of all paths.
func (m *mounted) facts() map[string]fact {
	all := map[string]fact{}
	m.must(filepath.WalkDir(m.at, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		m.must(unix.Lstat(p, &st))
		f := fact{kind: "file", mode: st.Mode & 0o7777, uid: st.Uid*1000 + st.Gid, size: st.Size, mtime: st.Mtim.Nano()}
		switch d.Type() {
		case fs.ModeDir:
			f.kind, f.mtime, f.size = "folder", 0, 0
		case fs.ModeSymlink:
			f.kind = "link"
			f.target, err = os.Readlink(p)
		default:
			f.sum = sumOf(readFile(m.t, p))
			b := make([]byte, 100)
			if n, err := unix.Getxattr(p, "user.x", b); err == nil {
				f.attr = fmt.Sprintf("%d%x", n, b[:n])
			}
		}
		all["/"+strings.TrimPrefix(strings.TrimPrefix(p, m.at), "/")] = f
		return err
	}))
	return all
}

// details are what must be said of a path that was a and is b.
func (a fact) details(b fact) []string {
	list := []string{}
	for what, differs := range map[string]bool{"content": a.sum != b.sum, "target": a.target != b.target, "mode": a.mode != b.mode,
		"owner": a.uid != b.uid, "modified": a.mtime != b.mtime, "attributes": a.attr != b.attr} {
		if differs {
			list = append(list, what)
		}
	}
	slices.Sort(list)
	return list
}

// TestHistoryAndDiffOfLiveFileSystemsAreWhatTheKernelSaw changes mounted file systems at
// random, takes a point of each day as after a power cut, with the journal as it is, and
// compares histories and diffs with what the kernel said on those days.
func TestHistoryAndDiffOfLiveFileSystemsAreWhatTheKernelSaw(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, size, mkfs, options string
		tools                     []string
		whole                     bool
	}{
		{"ext4", "40M", "mkfs.ext4 -q -O ^has_journal,inline_data -I 256", "errors=continue", []string{"mkfs.ext4"}, true},
		{"ext4 with a journal", "40M", "mkfs.ext4 -q -b 1024 -J size=4", "commit=300", []string{"mkfs.ext4"}, false},
		{"ext4, data in the journal", "40M", "mkfs.ext4 -q -b 4096 -J size=8", "data=journal,commit=300", []string{"mkfs.ext4"}, false},
		{"xfs", "310M", "mkfs.xfs -q", "logbufs=8", []string{"mkfs.xfs"}, false},
		{"btrfs", "120M", "mkfs.btrfs -q -m single -d single", "commit=300", []string{"mkfs.btrfs"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needTool(t, append(c.tools, "losetup", "mount")...)
			m := mountNew(t, 77, c.size, c.mkfs, c.options)
			m.whole = c.whole
			s := newStore(t)
			var truths []map[string]fact
			for day := range 8 {
				for range 18 {
					m.change()
				}
				if day%3 < 2 {
					m.overwrite(filepath.Join(m.at, "steady"))
				}
				s.add("web1", disk{"vda", m.night()})
				truths = append(truths, m.facts())
			}
			compareLive(t, s, truths)
		})
	}
}
