package iso9660

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sources writes a tree; with unix it has what only Rock Ridge keeps.
func sources(t testing.TB, unixes bool) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]int{"empty": 0, "short.txt": 5, "block": 2048, "large.bin": 60_001, "sub/one/two/file": 7}
	for i := range 150 {
		files[fmt.Sprintf("many/a file with a long name %03d.txt", i)] = i
	}
	if unixes {
		files[strings.Repeat("deep/", 12)+"file"] = 70_001
		files["names/"+strings.Repeat("y", 250)], files["names/ümläut 日本語"], files["names/UPPER.and.dots..."] = 1, 2, 3
	}
	for name, n := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, treetest.Random(n, 1), 0o644))
	}
	if unixes {
		for name, target := range map[string]string{"abs": "/etc/passwd", "up": "../../x/./y", "here": ".", "root": "/",
			"long": strings.Repeat("a component of some length/", 30) + "end", "longer": "/" + strings.Repeat("z", 255) + "/" + strings.Repeat("w", 255) + "/.."} {
			must(t, os.Symlink(target, filepath.Join(dir, "link-"+name)))
		}
		must(t, os.Chmod(filepath.Join(dir, "short.txt"), 0o4751))
		must(t, os.Chmod(filepath.Join(dir, "sub"), 0o1770))
		if os.Getuid() == 0 {
			must(t, os.Chown(filepath.Join(dir, "block"), 1000, 100_000))
		}
	}
	when := time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSymlink != 0 {
			return err
		}
		when = when.Add(time.Hour)
		return os.Chtimes(path, when, when)
	}))
	return dir
}

func openBytes(t testing.TB, b []byte, o tree.Options) *volume {
	t.Helper()
	return treetest.OpenBytes(t, Format, b, o).(*volume)
}

// seconds leaves of a time what the format keeps, and of links what a copy has.
func seconds(_ string, f *treetest.Fact) {
	f.Mtime = f.Mtime / 1e9 * 1e9
	f.Nlink = 0
	f.Xattrs = ""
}

func TestRockRidgeIsAsXorrisoExtractsIt(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for owners")
	}
	for name, maker := range map[string][]string{
		"genisoimage":               {"genisoimage", "-quiet", "-R"},
		"genisoimage and Joliet":    {"genisoimage", "-quiet", "-R", "-J", "-joliet-long"},
		"xorriso":                   {"xorriso", "-as", "mkisofs", "-quiet", "-R"},
		"xorriso and a boot record": {"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-no-pad", "-eltorito-boot", "block", "-no-emul-boot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, image, out := sources(t, true), filepath.Join(t.TempDir(), "cd.iso"), filepath.Join(t.TempDir(), "out")
			if maker[0] == "xorriso" {
				must(t, unix.Mknod(filepath.Join(dir, "fifo"), unix.S_IFIFO|0o600, 0))
				must(t, unix.Mknod(filepath.Join(dir, "device"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70_000))))
				must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			}
			if maker[0] == "genisoimage" {
				for _, broken := range []string{"link-long", "link-longer"} { // it writes entries that overflow
					must(t, os.Remove(filepath.Join(dir, broken)))
				}
			}
			treetest.Run(t, maker[0], append(maker[1:], "-V", "DATEN 1", "-o", image, dir)...)
			treetest.Run(t, "xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", out)
			v := openBytes(t, treetest.Load(t, image), tree.Options{})
			if v.naming != rockRidge || v.Info().FoldsCase {
				t.Fatalf("names are of kind %d", v.naming)
			}
			got := treetest.Reading(t, v)
			if moved := "/rr_moved"; got[moved].Mode != 0 {
				delete(got, moved) // is there and empty, as the kernel has it; xorriso hides it
			}
			if source := treetest.Directory(t, dir); name == "xorriso" {
				treetest.Same(t, source, got, seconds)
			}
			delete(got, "/device") // which xorriso does not extract
			delete(got, "/null")
			want := treetest.Directory(t, out)
			delete(want, "/rr_moved")
			treetest.Same(t, want, got, func(path string, f *treetest.Fact) {
				if seconds(path, f); f.Link != "" {
					f.Mtime = 0 // it does not set that of a link
				}
			})
			info := v.Info()
			id := strings.TrimSpace(treetest.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", image))
			if info.Type != "iso9660" || info.Label != "DATEN 1" || len(info.Notes) != 0 || info.UUID != id {
				t.Errorf("info: %+v, blkid says %s", info, id)
			}
		})
	}
}

func TestJolietAndPlainNamesAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		kind    naming
	}{
		"Joliet":  {[]string{"-J", "-joliet-long", "-input-charset", "utf-8"}, joliet},
		"level 3": {[]string{"-iso-level", "4"}, plain},
		"level 1": {[]string{"-iso-level", "1"}, plain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, image := sources(t, false), filepath.Join(t.TempDir(), "cd.iso")
			if name == "level 1" {
				must(t, os.RemoveAll(filepath.Join(dir, "many")))
			}
			if name == "Joliet" {
				must(t, os.WriteFile(filepath.Join(dir, "Ümläut 日本語 Ελ.txt"), []byte("x"), 0o600))
			}
			treetest.Run(t, "genisoimage", append(append([]string{"-quiet"}, c.options...), "-o", image, dir)...)
			v := openBytes(t, treetest.Load(t, image), tree.Options{})
			if v.naming != c.kind {
				t.Fatalf("names are of kind %d", v.naming)
			}
			treetest.Same(t, treetest.Directory(t, dir), treetest.Reading(t, v), func(path string, f *treetest.Fact) {
				seconds(path, f)
				f.Mode &= unix.S_IFMT
				f.UID, f.GID = 0, 0
			})
			if _, err := v.Lookup(v.Root(), "LARGE.Bin"); err != nil {
				t.Error(err)
			}
		})
	}
}

// small is a volume with a little of everything.
func small(t testing.TB, options ...string) []byte {
	dir, image := sources(t, true), filepath.Join(t.TempDir(), "cd.iso")
	must(t, os.RemoveAll(filepath.Join(dir, "many")))
	treetest.Run(t, "genisoimage", append(append([]string{"-quiet"}, options...), "-o", image, dir)...)
	return treetest.Load(t, image)
}

// TestAFileOfSeveralExtentsIsOne makes one of two files that lie one after the other.
func TestAFileOfSeveralExtentsIsOne(t *testing.T) {
	t.Parallel()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "cd.iso")
	for i, n := range []int{4096, 2048, 3001, 10} {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("SAME", i)), treetest.Random(n, byte(i)), 0o600))
	}
	treetest.Run(t, "genisoimage", "-quiet", "-o", image, dir)
	b := treetest.Load(t, image)
	for i := range 3 {
		at := bytes.Index(b, fmt.Appendf(nil, "SAME%d.;1", i))
		copy(b[at:], "SAME0.;1")
		if i < 2 {
			b[at-33+25] |= flagMore
		}
	}
	v := openBytes(t, b, tree.Options{})
	got, err := treetest.Content(v, treetest.Find(t, v, "same0"))
	want := bytes.Join([][]byte{treetest.Random(4096, 0), treetest.Random(2048, 1), treetest.Random(3001, 2)}, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	if all := treetest.Reading(t, v); len(all) != 3 {
		t.Errorf("%d files", len(all))
	}
	b[bytes.Index(b, []byte("SAME3.;1"))-33+25] |= flagMore // the last one goes on nowhere
	v = openBytes(t, b, tree.Options{})
	last := error(nil)
	for _, last = range v.ReadDir(v.Root()) {
	}
	if !treetest.IsDamage(last) {
		t.Errorf("a file that goes on beyond its folder: %v", last)
	}
}
