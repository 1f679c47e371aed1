package fat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func openBytes(t testing.TB, b []byte, o tree.Options) *volume {
	t.Helper()
	return treetest.OpenBytes(t, Format, b, o).(*volume)
}

// setLink writes an entry of some copies of a FAT16's table.
func setLink(v *volume, b []byte, cluster, to uint32, copies ...int) {
	for _, copy := range copies {
		le.PutUint16(b[v.tableAt+int64(copy)*v.tableSize+2*int64(cluster):], uint16(to))
	}
}

// chainOf is the clusters of a file.
func chainOf(t testing.TB, v *volume, ino uint64) (all []uint32) {
	t.Helper()
	e, err := v.entry(ino)
	if err != nil {
		t.Fatal(err)
	}
	table := cursor{v: v}
	for c := e.cluster; ; {
		all = append(all, c)
		l, err := table.next(c)
		if err != nil {
			t.Fatal(err)
		}
		if l.end {
			return all
		}
		c = l.next
	}
}

func TestAChainThatCannotBeIsDamageOfItsFile(t *testing.T) {
	t.Parallel()
	whole := smallImage(t, 4300, "-F", "16", "-s", "1")
	v := openBytes(t, whole, tree.Options{})
	large, other := treetest.Find(t, v, "large"), treetest.Find(t, v, "a.txt")
	clusters := chainOf(t, v, large)
	want, err := treetest.Content(v, large)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   int // which cluster of the file
		to   uint32
		read int // bytes that can be read
	}{
		"circle to the beginning": {50, clusters[0], 0},
		"circle to the middle":    {90, clusters[33], 0},
		"circle of one":           {20, clusters[20], 0},
		"ends too soon":           {40, 0xFFFF, 41 * 512},
		"goes on in a free one":   {40, 0, 41 * 512},
		"goes on in a bad one":    {40, 0xFFF7, 41 * 512},
		"goes on beyond the end":  {40, 0xFF00, 41 * 512},
	} {
		b := bytes.Clone(whole)
		setLink(v, b, clusters[c.at], c.to, 0, 1)
		damaged := openBytes(t, b, tree.Options{})
		got, err := treetest.Content(damaged, large)
		if !treetest.IsDamage(err) || len(got) != c.read || !bytes.Equal(got, want[:c.read]) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, c.read)
		}
		if _, err := treetest.Content(damaged, other); err != nil {
			t.Errorf("%s: another file: %v", name, err)
		}
	}
}

func TestTheOtherCopyOfTheTableIsAsked(t *testing.T) {
	t.Parallel()
	whole := smallImage(t, 4300, "-F", "16", "-s", "1")
	v := openBytes(t, whole, tree.Options{})
	large := treetest.Find(t, v, "large")
	want, err := treetest.Content(v, large)
	if err != nil {
		t.Fatal(err)
	}
	clusters := chainOf(t, v, large)
	entry := bytes.Clone(whole)
	setLink(v, entry, clusters[7], 0, 0)
	table := bytes.Clone(whole)
	clear(table[v.tableAt : v.tableAt+v.tableSize])
	for name, b := range map[string][]byte{"an entry": entry, "the table": table} {
		damaged := openBytes(t, b, tree.Options{})
		if got, err := treetest.Content(damaged, large); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(want), err)
		}
		if noted := len(damaged.Info().Notes) > 0; noted != (name == "the table") {
			t.Errorf("%s: notes %q", name, damaged.Info().Notes)
		}
	}
}

func TestAFileInMorePiecesThanAreKeptIsWhole(t *testing.T) {
	t.Parallel()
	b := smallImage(t, 4300, "-F", "16", "-s", "1")
	v := openBytes(t, b, tree.Options{})
	large := treetest.Find(t, v, "large")
	want, err := treetest.Content(v, large)
	if err != nil {
		t.Fatal(err)
	}
	clusters := chainOf(t, v, large) // laid anew: every second cluster, from the far end on
	to := func(i int) uint32 { return uint32(8000 - 2*i) }
	for i := range clusters {
		copy(b[v.place(to(i)):], b[v.place(clusters[i]):v.place(clusters[i])+512])
		next := uint32(0xFFFF)
		if i+1 < len(clusters) {
			next = to(i + 1)
		}
		setLink(v, b, to(i), next, 0, 1)
	}
	le.PutUint16(b[int64(large)*entrySize+26:], uint16(to(0)))
	again := openBytes(t, b, tree.Options{Memory: 1})
	if again.space.MaxRuns >= len(clusters) {
		t.Fatalf("%d runs are kept: the test proves nothing", again.space.MaxRuns)
	}
	if got, err := treetest.Content(again, large); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes: %v", len(got), len(want), err)
	}
	f, err := again.Open(large)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{59_000, 1, 30_000, 511} {
		p := make([]byte, 700)
		if n, err := f.ReadAt(p, at); err != nil || !bytes.Equal(p[:n], want[at:at+700]) {
			t.Errorf("at %d: %d bytes, %v", at, n, err)
		}
	}
}

