package treetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Filler fills a mounted file system. Whatever fails ends the test.
type Filler struct {
	T   testing.TB
	Dir string
}

// Must ends the test at an error.
func (p Filler) Must(err error) {
	p.T.Helper()
	if err != nil {
		p.T.Fatal(err)
	}
}

// Path is where something lies.
func (p Filler) Path(parts ...string) string {
	return filepath.Join(append([]string{p.Dir}, parts...)...)
}

// File writes a file and returns its path.
func (p Filler) File(name string, b []byte) string {
	p.T.Helper()
	p.Must(os.WriteFile(p.Path(name), b, 0o644))
	return p.Path(name)
}

// Attribute sets an extended attribute of a path, also of a symbolic link.
func (p Filler) Attribute(path, name string, value []byte) {
	p.T.Helper()
	p.Must(unix.Lsetxattr(path, name, value, 0))
}

// Nodes makes one of each kind that has no content.
func (p Filler) Nodes() {
	p.T.Helper()
	p.Must(unix.Mkfifo(p.Path("fifo"), 0o600))
	p.Must(unix.Mknod(p.Path("socket"), unix.S_IFSOCK|0o600, 0))
	p.Must(unix.Mknod(p.Path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	p.Must(unix.Mknod(p.Path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(253, 70000))))
}

// Times makes a file for each time, which was read then and changed a nanosecond later.
func (p Filler) Times(all ...time.Time) {
	p.T.Helper()
	for i, at := range all {
		p.Must(os.Chtimes(p.File(fmt.Sprintf("time-%d", i), nil), at, at.Add(time.Nanosecond)))
	}
}
