package ntfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// listing is the names of a folder, and the error that it ends with.
func listing(v *volume, dir uint64) (names []string, last error) {
	for e, err := range v.ReadDir(dir) {
		if last = err; err == nil {
			names = append(names, e.Name)
		}
	}
	return names, last
}

func TestADamagedBeginningIsReadFromItsCopy(t *testing.T) {
	t.Parallel()
	small := loadBytes(t, smallImage(t))
	want, err := listing(small.v, small.v.root)
	if err != nil || len(want) == 0 {
		t.Fatal(want, err)
	}
	for name, damage := range map[string]func(m *memory){
		"boot sector":            func(m *memory) { clear(m.b[:512]) },
		"size of a cluster":      func(m *memory) { m.b[13] = 3 },
		"record of the table":    func(m *memory) { clear(m.b[m.v.mft*m.v.cluster:][:m.v.boot.record]) },
		"label, torn":            func(m *memory) { m.b[m.v.mft*m.v.cluster+3*m.v.boot.record+510]++ },
		"boot sector and record": func(m *memory) { clear(m.b[:512]); clear(m.b[m.v.mft*m.v.cluster:][:m.v.boot.record]) },
	} {
		m := small.copied()
		damage(m)
		if !Format.Probe(bytes.NewReader(m.b), int64(len(m.b))) {
			t.Errorf("%s: not recognized", name)
			continue
		}
		v := m.mustOpen()
		if got, err := listing(v, v.root); err != nil || strings.Join(got, "/") != strings.Join(want, "/") {
			t.Errorf("%s: %q %v, want %q", name, got, err, want)
		}
		if v.Info().Label != "Daten" {
			t.Errorf("%s: label %q", name, v.Info().Label)
		}
		if boot := strings.Contains(name, "boot") || strings.Contains(name, "cluster"); boot != strings.Contains(strings.Join(v.Info().Notes, ""), "boot sector") {
			t.Errorf("%s: notes %q", name, v.Info().Notes)
		}
	}
}

func TestWhatWasMadeOverAnNTFSIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	small := smallImage(t)
	for name, put := range map[string]func(b []byte){
		"ext4":     func(b []byte) { clear(b[:4096]); copy(b[0x438:], "\x53\xEF") },
		"LVM":      func(b []byte) { clear(b[:4096]); copy(b[0x218:], "LVM2 001") },
		"XFS":      func(b []byte) { clear(b[:512]); copy(b, "XFSB") },
		"FAT":      func(b []byte) { clear(b[:512]); copy(b, "\xEB\x58\x90mkfs.fat") },
		"a letter": func(b []byte) { copy(b, bytes.Repeat([]byte("dear reader, "), 50)) },
	} {
		b := bytes.Clone(small)
		put(b)
		if Format.Probe(bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s is taken for NTFS", name)
		}
		if _, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{}); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	for size := range []int{0, 1, 511, 512, 1000} {
		if Format.Probe(bytes.NewReader(small[:size]), int64(size)) && size < 512 {
			t.Errorf("%d bytes are taken for NTFS", size)
		}
	}
}

