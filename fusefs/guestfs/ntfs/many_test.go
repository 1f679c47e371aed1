package ntfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// TestAFileInThousandsOfPiecesIsWhole: its runs lie in more than 20 records, and
// the list of these does not fit into one.
func TestAFileInThousandsOfPiecesIsWhole(t *testing.T) {
	t.Parallel()
	image := makeNTFS(t, 24, "-c", "512")
	mounted(t, image, "compression", func(dir string) {
		m := newMaker(t, dir)
		f, err := os.Create(m.path("pieces"))
		m.must(err)
		for i := range 5_000 { // with a hole after each cluster, and 5 of them after some
			_, err := f.WriteAt(m.random(512), int64(i*2+i/100*4)*512)
			m.must(err)
		}
		m.must(f.Close())
	})
	var want map[string]facts
	mounted(t, image, "ro", func(dir string) { want = reference(t, dir) })
	v := treetest.OpenImage(t, Format, image, tree.Options{}).(*volume)
	equal(t, want, reading(t, v))
	ino, err := v.Lookup(v.root, "pieces")
	if err != nil {
		t.Fatal(err)
	}
	n, err := v.resolve(ino)
	if err != nil {
		t.Fatal(err)
	}
	if parts := len(n.parts(kindData, "")); parts <= 20 {
		t.Errorf("the file has only %d parts: the test proves nothing", parts)
	} else {
		t.Logf("%d parts", parts)
	}
}

// TestALargeFolderInPiecesKeepsEveryName lists and looks up 11,573 names whose
// index is in hundreds of pieces, as the file table is, and many names of one file.
func TestALargeFolderInPiecesKeepsEveryName(t *testing.T) {
	t.Parallel()
	image := makeNTFS(t, 48, "-c", "512")
	const names = 11_573 // as on a volume where a library lost 9,840 of them
	mounted(t, image, "", func(dir string) {
		m := newMaker(t, dir)
		m.must(os.Mkdir(m.path("large"), 0o755))
		filler, err := os.Create(m.path("filler"))
		m.must(err)
		for at := int64(0); at < 44<<20; at += 8 << 10 { // ntfs-3g leaves room for each of its holes
			_, err := filler.WriteAt(m.random(4<<10), at)
			m.must(err)
		}
		m.must(filler.Close())
		for i := range names {
			f, err := os.Create(m.path(fmt.Sprintf("large/%05d %s", i*7919%names, strings.Repeat("n", i%60))))
			m.must(err)
			m.must(f.Close())
		}
		m.write("one file", m.random(3000))
		for i := range 400 {
			m.must(os.Link(m.path("one file"), m.path(fmt.Sprintf("large/link %03d of one file with a long name", i))))
		}
	})
	want := map[string]bool{}
	mounted(t, image, "ro", func(dir string) {
		f, err := os.Open(dir + "/large")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		all, err := f.Readdirnames(-1)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			want[name] = true
		}
	})
	v := treetest.OpenImage(t, Format, image, tree.Options{}).(*volume)
	ino, err := v.Lookup(v.root, "large")
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for e, err := range v.ReadDir(ino) {
		found, lookupErr := v.Lookup(ino, e.Name)
		if err != nil || lookupErr != nil || found != e.Ino || !want[e.Name] {
			t.Fatalf("%q: %x listed, %x found, ntfs-3g has it: %v: %v %v", e.Name, e.Ino, found, want[e.Name], err, lookupErr)
		}
		delete(want, e.Name)
		listed++
	}
	if listed != names+400 || len(want) != 0 {
		t.Errorf("%d names are listed, %d are missing", listed, len(want))
	}
	one, err := v.Lookup(v.root, "one file")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := v.Stat(one); err != nil || a.Nlink != 401 {
		t.Errorf("%d links: %v", a.Nlink, err)
	}
	folder, err := v.resolve(ino)
	if err != nil {
		t.Fatal(err)
	}
	x, err := v.index(folder)
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	for i := range x.blocks.parts {
		runs, err := x.blocks.part(i)
		if err != nil {
			t.Fatal(err)
		}
		pieces += len(runs)
	}
	if pieces < 100 || len(v.table.runs) < 200 {
		t.Errorf("the index is in %d pieces, the file table in %d: the test proves nothing", pieces, len(v.table.runs))
	}
	t.Logf("index of %d bytes in %d pieces, %d parts; file table in %d", x.blocks.size, pieces, len(x.blocks.parts), len(v.table.runs))
}
