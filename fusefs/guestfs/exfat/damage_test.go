package exfat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func small(t testing.TB) []byte {
	image := makeImage(t, 2, "-c", "512", "-b", "4096")
	mounted(t, image, "rw", func(dir string) { populate(t, dir, 60_000, 20) })
	return treetest.Load(t, image)
}

func chainOf(t testing.TB, v *volume, ino uint64) (all []uint32) {
	t.Helper()
	s, err := v.set(ino)
	if err != nil {
		t.Fatal(err)
	}
	table := cursor{v: v}
	for c := s.cluster; ; {
		all = append(all, c)
		next, end, err := table.Next(c)
		if err != nil {
			t.Fatal(err)
		}
		if end {
			return all
		}
		c = next
	}
}

func TestDamageIsOfItsFileAlone(t *testing.T) {
	t.Parallel()
	whole := small(t)
	v := openBytes(t, whole, tree.Options{})
	pieces, other := treetest.Find(t, v, "in pieces"), treetest.Find(t, v, "A.TXT")
	clusters := chainOf(t, v, pieces)
	want, err := treetest.Content(v, pieces)
	if err != nil {
		t.Fatal(err)
	}
	link := func(b []byte, cluster, to uint32) { le.PutUint32(b[v.tableAt+linkSize*int64(cluster):], to) }
	stream := func(b []byte, change func(s []byte)) {
		patch(t, b, v, pieces, func(set []byte) { change(set[entrySize:]) })
	}
	for name, c := range map[string]struct {
		damage func(b []byte)
		read   int // bytes that can be read
	}{
		"circle to the beginning": {func(b []byte) { link(b, clusters[50], clusters[0]) }, 0},
		"circle to the middle":    {func(b []byte) { link(b, clusters[90], clusters[33]) }, 0},
		"circle of one":           {func(b []byte) { link(b, clusters[20], clusters[20]) }, 0},
		"ends too soon":           {func(b []byte) { link(b, clusters[40], chainEnd) }, 41 * 512},
		"goes on in a free one":   {func(b []byte) { link(b, clusters[40], 0) }, 41 * 512},
		"goes on in a bad one":    {func(b []byte) { link(b, clusters[40], 0xFFFFFFF7) }, 41 * 512},
		"goes on beyond the end":  {func(b []byte) { link(b, clusters[40], 0xFFFFFF) }, 41 * 512},
		"begins nowhere":          {func(b []byte) { stream(b, func(s []byte) { le.PutUint32(s[20:], 1) }) }, 0},
		"no chain, beyond":        {func(b []byte) { stream(b, func(s []byte) { s[1] |= flagUnchained; le.PutUint32(s[20:], v.clusters) }) }, 0},
		"larger than the volume":  {func(b []byte) { stream(b, func(s []byte) { le.PutUint64(s[24:], 1<<40) }) }, 0},
		"negative":                {func(b []byte) { stream(b, func(s []byte) { le.PutUint64(s[24:], 1<<63) }) }, 0},
		"more written than there": {func(b []byte) { stream(b, func(s []byte) { le.PutUint64(s[8:], 1<<62) }) }, 0},
		"checksum":                {func(b []byte) { b[pieces*entrySize+8] ^= 1 }, 0},
	} {
		b := bytes.Clone(whole)
		c.damage(b)
		damaged := openBytes(t, b, tree.Options{})
		got, err := treetest.Content(damaged, pieces)
		if !treetest.IsDamage(err) || len(got) != c.read || !bytes.Equal(got, want[:c.read]) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, c.read)
		}
		if _, err := treetest.Content(damaged, other); err != nil {
			t.Errorf("%s: another file: %v", name, err)
		}
	}
}

func TestABrokenEntryKeepsItsNameAndTheOthersTheirs(t *testing.T) {
	t.Parallel()
	b := small(t)
	v := openBytes(t, b, tree.Options{})
	b[treetest.Find(t, v, "A.TXT")*entrySize+8] ^= 1
	v = openBytes(t, b, tree.Options{})
	names, bad := 0, ""
	for e, err := range v.ReadDir(v.Root()) {
		if names++; err != nil {
			bad += e.Name + ": " + err.Error()
		}
	}
	if names < 10 || !strings.HasPrefix(bad, "A.TXT: ") || !strings.Contains(bad, "checksum") {
		t.Errorf("%d names, damaged: %s", names, bad)
	}
	if _, err := v.Lookup(v.Root(), "a.txt"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that may be the damaged one: %v", err)
	}
	if _, err := v.Lookup(v.Root(), "EMPTY"); err != nil {
		t.Error(err)
	}
}

func TestAFolderThatIsAFilesContentIsNotListed(t *testing.T) {
	t.Parallel()
	b := small(t)
	v := openBytes(t, b, tree.Options{})
	s, err := v.set(treetest.Find(t, v, "in pieces"))
	if err != nil {
		t.Fatal(err)
	}
	sub := treetest.Find(t, v, "sub")
	patch(t, b, v, sub, func(set []byte) {
		le.PutUint32(set[entrySize+20:], s.cluster)
		le.PutUint64(set[entrySize+24:], uint64(s.size))
		set[entrySize+1] &^= flagUnchained
	})
	n := 0
	for _, err := range v.ReadDir(sub) {
		if n++; err == nil || n > maxJunk+1 {
			t.Fatalf("entry %d: %v", n, err)
		}
	}
}

