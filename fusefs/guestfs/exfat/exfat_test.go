package exfat

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// comparable takes out what exFAT does not keep and each reader makes up.
func comparable(_ string, f *treetest.Fact) {
	f.Nlink, f.UID, f.GID = 0, 0, 0
	f.Mode &= unix.S_IFMT
	if f.Mode == unix.S_IFDIR {
		f.Size = 0
	}
}

func TestEveryFileIsAsExfatFuseShowsIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		mib     int64
		options []string
		large   int
	}{
		{"clusters of 512", 24, []string{"-c", "512"}, 300_001},
		{"clusters of 4096", 48, nil, 1_000_001},
		{"clusters of 1 MiB", 400, []string{"-c", "1M"}, 3_000_001},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := makeImage(t, c.mib, c.options...)
			mounted(t, image, "rw", func(dir string) { populate(t, dir, c.large, 300) })
			treetest.Run(t, "fsck.exfat", "-n", image)
			var want map[string]treetest.Fact
			mounted(t, image, "ro", func(dir string) { want = treetest.Directory(t, dir) })
			b := treetest.Load(t, image)
			v := openBytes(t, b, tree.Options{})
			treetest.Same(t, want, treetest.Reading(t, v), func(path string, f *treetest.Fact) {
				if comparable(path, f); path == "/" {
					f.Mtime = 0 // the root has no entry of itself
				}
			})
			info := v.Info()
			if info.Label != "DATEN ü1" || len(info.Notes) != 0 || info.Type != "exfat" || len(info.UUID) != 9 || info.Used <= 0 || info.Used >= info.Size {
				t.Errorf("info: %+v", info)
			}
			if id := strings.TrimSpace(treetest.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", image)); id != info.UUID {
				t.Errorf("blkid says %s, we %s", id, info.UUID)
			}
			small := openBytes(t, b, tree.Options{Memory: 1}) // no index, few runs, nothing kept
			treetest.Same(t, want, treetest.Reading(t, small), func(path string, f *treetest.Fact) {
				if comparable(path, f); path == "/" {
					f.Mtime = 0
				}
			})
		})
	}
}

// TestFilesWithAndWithoutAChainAreRead proves that what exfat-fuse writes are both kinds.
func TestFilesWithAndWithoutAChainAreRead(t *testing.T) {
	t.Parallel()
	image := makeImage(t, 24, "-c", "4096")
	mounted(t, image, "rw", func(dir string) { populate(t, dir, 500_001, 10) })
	v := openBytes(t, treetest.Load(t, image), tree.Options{})
	for name, unchained := range map[string]bool{"in pieces": false, "A.TXT": true} {
		s, err := v.set(treetest.Find(t, v, name))
		if err != nil || s.unchained != unchained {
			t.Errorf("%s: without a chain: %v, %v", name, s.unchained, err)
		}
	}
}

func TestNamesAreFoundInAnyCaseOfTheVolumesTable(t *testing.T) {
	t.Parallel()
	image := makeImage(t, 24)
	mounted(t, image, "rw", func(dir string) {
		write(t, dir+"/Mixed ÄÖ Ελλ.Txt", []byte("x"))
		write(t, dir+"/ß", []byte("sharp"))
	})
	v := openBytes(t, treetest.Load(t, image), tree.Options{})
	for name, found := range map[string]bool{"mixed äö ελλ.TXT": true, "MIXED ÄÖ ΕΛΛ.TXT": true, "mixed ao": false, "SS": false, "ß": true,
		"": false, strings.Repeat("x", 256): false, "mixed äö ελλ.TXT.": false} {
		if _, err := v.Lookup(v.Root(), name); (err == nil) != found {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// patch changes the entries of a file, and sets their checksum right.
func patch(t testing.TB, b []byte, v *volume, ino uint64, change func(set []byte)) {
	t.Helper()
	set := b[ino*entrySize:]
	set = set[:setLength(set)]
	change(set)
	le.PutUint16(set[2:], checksum(set))
	v.entries = openBytes(t, b, tree.Options{}).entries
}

func TestWhatWasNeverWrittenOfAFileReadsAsZeros(t *testing.T) {
	t.Parallel()
	image := makeImage(t, 24)
	mounted(t, image, "rw", func(dir string) { write(t, dir+"/file", treetest.Random(50_000, 1)) })
	b := treetest.Load(t, image)
	v := openBytes(t, b, tree.Options{})
	ino := treetest.Find(t, v, "file")
	patch(t, b, v, ino, func(set []byte) { le.PutUint64(set[entrySize+8:], 20_001) })
	f, err := v.Open(ino)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 30_000)
	want := append(treetest.Random(50_000, 1)[10_000:20_001], make([]byte, 19_999)...)
	if n, err := f.ReadAt(p, 10_000); n != len(p) || err != nil || !bytes.Equal(p, want) {
		t.Errorf("%d bytes, %v", n, err)
	}
	for e, err := range f.Extents() {
		if err != nil || e != (tree.Extent{Len: 20_001}) {
			t.Errorf("extent %+v, %v", e, err)
		}
	}
}

func TestTimesAreThoseOfTheirOffset(t *testing.T) {
	t.Parallel()
	const packed = (2021-1980)<<25 | 10<<21 | 28<<16 | 15<<11 | 30<<5 | 30/2
	local := time.Date(2021, 10, 28, 15, 30, 30, 0, time.UTC)
	for _, c := range []struct {
		stamp              uint32
		hundredths, offset byte
		want               time.Time
	}{
		{packed, 0, 0x80, local},
		{packed, 150, 0x80 | 8, local.Add(1500*time.Millisecond - 2*time.Hour)},
		{packed, 0, 0x80 | 0x7C, local.Add(time.Hour)},
		{packed, 0, 0x80 | 0x40, local.Add(16 * time.Hour)},
		{packed, 0, 8, local}, // not said to be valid
		{0, 0, 0, time.Time{}},
		{packed, 200, 0x80, time.Time{}},
	} {
		if got := stamp(c.stamp, c.hundredths, c.offset); !got.Equal(c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestAttributesMakeTheMode(t *testing.T) {
	t.Parallel()
	image := makeImage(t, 24)
	mounted(t, image, "rw", func(dir string) { write(t, dir+"/file", []byte("x")) })
	b := treetest.Load(t, image)
	v := openBytes(t, b, tree.Options{})
	ino := treetest.Find(t, v, "file")
	patch(t, b, v, ino, func(set []byte) { set[4] |= attrReadOnly })
	if a, err := v.Stat(ino); err != nil || a.Mode != unix.S_IFREG|0o444 || a.Nlink != 1 || a.Allocated != 4096 {
		t.Errorf("%+v, %v", a, err)
	}
}
