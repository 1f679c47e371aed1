package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, b, 0o644))
}

// text compresses, noise does not.
func text(n int) []byte {
	return bytes.Repeat([]byte("a line of text that is there more than once, and compresses\n"), n/60+1)[:n]
}

// sources writes a tree with all kinds of inodes.
func sources(t testing.TB, many int) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"empty": nil, "small": []byte("fragment"), "text": text(700_001), "noise": treetest.Random(400_003, 1),
		"blocks": text(4 << 17), "zeros": make([]byte, 300_000), "mixed": append(text(200_000), treetest.Random(200_000, 2)...), "a/b/c/d/e/file": text(9),
		"names/" + strings.Repeat("y", 255): {1}, "names/ümläut 日本語": {2}, "names/ new\nline": {3}} {
		write(t, filepath.Join(dir, name), b)
	}
	holes := append(append(make([]byte, 1<<20), text(5000)...), make([]byte, 1<<20)...)
	write(t, filepath.Join(dir, "holes"), append(holes, 'x'))
	for i := range many {
		write(t, filepath.Join(dir, "many", fmt.Sprintf("file %05d", i)), fmt.Append(nil, i))
	}
	must(t, os.Mkdir(filepath.Join(dir, "empty folder"), 0o1777))
	must(t, os.Link(filepath.Join(dir, "text"), filepath.Join(dir, "a/hard link")))
	must(t, os.Symlink("../somewhere/else", filepath.Join(dir, "a/link")))
	must(t, os.Symlink(strings.Repeat("long/", 800), filepath.Join(dir, "long link")))
	must(t, os.Chmod(filepath.Join(dir, "small"), 0o6751))
	must(t, os.Chown(filepath.Join(dir, "noise"), 1000, 3_000_000_000))
	must(t, unix.Mknod(filepath.Join(dir, "fifo"), unix.S_IFIFO|0o600, 0))
	must(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
	must(t, unix.Mknod(filepath.Join(dir, "disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70_000))))
	must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	for _, name := range []string{"small", "text", "a", "fifo", "a/link"} {
		value := treetest.Random(300, 9) // the same: kept once
		if name != "fifo" && name != "a/link" {
			if err := unix.Lsetxattr(filepath.Join(dir, name), "user.value", value, 0); err != nil {
				t.Skipf("needs a folder that keeps extended attributes: %v", err)
			}
		}
		must(t, unix.Lsetxattr(filepath.Join(dir, name), "trusted.x", []byte(name), 0))
		must(t, unix.Lsetxattr(filepath.Join(dir, name), "security.test", value, 0))
	}
	return dir
}

func makeImage(t testing.TB, dir string, options ...string) string {
	t.Helper()
	needs.Tools(t, "mksquashfs", "unsquashfs")
	if os.Getuid() != 0 {
		t.Skip("needs root, for devices and owners")
	}
	image := filepath.Join(t.TempDir(), "squashfs.img")
	treetest.Run(t, "mksquashfs", append([]string{dir, image, "-no-progress", "-quiet", "-processors", "1"}, options...)...)
	return image
}

func openBytes(t testing.TB, b []byte, o tree.Options) *volume {
	t.Helper()
	return treetest.OpenBytes(t, Format, b, o).(*volume)
}

// reference is what the kernel shows, or where it cannot mount, what unsquashfs
// extracts.
func reference(t testing.TB, image string) (facts map[string]treetest.Fact, kernel bool) {
	t.Helper()
	dir := t.TempDir()
	if _, err := treetest.Try("mount", "-t", "squashfs", "-o", "loop,ro", image, dir); err == nil {
		defer func() {
			// A child of another test may hold a file of it open for a moment.
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		}()
		return treetest.Directory(t, dir), true
	}
	out := filepath.Join(dir, "out")
	treetest.Run(t, "unsquashfs", "-no-progress", "-quiet", "-d", out, image)
	return treetest.Directory(t, out), false
}

func TestEveryFileIsAsTheKernelShowsIt(t *testing.T) {
	for name, options := range map[string][]string{
		"gzip":             {"-comp", "gzip"},
		"xz":               {"-comp", "xz"},
		"zstd":             {"-comp", "zstd", "-b", "1M"},
		"lz4":              {"-comp", "lz4", "-b", "4K"},
		"lzo":              {"-comp", "lzo"},
		"lzo1x_1":          {"-comp", "lzo", "-Xalgorithm", "lzo1x_1"},
		"not compressed":   {"-noI", "-noId", "-noD", "-noF", "-noX"},
		"no fragments":     {"-no-fragments"},
		"always fragments": {"-always-use-fragments", "-no-exports"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := sources(t, 150)
			image := makeImage(t, dir, options...)
			want, kernel := reference(t, image)
			b := treetest.Load(t, image)
			for _, memory := range []int64{0, 1} {
				if memory > 0 && name != "gzip" && name != "lzo" {
					continue
				}
				treetest.Same(t, want, treetest.Reading(t, openBytes(t, b, tree.Options{Memory: memory})), func(_ string, f *treetest.Fact) {
					if !kernel {
						if f.Link != "" || f.Mode&unix.S_IFMT == unix.S_IFDIR {
							f.Mtime, f.Nlink = 0, 0
						}
					}
				})
			}
			v := openBytes(t, b, tree.Options{})
			if info := v.Info(); info.Type != "squashfs" || len(info.Notes) != 0 || info.Size > int64(len(b)) {
				t.Errorf("%+v", info)
			}
			if treetest.Find(t, v, "text") != treetest.Find(t, v, "a", "hard link") {
				t.Error("a hard link is another inode")
			}
		})
	}
}

func TestHolesOfAFileAreNotData(t *testing.T) {
	t.Parallel()
	v := openBytes(t, treetest.Load(t, makeImage(t, sources(t, 0))), tree.Options{})
	for name, want := range map[string]string{"holes": "[{1048576 131072} {2097152 5001}]", "zeros": "[]", "small": "[{0 8}]"} {
		f, err := v.Open(treetest.Find(t, v, name))
		must(t, err)
		var got []tree.Extent
		for e, err := range f.Extents() {
			must(t, err)
			got = append(got, e)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

func TestWhatIsNotReadIsSaid(t *testing.T) {
	t.Parallel()
	var unsupported *tree.UnsupportedError
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), text(9000))
	b := treetest.Load(t, makeImage(t, dir))
	b[20] = 2
	if _, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{}); !errors.As(err, &unsupported) {
		t.Errorf("lzma: %v", err)
	}
	// The header of a block that went through two filters, x86 and LZMA2.
	filtered := []byte(xzMagic + "\x00\x01\x69\x22\xde\x36" + "\x02\x01\x04\x00\x21\x01\x0c\x00" + "0000" + "0000")
	if _, err := unxz(make([]byte, 100), filtered); !errors.As(err, &unsupported) {
		t.Errorf("a filter: %v", err)
	}
}
