package ext

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// populate makes one of each thing that a file system can hold. What it cannot
// (attributes on the way of mke2fs, a name that is too long) is left out.
func populate(t testing.TB, root string, names int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(root, name) }
	put := func(name string, b []byte) { t.Helper(); must(os.WriteFile(at(name), b, 0o644)) }

	put("empty", nil)
	for _, n := range []int{1, 59, 60, 61, 100, 159, 160, 161, 1023, 1024, 4095, 4096, 4097, 70_000, 300_001} {
		put(fmt.Sprintf("file-%d", n), pattern(n, n))
	}
	must(os.Chmod(at("file-59"), 0o4751|os.ModeSetuid))
	must(os.Chown(at("file-60"), 70_000, 100_001))
	must(os.Link(at("file-1023"), at("hard link")))
	for _, n := range []int{1, 59, 60, 61, 500, 1000} {
		must(os.Symlink(strings.Repeat("t", n), at(fmt.Sprintf("link-%d", n))))
	}
	must(unix.Mkfifo(at("fifo"), 0o600))
	for _, d := range []struct {
		mode         uint32
		major, minor uint32
	}{{unix.S_IFBLK, 8, 1}, {unix.S_IFCHR, 511, 70_000}, {unix.S_IFCHR, 5, 255}, {unix.S_IFBLK, 259, 1}, {unix.S_IFSOCK, 0, 0}} {
		must(unix.Mknod(at(fmt.Sprintf("node-%o-%d-%d", d.mode, d.major, d.minor)), d.mode|0o640, int(unix.Mkdev(d.major, d.minor))))
	}
	put(strings.Repeat("n", 255), []byte("a long name"))
	put("naïve – 文件", []byte("not ASCII"))
	holes(t, at("holes"))
	pieces(t, at("pieces"))
	for _, ts := range []int64{-1e9, 1, 1 << 32, 3 << 32} {
		name := at(fmt.Sprintf("time-%d", ts))
		put(filepath.Base(name), nil)
		unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{{Sec: ts, Nsec: 123456789}, {Sec: ts, Nsec: 999999999}}, 0)
	}
	must(os.MkdirAll(at("deep/er/and/deeper"), 0o755))
	must(os.Mkdir(at("many"), 0o755))
	for i := range names {
		put(fmt.Sprintf("many/name %d – with letters that fill blocks", i), nil)
	}
	for i := 0; i < names; i += 3 { // and gaps between them
		must(os.Remove(at(fmt.Sprintf("many/name %d – with letters that fill blocks", i))))
	}
	attributes(t, root)
}

// holes makes a file with data at both ends of the ranges that maps divide by, and
// blocks that are allocated and not written.
func holes(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, at := range []int64{0, 11 << 12, 12 << 12, 13 << 12, 268 << 10, 1036 << 12, 66_000 << 10, 5 << 30, 30 << 30} {
		if _, err := f.WriteAt(pattern(i, 3000), at+17); err != nil && i < 6 {
			t.Fatal(err) // further on, blocks of 1 KiB cannot name it
		}
	}
	unix.Fallocate(int(f.Fd()), 0, 2<<20, 200_000)
	f.WriteAt([]byte("written within"), 2<<20+50_000)
	if st, err := f.Stat(); err != nil || f.Truncate(st.Size()+12_345) != nil {
		t.Logf("%s has no hole at its end", path)
	}
}

// pieces makes a file whose tree of extents has inner nodes.
func pieces(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 700 {
		if _, err := f.WriteAt(pattern(i, 100), int64(i)*16384); err != nil {
			t.Fatal(err)
		}
	}
}

// attributes puts some on files, in the inode and beside it, and ACLs.
func attributes(t testing.TB, root string) {
	t.Helper()
	set := func(name, key string, value []byte) {
		if err := unix.Lsetxattr(filepath.Join(root, name), key, value, 0); err != nil && err != unix.ENOTSUP && err != unix.ENOSPC && err != unix.E2BIG {
			t.Fatalf("%s on %s: %v", key, name, err)
		}
	}
	set("file-1", "user.small", []byte("v"))
	set("file-1", "user.empty", nil)
	set("file-1", "trusted.t", []byte("for root"))
	set("file-1", "security.capability", []byte("\x00\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	set("file-61", "user.large", pattern(1, 700))
	set("file-100", "user.many", pattern(2, 300))
	set("file-100", "user.more", pattern(3, 200))
	set("file-4096", "user.huge", pattern(4, 40_000)) // with ea_inode
	set("link-60", "trusted.link", []byte("on a link"))
	set("link-1", "trusted.link", pattern(5, 400))
	set("deep", "user.folder", []byte("on a folder"))
	acl := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, ^uint32(0)}, {2, 5, 70_001}, {4, 5, ^uint32(0)}, {8, 1, 1000}, {16, 5, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		acl = le.AppendUint16(acl, e.tag)
		acl = le.AppendUint16(acl, e.perm)
		acl = le.AppendUint32(acl, e.id)
	}
	set("file-1024", "system.posix_acl_access", acl)
	set("deep", "system.posix_acl_default", acl)
}
