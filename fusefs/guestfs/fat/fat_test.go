package fat

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// facts are what a reading says of one path.
type facts struct {
	folder  bool
	size    int64
	mtime   time.Time
	content string
}

// sources writes a tree to be copied into an image and returns its facts.
func sources(t testing.TB, large int) (string, map[string]facts) {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{
		"empty": nil, "A.TXT": []byte("short"), "lower.txt": []byte("nt case"), "Mixed.Case": []byte("long"),
		"large.bin": treetest.Random(large, 0), "one cluster.bin": treetest.Random(4096, 0), "sub/deep/er/file": treetest.Random(70_001, 0),
		"ümläut.txt": []byte("u"), "日本語 のファイル.txt": []byte("j"), "Ελληνικά.txt": []byte("e"),
		"names/" + strings.Repeat("y", 255): []byte("255"), "names/thirteen-13.x": []byte("13"),
		"names/twentysix-26-characters.": []byte("26"), "names/many.dots.in.a.name": []byte("d"),
	}
	for i := range 300 {
		files[fmt.Sprintf("many/a file with a long name %03d.txt", i)] = []byte(fmt.Sprint(i))
	}
	when := time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC)
	all := map[string]facts{}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		when = when.Add(100 * time.Hour)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		all["/"+name] = facts{false, int64(len(content)), when, fmt.Sprintf("%x", sha256.Sum256(content))}
		for parent := filepath.Dir("/" + name); parent != "/"; parent = filepath.Dir(parent) {
			all[parent] = facts{folder: true}
		}
	}
	return dir, all
}

// fill copies a tree into an image, after making holes between its clusters so
// that what is copied is in pieces.
func fill(t testing.TB, image, dir string) {
	t.Helper()
	for i := range 12 {
		path := filepath.Join(t.TempDir(), fmt.Sprint("filler", i))
		if err := os.WriteFile(path, treetest.Random(9000, 0), 0o644); err != nil {
			t.Fatal(err)
		}
		treetest.Run(t, "mcopy", "-i", image, path, "::")
	}
	treetest.Run(t, "mdel", "-i", image, "::filler1", "::filler3", "::filler5", "::filler6", "::filler9")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-i", image, "-s", "-m", "-Q"}
	for _, e := range entries {
		args = append(args, filepath.Join(dir, e.Name()))
	}
	treetest.Run(t, "mcopy", append(args, "::")...)
	treetest.Run(t, "mdel", "-i", image, "::filler*")
}

// reading walks a volume as our reader shows it.
func reading(t testing.TB, v tree.FileSystem) map[string]facts {
	t.Helper()
	all := map[string]facts{}
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Fatalf("readdir %s: %q: %v", path, e.Name, err)
			}
			name := path + "/" + e.Name
			a, err := v.Stat(e.Ino)
			if err != nil {
				t.Fatalf("stat %s: %v", name, err)
			}
			for _, as := range []string{e.Name, strings.ToUpper(e.Name), strings.ToLower(e.Name)} {
				if found, err := v.Lookup(ino, as); err != nil || found != e.Ino {
					t.Errorf("lookup %s as %s: %d, %v; the folder says %d", name, as, found, err, e.Ino)
				}
			}
			if a.Mode&unix.S_IFMT != e.Type {
				t.Errorf("%s: the folder says type %o, stat %o", name, e.Type, a.Mode)
			}
			if e.Type == unix.S_IFDIR {
				all[name] = facts{folder: true}
				walk(name, e.Ino)
				continue
			}
			all[name] = facts{false, a.Size, a.Mtime, hashOf(t, v, a, name)}
		}
	}
	walk("", v.Root())
	return all
}

