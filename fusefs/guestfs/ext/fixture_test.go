package ext

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// updateEnv makes the fixture anew, which needs root and a kernel with fast commits.
const updateEnv = "HOLDFAST_EXT_UPDATE"

const (
	fixture     = "testdata/fast_commit.img.gz"
	fixtureWant = "testdata/fast_commit.txt"
)

// TestFastCommitsInAStoredImageAreApplied reads an image that a kernel left with
// fast commits in its journal; what was there at that moment is stored beside it.
func TestFastCommitsInAStoredImageAreApplied(t *testing.T) {
	t.Parallel()
	if os.Getenv(updateEnv) != "" {
		storeFixture(t)
	}
	want, err := os.ReadFile(fixtureWant)
	if err != nil {
		t.Fatal(err)
	}
	b := readFixture(t)
	fsys, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info := fsys.Info(); info.Journal != tree.Replayed || len(info.Notes) > 0 {
		t.Errorf("info: %+v", info)
	}
	v := fsys.(*volume)
	var lines []string
	for _, path := range names(t, v) {
		ino, err := resolve(v, path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Stat(ino)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %o %d:%d", path, a.Mode, a.UID, a.GID)
		switch a.Mode & modeType {
		case modeFile:
			line += fmt.Sprintf(" %d %x", a.Size, sha256.Sum256(content(t, v, path)))
		case modeLink:
			target, _ := v.Readlink(ino)
			line += " " + target
		case modeChar:
			line += fmt.Sprintf(" %d:%d", a.Major, a.Minor)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if got := strings.Join(lines, "\n") + "\n"; got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestMutatedFastCommitsNeitherCrashNorRunAway changes that image: the fast commits'
// checksums are put right, those of the rest are not.
func TestMutatedFastCommitsNeitherCrashNorRunAway(t *testing.T) {
	t.Parallel()
	b := readFixture(t)
	v := (&patient{b: b}).volume(t)
	j, err := v.openJournal(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	at, err := j.physical(j.last + 1)
	if err != nil {
		t.Fatal(err)
	}
	area := b[int64(at)*v.sb.blockSize:][:48*v.sb.blockSize]
	whole := bytes.Clone(area)
	mutants := 800
	if raceDetector {
		mutants = 80
	}
	for i := range mutants {
		copy(area, whole)
		for k := range 1 + i%3 {
			p := (i*7919 + k*104_729) % (int(v.sb.blockSize) * (4 + i%44))
			switch i % 4 {
			case 0:
				area[p] ^= 1 << (i % 8)
			case 1:
				area[p] = byte(i)
			case 2:
				le.PutUint32(area[min(p&^3, len(area)-4):], ^uint32(i%16))
			case 3:
				copy(area[p:], whole[(p*31)%len(whole):][:min(16, len(whole)-(p*31)%len(whole))])
			}
		}
		sealFast(area, int(v.sb.blockSize))
		examine(b, true)
	}
}

// sealFast puts the checksum of each tail right.
func sealFast(area []byte, block int) {
	sum := uint32(0)
	l := fastLog{}
	for ; len(area) >= block; area = area[block:] {
		l.each(area[:block], func(kind uint16, whole, value []byte) (bool, error) {
			if kind == fastTail {
				le.PutUint32(value[4:], crc32c(sum, whole[:fastTagSize+4]))
				sum = 0
			} else {
				sum = crc32c(sum, whole)
			}
			return true, nil
		})
	}
}

func readFixture(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func storeFixture(t *testing.T) {
	t.Helper()
	image := mkfs(t, 6<<20, "-t", "ext4", "-b", "1024", "-O", "fast_commit", "-J", "size=2", "-N", "128")
	dir, unmount := mounted(t, image, "commit=300")
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		os.WriteFile(filepath.Join(dir, fmt.Sprintf("d/old %d", i)), bytes.Repeat([]byte{byte(i)}, 61_440), 0o644)
	}
	syncFull(t, dir)
	fastFew(t, dir)
	dirty := copyImage(t, image)
	var lines []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		lines = append(lines, theirLine(t, path, strings.TrimPrefix(path, dir)))
		return nil
	})
	slices.Sort(lines)
	unmount()
	b, err := os.ReadFile(dirty)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(b)
	z.Close()
	os.Mkdir("testdata", 0o755)
	for name, b := range map[string][]byte{fixture: out.Bytes(), fixtureWant: []byte(strings.Join(lines, "\n") + "\n")} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func theirLine(t *testing.T, path, name string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
	switch st.Mode & modeType {
	case modeFile:
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %d %x", st.Size, sha256.Sum256(b))
	case modeLink:
		target, _ := os.Readlink(path)
		line += " " + target
	case modeChar:
		line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return line
}

// fastFew makes fast commits with every kind of tag.
func fastFew(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, "d", name) }
	edit := func(name string, do func(f *os.File) error) {
		t.Helper()
		f, err := os.OpenFile(at(name), os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = do(f)
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for i := range 6 {
		edit(fmt.Sprintf("new %d", i), func(f *os.File) error { _, err := f.Write(bytes.Repeat([]byte{1}, 9000*i)); return err })
	}
	edit("old 1", func(f *os.File) error { _, err := f.WriteAt([]byte("further on"), 100_000); return err })
	edit("old 2", func(f *os.File) error { return f.Truncate(10_000) })
	edit("old 4", func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8192, 20_480)
	})
	for _, err := range []error{
		os.Remove(at("old 5")), os.Link(at("old 6"), at("linked")), os.Remove(at("new 3")),
		os.Chown(at("old 7"), 5, 70_000), os.Chmod(at("old 7"), 0o711),
		os.Rename(at("old 8"), at("renamed")), os.Rename(at("old 9"), at("old 10")),
		os.Symlink("short", at("symlink")), os.Mkdir(at("folder"), 0o750),
		unix.Mknod(at("node"), unix.S_IFCHR|0o600, int(unix.Mkdev(300, 70_000))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	edit("folder/within", func(f *os.File) error { _, err := f.WriteString("in a new folder"); return err })
	for _, name := range []string{"old 6", "old 7", "last"} {
		edit(name, func(f *os.File) error { _, err := f.WriteAt([]byte("edited"), 5000); return err })
	}
}