func TestAFolderOfJunkIsNotListed(t *testing.T) {
	t.Parallel()
	whole := smallImage(t, 4300, "-F", "16", "-s", "1")
	v := openBytes(t, whole, tree.Options{})
	dir, large := treetest.Find(t, v, "dir"), chainOf(t, v, treetest.Find(t, v, "large"))
	for name, damage := range map[string]func(b []byte){
		"content of a file":    func(b []byte) { le.PutUint16(b[int64(dir)*entrySize+26:], uint16(large[0])) },
		"beyond the volume":    func(b []byte) { le.PutUint16(b[int64(dir)*entrySize+26:], 0xFF00) },
		"a folder that is one": func(b []byte) { setLink(v, b, chainOf(t, v, dir)[0], chainOf(t, v, dir)[0], 0, 1) },
	} {
		b := bytes.Clone(whole)
		damage(b)
		damaged := openBytes(t, b, tree.Options{})
		n, last := 0, error(nil)
		for _, err := range damaged.ReadDir(dir) {
			n, last = n+1, err
		}
		if !treetest.IsDamage(last) || n > 2 {
			t.Errorf("%s: %d entries, then %v", name, n, last)
		}
		if _, err := damaged.Lookup(dir, "missing"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a name in it: %v", name, err)
		}
		if _, err := treetest.Content(damaged, treetest.Find(t, damaged, "a.txt")); err != nil {
			t.Errorf("%s: another file: %v", name, err)
		}
	}
}

func TestAWipedBootSectorOfFAT32IsReadFromItsCopy(t *testing.T) {
	t.Parallel()
	b := smallImage(t, 34000, "-F", "32", "-s", "1")
	clear(b[:512])
	if !Format.Probe(bytes.NewReader(b), int64(len(b))) {
		t.Fatal("not recognized")
	}
	v := openBytes(t, b, tree.Options{})
	if _, err := treetest.Content(v, treetest.Find(t, v, "dir", "sub", "sub", "D.D")); err != nil {
		t.Error(err)
	}
	if notes := fmt.Sprint(v.Info().Notes); !strings.Contains(notes, "copy") {
		t.Errorf("notes %s", notes)
	}
}

func TestAVolumeThatWasInUseIsNoted(t *testing.T) {
	t.Parallel()
	whole := smallImage(t, 4300, "-F", "16", "-s", "1")
	v := openBytes(t, whole, tree.Options{})
	for name, c := range map[string]struct {
		damage func(b []byte)
		note   string
	}{
		"clean":         {func(b []byte) {}, ""},
		"Windows' mark": {func(b []byte) { setLink(v, b, 1, 0x7FFF, 0, 1) }, "dirty"},
		"errors":        {func(b []byte) { setLink(v, b, 1, 0xBFFF, 0, 1) }, "errors of its disk"},
		"Linux' mark":   {func(b []byte) { b[0x25] |= 1 }, "dirty"},
	} {
		b := bytes.Clone(whole)
		c.damage(b)
		notes := strings.Join(openBytes(t, b, tree.Options{}).Info().Notes, "; ")
		if (c.note == "") != (notes == "") || !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %q", name, notes)
		}
	}
}

// TestAnImplausibleBootSectorIsRefused: a library took over 1 GiB of memory for one.
func TestAnImplausibleBootSectorIsRefused(t *testing.T) {
	t.Parallel()
	whole := smallImage(t, 300, "-F", "12")
	for name, damage := range map[string]func(b []byte){
		"NTFS":              func(b []byte) { copy(b[3:], "NTFS    ") },
		"exFAT":             func(b []byte) { copy(b[3:], "EXFAT   ") },
		"no jump":           func(b []byte) { b[0] = 0 },
		"sectors of 0":      func(b []byte) { b[11], b[12] = 0, 0 },
		"sectors of 511":    func(b []byte) { b[11], b[12] = 0xFF, 1 },
		"clusters of 0":     func(b []byte) { b[13] = 0 },
		"clusters of 3":     func(b []byte) { b[13] = 3 },
		"no tables":         func(b []byte) { b[16] = 0 },
		"200 tables":        func(b []byte) { b[16] = 200 },
		"no root":           func(b []byte) { b[17], b[18] = 0, 0 },
		"no sectors":        func(b []byte) { clear(b[19:21]); clear(b[32:36]) },
		"table beyond it":   func(b []byte) { b[22], b[23] = 0xFF, 0xFF },
		"strange medium":    func(b []byte) { b[21] = 3 },
		"partition table":   func(b []byte) { clear(b[:440]); b[0] = 0xEB },
		"nothing reserved":  func(b []byte) { b[14], b[15] = 0, 0 },
		"root of everybody": func(b []byte) { b[17], b[18] = 0xFF, 0xFF },
	} {
		b := bytes.Clone(whole)
		damage(b)
		if Format.Probe(bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s: taken for FAT", name)
		}
	}
	for size := range 512 {
		if Format.Probe(bytes.NewReader(whole[:size]), int64(size)) {
			t.Fatalf("%d bytes are taken for FAT", size)
		}
	}
}

// place is where a cluster lies on the volume.
func (o *boot) place(c uint32) int64 { return o.dataAt + int64(c-2)*o.cluster }