func hashOf(t testing.TB, v tree.FileSystem, a tree.Attr, name string) string {
	t.Helper()
	f, err := v.Open(a.Ino)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	h := sha256.New()
	if n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, a.Size), make([]byte, 10_001)); err != nil || n != a.Size {
		t.Fatalf("%s: read %d of %d bytes: %v", name, n, a.Size, err)
	}
	if n, err := f.ReadAt(make([]byte, 1), a.Size); n != 0 || err != io.EOF {
		t.Errorf("%s: a read at the end gives %d, %v", name, n, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func equal(t testing.TB, want, got map[string]facts) {
	t.Helper()
	for path, w := range want {
		if g, have := got[path]; !have {
			t.Errorf("%q is missing", path)
		} else if g != w {
			t.Errorf("%q:\n got %+v\nwant %+v", path, g, w)
		}
	}
	for path := range got {
		if _, have := want[path]; !have {
			t.Errorf("%q should not be there", path)
		}
	}
}

// TestEveryFileIsAsItWasCopiedIn reads volumes of all kinds and sizes of clusters that mtools filled.
func TestEveryFileIsAsItWasCopiedIn(t *testing.T) {
	for _, c := range []struct {
		name    string
		kib     int64
		options []string
		bits    int
		large   int
	}{
		{"FAT12 floppy", 1440, []string{"-F", "12"}, 12, 300_001},
		{"FAT12 clusters of 4096", 12 << 10, []string{"-F", "12", "-s", "8"}, 12, 1_000_001},
		{"FAT16", 32 << 10, []string{"-F", "16"}, 16, 1_000_001},
		{"FAT16 clusters of 65536", 512 << 10, []string{"-F", "16", "-s", "128"}, 16, 1_000_001},
		{"FAT32 clusters of 512", 48 << 10, []string{"-F", "32", "-s", "1"}, 32, 1_000_001},
		{"FAT32 clusters of 65536", 5 << 20, []string{"-F", "32", "-s", "128"}, 32, 1_000_001},
		{"sectors of 4096", 64 << 10, []string{"-F", "16", "-S", "4096"}, 16, 1_000_001},
		{"one table", 32 << 10, []string{"-F", "16", "-f", "1"}, 16, 1_000_001},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := makeFAT(t, c.kib, c.options...)
			dir, want := sources(t, c.large)
			fill(t, image, dir)
			v := treetest.OpenImage(t, Format, image, tree.Options{CodePage: "IBM850"})
			equal(t, want, reading(t, v))
			names := strings.Split(strings.TrimSpace(treetest.Run(t, "mdir", "-i", image, "-/", "-b", "::")), "\n")
			if len(names) != len(want) {
				t.Errorf("mdir lists %d names, we %d", len(names), len(want))
			}
			info := v.Info()
			if info.UUID != "1234-ABCD" || info.Label != "DATEN 1" || len(info.Notes) != 0 || info.Type != "vfat" {
				t.Errorf("info: %+v", info)
			}
			if counted, err := v.(tree.Counter).CountUsed(); err != nil || counted != info.Used || v.(*volume).bits != c.bits {
				t.Errorf("%d bytes counted, info says %d, %d bits: %v", counted, info.Used, v.(*volume).bits, err)
			}
		})
	}
}

func TestAttributesAndTimesAreThoseOfTheEntry(t *testing.T) {
	image := makeFAT(t, 4096)
	path := filepath.Join(t.TempDir(), "HELLO.TXT")
	if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, "mcopy", "-i", image, path, "::")
	treetest.Run(t, "mattrib", "-i", image, "+r", "::HELLO.TXT")
	edit(t, image, []byte("HELLO   TXT"), 13, []byte{150, 0xCF, 0x7B, 0x5C, 0x53, 0x5D, 0x53}) // created, read
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	ino, err := v.Lookup(v.Root(), "hello.txt")
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Stat(ino)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2021, 10, 28, 15, 30, 31, 500_000_000, time.UTC)
	if a.Mode != unix.S_IFREG|0o444 || !a.Btime.Equal(created) || !a.Atime.Equal(time.Date(2021, 10, 29, 0, 0, 0, 0, time.UTC)) || !a.Ctime.IsZero() {
		t.Errorf("%+v", a)
	}
}

// edit writes bytes after the only place where an image has others.
func edit(t testing.TB, image string, near []byte, distance int, to []byte) {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, near)
	if at < 0 {
		t.Fatalf("the image has no %q", near)
	}
	copy(b[at+distance:], to)
	if err := os.WriteFile(image, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestShortNamesComeFromTheCodePage(t *testing.T) {
	image := makeFAT(t, 4096)
	path := filepath.Join(t.TempDir(), "QQQQQQ.TXT")
	if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, "mcopy", "-i", image, path, "::")
	edit(t, image, []byte("QQQQQQ  TXT"), 0, []byte("\x05\x9B\x8E\x9A\x99\xE1"))
	for page, want := range map[string]string{"": "σ¢ÄÜÖß.TXT", "IBM850": "ÕøÄÜÖß.TXT", "ibm866": "хЫОЪЩс.TXT"} {
		v := treetest.OpenImage(t, Format, image, tree.Options{CodePage: page})
		var names []string
		for e, err := range v.ReadDir(v.Root()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, e.Name)
		}
		if !slices.Equal(names, []string{want}) {
			t.Errorf("%q: %q, want %q", page, names, want)
		}
	}
	f, _ := os.Open(image)
	defer f.Close()
	if _, err := Format.Open(f, 4096<<10, tree.Options{CodePage: "EBCDIC"}); err == nil || !strings.Contains(err.Error(), "IBM850") {
		t.Errorf("an unknown code page: %v", err)
	}
}

func TestABrokenLongNameFallsBackToTheShortOne(t *testing.T) {
	image := makeFAT(t, 4096)
	path := filepath.Join(t.TempDir(), "a rather long name.text")
	if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, "mcopy", "-i", image, path, "::")
	edit(t, image, []byte("ARATHE~1TEX"), 0, []byte("B")) // as a system does that knows no long names
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	if _, err := v.Lookup(v.Root(), "BRATHE~1.TEX"); err != nil {
		t.Error(err)
	}
	if _, err := v.Lookup(v.Root(), "a rather long name.text"); !isNotExist(err) {
		t.Errorf("the long name, whose checksum is wrong: %v", err)
	}
}

func isNotExist(err error) bool {
	return err != nil && strings.Contains(err.Error(), fs.ErrNotExist.Error())
}
