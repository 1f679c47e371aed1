package guestfs

import (
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func TestAShelfKeepsTheVolumesOpenThatWereAskedLast(t *testing.T) {
	t.Parallel()
	m, trees := &machine{}, map[string]*treetest.FS{}
	for _, name := range []string{"vda", "vdb", "vdc"} {
		trees[name] = treetest.New("ext4")
		m.disk(name, m.set.Image(trees[name], mib))
	}
	g, shelf := m.open(), NewShelf(2)
	g.o.Shelf = shelf
	ask := func(names ...string) {
		t.Helper()
		for _, name := range names {
			v, err := g.Volume(name)
			if err == nil {
				_, err = v.FS()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	opened := func(a, b, c int64) {
		t.Helper()
		if x, y, z := trees["vda"].Opened.Load(), trees["vdb"].Opened.Load(), trees["vdc"].Opened.Load(); x != a || y != b || z != c || shelf.Open() > 2 {
			t.Errorf("opened %d, %d and %d times; %d are open", x, y, z, shelf.Open())
		}
	}
	ask("vda", "vdb", "vda", "vdc", "vda", "vdc")
	opened(1, 1, 1)
	ask("vdb", "vdc", "vdb") // vda is let go
	opened(1, 2, 1)
	ask("vda")
	opened(2, 2, 1)
	shelf.Forget(g)
	if n := shelf.Open(); n != 0 {
		t.Errorf("%d volumes of a guest that is forgotten are open", n)
	}
}