func TestDamageHarmsOnlyWhatItHits(t *testing.T) {
	t.Parallel()
	small := loadBytes(t, smallImage(t))
	plain, folder := small.find("plain"), small.find("folder")
	all, _ := listing(small.v, folder)
	x, err := small.v.index(mustInode(t, small.v, folder))
	if err != nil {
		t.Fatal(err)
	}
	block, _, err := x.blocks.extent(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("record", func(t *testing.T) {
		m := small.copied()
		at, _, _ := m.v.place(int64(plain&numberMask) * m.v.boot.record)
		m.b[at+510] ^= 1
		v := m.mustOpen()
		if _, err := v.Stat(plain); !treetest.IsDamage(err) || !strings.Contains(err.Error(), fmt.Sprint(at)) {
			t.Errorf("a torn record: %v", err)
		}
		if names, err := listing(v, folder); err != nil || len(names) != len(all) {
			t.Errorf("the folder has %d of %d names: %v", len(names), len(all), err)
		}
	})
	t.Run("index block", func(t *testing.T) {
		m := small.copied()
		m.b[block+1022] ^= 1
		v := m.mustOpen()
		names, err := listing(v, folder)
		if !treetest.IsDamage(err) || len(names) == 0 || len(names) >= len(all) {
			t.Errorf("the folder has %d of %d names: %v", len(names), len(all), err)
		}
		for _, name := range names {
			if _, err := v.Lookup(folder, name); err != nil {
				t.Errorf("%s, which is listed: %v", name, err)
			}
		}
		for _, name := range all {
			if _, err := v.Lookup(folder, name); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, which may be in the damaged block, is said not to exist: %v", name, err)
			}
		}
	})
	t.Run("reference to an earlier use", func(t *testing.T) {
		m := small.copied()
		m.record(plain, func(b []byte) { le.PutUint16(b[16:], le.Uint16(b[16:])+1) })
		v := m.mustOpen()
		ino, err := v.Lookup(v.root, "plain")
		if _, statErr := v.Stat(ino); err != nil || !treetest.IsDamage(statErr) {
			t.Errorf("%v %v", err, statErr)
		}
	})
	t.Run("record given up", func(t *testing.T) {
		m := small.copied()
		m.record(plain, func(b []byte) { b[22] &^= recordInUse })
		if _, err := m.mustOpen().Stat(plain); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

func mustInode(t *testing.T, v *volume, ino uint64) *inode {
	t.Helper()
	n, err := v.resolve(ino)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHostileStructuresAreDamage gives one file lies of all kinds.
func TestHostileStructuresAreDamage(t *testing.T) {
	t.Parallel()
	small := loadBytes(t, smallImage(t))
	pairs := func(a []byte) []byte { return a[le.Uint16(a[32:]):] }
	for _, c := range []struct {
		name, file string
		kind       kind
		change     func(a []byte)
	}{
		{"run beyond the volume", "plain", kindData, func(a []byte) { copy(pairs(a), []byte{0x41, 9, 0, 0, 0, 0x70, 0}) }},
		{"run before the volume", "plain", kindData, func(a []byte) { copy(pairs(a), []byte{0x11, 9, 0x80, 0}) }},
		{"run of no clusters", "plain", kindData, func(a []byte) { copy(pairs(a), []byte{0x11, 0, 9, 0}) }},
		{"run of nine bytes", "plain", kindData, func(a []byte) { copy(pairs(a), []byte{0x19, 1, 1, 1, 1, 1, 1, 1, 1, 1}) }},
		{"too few runs", "plain", kindData, func(a []byte) { pairs(a)[0] = 0 }},
		{"negative size", "plain", kindData, func(a []byte) { le.PutUint64(a[48:], 1<<63) }},
		{"larger than its runs", "plain", kindData, func(a []byte) { le.PutUint64(a[48:], 1<<40); le.PutUint64(a[56:], 1<<40) }},
		{"runs beyond the record", "plain", kindData, func(a []byte) { le.PutUint16(a[32:], 0xFFFF) }},
		{"endless attribute", "plain", kindData, func(a []byte) { le.PutUint32(a[4:], 0xFFFFFFF8) }},
		{"attribute of nothing", "plain", kindData, func(a []byte) { le.PutUint32(a[4:], 0) }},
		{"name beyond the record", "plain", kindData, func(a []byte) { a[9] = 255 }},
		{"value beyond the record", "streams", kindData, func(a []byte) { le.PutUint32(a[16:], 1<<31) }},
		{"huge compression unit", "plain", kindData, func(a []byte) { a[34] = 200; a[12] = 1 }},
		{"cluster of the content", "plain", kindData, func(a []byte) { le.PutUint64(a[16:], 7) }},
		{"link beyond its data", "windows", kindReparse, func(a []byte) { le.PutUint16(a[24+10:], 0xFFF0) }},
	} {
		m := small.copied()
		m.attribute(m.find(c.file), c.kind, c.change)
		v := m.mustOpen()
		ino, err := v.Lookup(v.root, c.file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.Open(ino)
		if err == nil {
			_, err = io.Copy(io.Discard, io.NewSectionReader(f, 0, 1<<20))
		}
		if !treetest.IsDamage(err) {
			t.Errorf("%s: %v", c.name, err)
		}
		files, _ := examine(t, m.b)
		if files < 100 {
			t.Errorf("%s: only %d files are left", c.name, files)
		}
	}
}

// TestAFolderThatLeadsToItselfEnds makes the tree of an index a circle.
func TestAFolderThatLeadsToItselfEnds(t *testing.T) {
	t.Parallel()
	m := loadBytes(t, smallImage(t))
	folder := m.find("folder")
	x, err := m.v.index(mustInode(t, m.v, folder))
	if err != nil {
		t.Fatal(err)
	}
	all, _ := listing(m.v, folder)
	for off := int64(0); off < x.blocks.size; off += x.block {
		at, _, err := x.blocks.extent(off)
		if err != nil {
			t.Fatal(err)
		}
		m.guarded(at, x.block, "INDX", func(b []byte) { // every entry leads to this block
			first, end := le.Uint32(b[24:]), le.Uint32(b[28:])
			for p := 24 + first; p+16 <= 24+end; p += uint32(le.Uint16(b[p+8:])) {
				if b[p+12]&entryIsLast != 0 && p+24 <= uint32(len(b)) {
					b[p+12] |= entryHasChild
					le.PutUint16(b[p+8:], 24)
					le.PutUint32(b[28:], p+24-24)
					le.PutUint64(b[p+16:], uint64(off/x.scale))
					break
				}
			}
		})
	}
	v := m.mustOpen()
	if names, err := listing(v, folder); err != nil || len(names) != len(all) {
		t.Errorf("%d of %d names: %v", len(names), len(all), err)
	}
	for _, name := range append(all, "zzzz, which is not there") {
		_, err := v.Lookup(folder, name)
		if name == all[0] && err != nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABombOfCompressionStaysWithinItsUnit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  []byte
		want error
	}{
		"back beyond the beginning": {[]byte{2, 0xB0, 1, 0, 0}, errChunkBack},
		"copy beyond the chunk":     {[]byte{5, 0xB0, 6, 'a', 0xFF, 0x0F, 0xFF, 0x0F, 0}, errChunkLong},
		"chunk cut":                 {[]byte{0xFF, 0xBF, 0}, errChunkCut},
		"distance cut":              {[]byte{2, 0xB0, 2, 'a', 0}, errChunkCut},
	} {
		if err := lznt1(make([]byte, 65536), c.src); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := bytes.Repeat([]byte{3, 0xB0, 2, 'a', 0xFC, 0x0F}, 100)
	if err := lznt1(make([]byte, 8192), many); err != nil {
		t.Errorf("more chunks than there is room for: %v", err)
	}
}

// TestANameThatNoFileCanHaveIsYieldedWithAnError, and those beside it without.
func TestANameThatNoFileCanHaveIsYieldedWithAnError(t *testing.T) {
	t.Parallel()
	m := loadBytes(t, smallImage(t))
	folder := m.find("folder")
	all, _ := listing(m.v, folder)
	x, err := m.v.index(mustInode(t, m.v, folder))
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := x.blocks.extent(0)
	if err != nil {
		t.Fatal(err)
	}
	m.guarded(at, x.block, "INDX", func(b []byte) {
		first := 24 + le.Uint32(b[24:])
		le.PutUint16(b[first+indexEntryHeader+fileNameHeader+2:], '/') // in the name
		second := first + uint32(le.Uint16(b[first+8:]))               // of another folder
		le.PutUint64(b[second+indexEntryHeader:], le.Uint64(b[second+indexEntryHeader:])+1)
	})
	v := m.mustOpen()
	good, bad := 0, 0
	for e, err := range v.ReadDir(folder) {
		if err == nil {
			good++
		} else if bad++; e.Name == "" || !treetest.IsDamage(err) {
			t.Errorf("%q: %v", e.Name, err)
		}
	}
	if bad != 2 || good != len(all)-2 {
		t.Errorf("%d names and %d errors, of %d", good, bad, len(all))
	}
}

// TestManyMayReadAtOnce examines one volume from several goroutines; the race detector looks on.
func TestManyMayReadAtOnce(t *testing.T) {
	t.Parallel()
	v := loadBytes(t, smallImage(t)).v
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for queue := []uint64{v.root}; len(queue) > 0; queue = queue[1:] {
				a, err := v.Stat(queue[0])
				if err != nil {
					return err
				}
				treetest.Touch(v, a)
				if a.Mode&unix.S_IFMT != unix.S_IFDIR {
					continue
				}
				for e, err := range v.ReadDir(queue[0]) {
					if err != nil {
						return err
					}
					queue = append(queue, e.Ino)
				}
			}
			_ = v.Info()
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
