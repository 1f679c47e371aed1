package btrfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// made is an image that mkfs.btrfs fills by itself, without a kernel.
func made(t testing.TB, options ...string) []byte {
	t.Helper()
	needs.Tools(t, "mkfs.btrfs")
	root := treetest.Scratch(t)
	p := fill(t, root, 4)
	p.Must(os.MkdirAll(p.Path("folder/below"), 0o755))
	p.File("folder/large", p.text(300000))
	p.File("folder/small", p.text(700))
	p.File("folder/below/other", p.noise(50000))
	p.Must(os.Symlink("folder/large", p.Path("link")))
	for i := range 120 {
		p.File("folder/below/"+strings.Repeat("n", i+1), []byte("x"))
	}
	b, err := os.ReadFile(mkfs(t, 1, 120, append(options, "-r", root)...)[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openImage(b []byte) (*volume, error) {
	f, err := Format.Open(image(b), int64(len(b)), tree.Options{Memory: 8 << 20})
	if err != nil {
		return nil, err
	}
	return f.(*volume), nil
}

// readAll reads all that can be read, whatever errors it meets, at most so many inodes.
func readAll(v tree.FileSystem, most int) (read int64, first error) {
	seen := map[uint64]bool{}
	fail := func(err error) {
		if err != nil && !errors.Is(err, io.EOF) && first == nil {
			first = err
		}
	}
	for todo := []uint64{v.Root()}; len(todo) > 0 && len(seen) < most; {
		ino := todo[0]
		if todo = todo[1:]; seen[ino] {
			continue
		}
		seen[ino] = true
		a, err := v.Stat(ino)
		fail(err)
		names, err := v.Xattrs(ino)
		fail(err)
		for _, n := range names {
			_, err = v.Xattr(ino, n)
			fail(err)
		}
		switch a.Mode & typeMask {
		case typeFolder:
			for e, err := range v.ReadDir(ino) {
				if fail(err); err == nil && len(todo) < most {
					todo = append(todo, e.Ino)
				}
			}
			_, err = v.Lookup(ino, "large")
			if !errors.Is(err, fs.ErrNotExist) {
				fail(err)
			}
		case typeLink:
			_, err = v.Readlink(ino)
			fail(err)
		case typeRegular:
			f, err := v.Open(ino)
			if fail(err); err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, min(a.Size, 4<<20)))
			fail(err)
			read += n
			for _, err := range f.Extents() {
				fail(err)
			}
		}
	}
	return read, first
}

func TestADamagedCopyIsReadFromTheOther(t *testing.T) {
	t.Parallel()
	for _, sum := range []string{"crc32c", "xxhash", "sha256", "blake2"} {
		b := made(t, "--csum", sum, "-m", "dup", "-d", "dup")
		v, err := openImage(b)
		if err != nil {
			t.Fatal(err)
		}
		want, err := readAll(v, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for copy := range 2 {
			broken := bytes.Clone(b)
			for _, c := range v.chunks.list {
				for off := uint64(0); off < c.length; off += 4096 {
					s, _ := c.place(c.start+off, (copy+int(off/4096))%2) // every other sector, of either copy
					if c.profile != profileDup || s.off < 1<<20 {
						continue
					}
					if c.length > 0 && off%(64<<10) < 4096*uint64(copy*4) {
						continue
					}
					if _, err := v.readNodeAt(c.start + off); err == nil {
						continue // a block of metadata is larger than a sector: its copies would both break
					}
					broken[s.off+100] ^= 0x55
				}
			}
			w, err := openImage(broken)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(w, 1000); err != nil || got != want {
				t.Errorf("%s: %d of %d bytes: %v", sum, got, want, err)
			}
		}
	}
}

// readNodeAt tells whether a block of metadata reaches over an address.
func (v *volume) readNodeAt(logical uint64) (bool, error) {
	at := logical &^ (uint64(v.node) - 1)
	b := make([]byte, v.node)
	if err := v.readCopy(b, at, 0); err != nil || !v.sum.blockHolds(b) {
		return false, errors.New("no block")
	}
	return true, nil
}

func TestDataThatIsDamagedIsNeverGiven(t *testing.T) {
	t.Parallel()
	b := made(t, "-m", "single", "-d", "single")
	v, err := openImage(b)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := v.Lookup(v.Root(), "folder")
	ino, err := v.Lookup(dir, "large")
	if err != nil {
		t.Fatal(err)
	}
	f, _ := v.Open(ino)
	for e := range f.(*file).extents(0) {
		b[v.locate(e.at)+8192+7]++
	}
	p := make([]byte, 4096)
	var bad *tree.CorruptError
	if _, err := f.ReadAt(p, 8192); !errors.As(err, &bad) || bad.At <= 0 || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("damage is told as %v", err)
	}
	if _, err := f.ReadAt(p, 4096); err != nil {
		t.Errorf("what lies beside it: %v", err)
	}
	for _, at := range superPlaces[:1] {
		clear(b[at : at+4096])
	}
	if v, err := openImage(b); err != nil || len(v.Info().Notes) != 1 || !strings.Contains(v.Info().Notes[0], "damaged") {
		t.Errorf("without its first superblock: %v", err)
	}
}

func TestWhatIsNotKnownIsNamed(t *testing.T) {
	t.Parallel()
	b := made(t)
	for want, change := range map[string]func(s []byte){
		"raid_stripe_tree":     func(s []byte) { s[188+1] |= 1 << 6 },
		"extent_tree_v2":       func(s []byte) { s[188+1] |= 1 << 5 },
		"bit 40":               func(s []byte) { s[188+5] |= 1 },
		"metadata alone":       func(s []byte) { s[56+4] |= 2 },
		"blocks of 100":        func(s []byte) { le.PutUint32(s[148:], 100) },
		"bytes of system chu":  func(s []byte) { le.PutUint32(s[160:], 3000) },
		"of kind 9":            func(s []byte) { s[196] = 9 },
		"no chunk holds that":  func(s []byte) { le.PutUint64(s[80:], 1<<50) },
		"level":                func(s []byte) { s[198]++ },
		"tree of more than 8":  func(s []byte) { s[199] = 8 },
		"stripes":              func(s []byte) { le.PutUint16(s[superArray+keySize+44:], 60000) },
		"are left over":        func(s []byte) { le.PutUint32(s[160:], le.Uint32(s[160:])+5) },
		"is not among":         func(s []byte) { le.PutUint64(s[201:], 7) },
		"another file system":  func(s []byte) { s[32]++ },
		"its profile (0x1000)": func(s []byte) { le.PutUint64(s[superArray+keySize+24:], 1<<12|2) },
	} {
		broken := bytes.Clone(b)
		for _, at := range superPlaces[:2] {
			if at+superSize > int64(len(b)) {
				continue
			}
			s := broken[at : at+superSize]
			change(s)
			if int(le.Uint16(s[196:])) < len(sums) {
				sum := sums[le.Uint16(s[196:])].of(s[sumSize:])
				copy(s, sum[:])
			}
		}
		_, err := openImage(broken)
		var corrupt *tree.CorruptError
		var unknown *tree.UnsupportedError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &corrupt) && !errors.As(err, &unknown) {
			t.Errorf("%s is told as %v", want, err)
		}
	}
}

func TestAMissingDeviceHarmsWhatLiesOnItAlone(t *testing.T) {
	t.Parallel()
	needKernel(t)
	images := mkfs(t, 3, 300, "-m", "raid1", "-d", "single")
	dir, unmount := mount(t, images, "")
	p := fill(t, dir, 5)
	for _, n := range []string{"a", "b", "c"} {
		p.File(n, p.noise(40<<20))
	}
	unmount()
	lost := 0
	for i := range images {
		v := opened(t, append(append([]string(nil), images[:i]...), images[i+1:]...)...)
		if n := v.Info().Notes; len(n) != 1 || !strings.Contains(n[0], "1 of its 3 devices") {
			t.Errorf("its notes are %q", n)
		}
		_, err := readAll(v, 1000)
		var named *tree.UnsupportedError
		if err != nil && (!errors.As(err, &named) || !strings.Contains(err.Error(), "is not among the disks")) {
			t.Errorf("without %s: %v", images[i], err)
		}
		if err != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("no device holds anything alone")
	}
}
