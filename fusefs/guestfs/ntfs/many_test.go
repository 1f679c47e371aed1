package ntfs

import (
	"fmt"
	"os"
	"strings"
	"testing"
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
	v := openImage(t, image).(*volume)
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
// index is in hundreds of pieces, and many names of one file.
func TestALargeFolderInPiecesKeepsEveryName(t *testing.T) {
	t.Parallel()
	image := makeNTFS(t, 48)
	const names = 11_573 // as on a volume where a library lost 9,840 of them
	mounted(t, image, "", func(dir string) {
		m := newMaker(t, dir)
		m.must(os.Mkdir(m.path("large"), 0o755))
		m.must(os.Mkdir(m.path("filler"), 0o755))
		fill := func(i int) string { return m.path(fmt.Sprint("filler/", i)) }
		fillers := 0
		for os.WriteFile(fill(fillers), m.random(16<<10), 0o644) == nil {
			fillers++
		}
		for i := 0; i <= fillers; i += 2 {
			m.must(os.Remove(fill(i)))
		}
		for i := range names {
			f, err := os.Create(m.path(fmt.Sprintf("large/%05d %s", i*7919%names, strings.Repeat("n", i%60))))
			m.must(err)
			m.must(f.Close())
		}
		for i := range fillers {
			_ = os.Remove(fill(i))
		}
		m.write("one file", m.random(3000))
		for i := range 400 {
			m.must(os.Link(m.path("one file"), m.path(fmt.Sprintf("large/link %03d of one file with a long name", i))))
		}
	})
	var want map[string]facts
	mounted(t, image, "ro", func(dir string) { want = reference(t, dir) })
	v := openImage(t, image).(*volume)
	got := reading(t, v)
	if equal(t, want, got) != names+400+4 {
		t.Errorf("%d paths", len(want))
	}
	if links := got["/one file"].links; links != 401 {
		t.Errorf("%d links", links)
	}
	folder, err := v.inode(got["/large"].ino)
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
	if pieces < 10 {
		t.Errorf("the index is in %d pieces only: the test proves nothing", pieces)
	}
	t.Logf("index of %d bytes in %d pieces, %d parts", x.blocks.size, pieces, len(x.blocks.parts))
}
