package ext

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// TestFastCommitsAreApplied copies a mounted image behind fsyncs that the kernel
// answers with fast commits, and compares with what was there at that moment.
func TestFastCommitsAreApplied(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"-t ext4 -b 4096 -O fast_commit", "-t ext4 -b 1024 -O fast_commit", "-t ext4 -O fast_commit,^metadata_csum -I 128", "-t ext4 -O fast_commit,inline_data"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			image := mkfs(t, 64<<20, strings.Fields(options)...)
			dir, unmount := mounted(t, image, "commit=300")
			fastBefore(t, dir)
			syncFull(t, dir)
			fastAfter(t, dir)
			dirty := copyImage(t, image)
			want := theirs(t, dir)
			unmount()
			v := opened(t, dirty, tree.Options{})
			if v.fast == nil {
				t.Skip("the kernel made no fast commit")
			}
			if info := v.Info(); info.Journal != tree.Replayed || len(info.Notes) > 0 {
				t.Errorf("info: %+v", info)
			}
			same(t, withoutSizes(ours(t, v)), withoutSizes(want))
		})
	}
}

// folderSizes of new names in folders are not in a fast commit: whoever replays it
// makes its own.
var folderSizes = regexp.MustCompile(`(?m)^(ino \d+ mode 4\d{4}.*) allocated \d+(\n[\s\S]*)\nsize \d+`)

// folderTimes are not there either, unless the folder itself was synced.
var folderTimes = regexp.MustCompile(`(?m)^(ino \d+ mode 4\d{4}[^\n]*\n)times [^b\n]*`)

func withoutSizes(all facts) facts {
	for path, f := range all {
		f = folderSizes.ReplaceAllString(f, "$1$2")
		all[path] = regexp.MustCompile(`times \d+ `).ReplaceAllString(f, "times ") // reading it changed the time of access
		all[path] = folderTimes.ReplaceAllString(all[path], "$1")
	}
	return all
}

func fastBefore(t *testing.T, dir string) {
	t.Helper()
	os.MkdirAll(filepath.Join(dir, "d/e"), 0o755)
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("d/old %d", i)), pattern(i, 61_440), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// syncFull makes an ordinary commit, behind which fast ones may follow.
func syncFull(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
}

func fastAfter(t *testing.T, dir string) {
	t.Helper()
	at := func(format string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(format, args...)) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	edit := func(path string, do func(f *os.File) error) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		must(err)
		must(do(f))
		must(f.Sync())
		must(f.Close())
	}
	for i := range 25 {
		edit(at("d/new %d", i), func(f *os.File) error { _, err := f.Write(pattern(100+i, 10_000*i+1)); return err })
	}
	edit(at("d/old 1"), func(f *os.File) error { _, err := f.WriteAt(pattern(5, 9000), 100_000); return err })
	edit(at("d/old 2"), func(f *os.File) error { return f.Truncate(10_000) })
	edit(at("d/old 3"), func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 200_000) })
	edit(at("d/old 4"), func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8192, 20_480)
	})
	must(os.Remove(at("d/old 5")))
	must(os.Link(at("d/old 6"), at("d/e/linked")))
	must(os.Remove(at("d/new 3")))
	must(os.Chmod(at("d/old 7"), 0o4711))
	must(os.Chown(at("d/old 7"), 5, 70_000))
	must(os.Rename(at("d/old 8"), at("d/renamed")))
	must(os.Rename(at("d/old 9"), at("d/old 10")))
	must(os.Symlink("short", at("d/symlink")))
	must(os.Symlink(strings.Repeat("long", 50), at("d/long symlink")))
	must(unix.Mknod(at("d/node"), unix.S_IFCHR|0o600, int(unix.Mkdev(300, 70_000))))
	must(os.Mkdir(at("d/folder"), 0o750))
	edit(at("d/folder/within"), func(f *os.File) error { _, err := f.WriteString("in a new folder"); return err })
	edit(at("d/last"), func(f *os.File) error { _, err := f.WriteString("the end"); return err })
	for _, i := range []int{6, 7} {
		edit(at("d/old %d", i), func(f *os.File) error { _, err := f.WriteAt([]byte("edited"), 5000); return err })
	}
}