func TestTheCopyOfTheBootRegionIsUsed(t *testing.T) {
	t.Parallel()
	whole := small(t)
	for name, c := range map[string]struct {
		damage func(b []byte)
		note   string
	}{
		"whole":        {func(b []byte) {}, ""},
		"wiped":        {func(b []byte) { clear(b[:512]) }, "copy was used"},
		"wrong sum":    {func(b []byte) { b[92]++ }, "copy was used"},
		"both wrong":   {func(b []byte) { b[600]++; b[12*512+600]++ }, "no better"},
		"dirty":        {func(b []byte) { b[106] |= flagDirty }, "marked dirty"},
		"medium":       {func(b []byte) { b[106] |= flagMediaFailed }, "errors of its disk"},
		"upcase table": {func(b []byte) { i := bytes.Index(b, []byte("\x00\x00\x01\x00\x02\x00\x03\x00")); b[i+200]++ }, "upper case"},
	} {
		b := bytes.Clone(whole)
		c.damage(b)
		v := openBytes(t, b, tree.Options{})
		notes := fmt.Sprint(v.Info().Notes)
		if (c.note == "") != (notes == "[]") || !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %s", name, notes)
		}
		if _, err := treetest.Content(v, treetest.Find(t, v, "a.txt")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnImplausibleBootSectorIsRefused(t *testing.T) {
	t.Parallel()
	whole := small(t)
	for name, damage := range map[string]func(b []byte){
		"FAT":                 func(b []byte) { copy(b[3:], "MSDOS5.0") },
		"a FAT's parameters":  func(b []byte) { b[11] = 2 },
		"no end":              func(b []byte) { b[510] = 0 },
		"version 2":           func(b []byte) { b[105] = 2 },
		"sectors of 256":      func(b []byte) { b[108] = 8 },
		"sectors of 2^200":    func(b []byte) { b[108] = 200 },
		"clusters of 64 MiB":  func(b []byte) { b[109] = 17 },
		"no tables":           func(b []byte) { b[110] = 0 },
		"three tables":        func(b []byte) { b[110] = 3 },
		"no clusters":         func(b []byte) { clear(b[92:96]) },
		"clusters of nowhere": func(b []byte) { le.PutUint32(b[92:], 1<<31) },
		"table within boot":   func(b []byte) { le.PutUint32(b[80:], 3) },
		"heap within table":   func(b []byte) { le.PutUint32(b[88:], 25) },
		"root of nowhere":     func(b []byte) { le.PutUint32(b[96:], 1) },
	} {
		b := bytes.Clone(whole)
		damage(b)
		damage(b[copySector*512:])
		if Format.Probe(bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s: taken for exFAT", name)
		}
	}
	for size := range 512 {
		if Format.Probe(bytes.NewReader(whole[:size]), int64(size)) {
			t.Fatalf("%d bytes are taken for exFAT", size)
		}
	}
}

// mend sets the checksums of what may be entry sets right, so that a mutant is
// not refused for them alone.
func mend(b []byte) {
	for at := 24 * 512; at+3*entrySize <= len(b); at += entrySize {
		if b[at] != typeFile || b[at+entrySize] != typeStream {
			continue
		}
		if n := setLength(b[at:]); n <= maxSet && at+n <= len(b) {
			le.PutUint16(b[at+2:], checksum(b[at:at+n]))
		}
	}
}

// places are the structures: those of a volume's files say nothing.
func places(t testing.TB, b []byte) (where []int) {
	v := openBytes(t, b, tree.Options{})
	for _, at := range treetest.Places(b) {
		if int64(at) < v.heapAt || b[at&^31]&0x80 != 0 && at < int(v.heapAt)+400<<10 {
			where = append(where, at)
		}
	}
	return where
}

func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	b := small(t)
	if damaged := treetest.Mutants(t, Format, b, places(t, b), 150, mend); damaged < 30 {
		t.Errorf("only %d of the mutants were damaged: the test proves nothing", damaged)
	}
}

// FuzzVolume examines mutants of a volume.
func FuzzVolume(f *testing.F) {
	b := small(f)
	where := places(f, b)
	f.Add([]byte{0, 0, 5, 200, 1})
	f.Add([]byte{0, 9, 90, 7, 0, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, edits []byte) {
		if len(edits) > 400 {
			return
		}
		m := treetest.Mutate(b, where, edits)
		mend(m)
		treetest.Examine(t, Format, m)
	})
}

func TestManyMayReadAtOnce(t *testing.T) {
	t.Parallel()
	v := openBytes(t, small(t), tree.Options{})
	f, err := v.Open(treetest.Find(t, v, "in pieces"))
	if err != nil {
		t.Fatal(err)
	}
	want := treetest.Random(60_000, 1)
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error {
			p := make([]byte, 30_000)
			if _, err := f.ReadAt(p, int64(i)*10_000); err != nil || !bytes.Equal(p, want[i*10_000:][:30_000]) {
				return fmt.Errorf("read %d: %v", i, err)
			}
			_, err := v.Lookup(v.Root(), "a.txt")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
