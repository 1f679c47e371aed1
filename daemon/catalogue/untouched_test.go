package catalogue

import (
	"bytes"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// diskPoint is a point of several disks.
func (w *world) diskPoint(disks ...[]byte) *blockstore.Point {
	w.t.Helper()
	b, err := w.o.Begin(w.t.Context(), blockstore.BackupOptions{Machine: "web1", Time: w.at, Reached: blockstore.Crash})
	if err != nil {
		w.t.Fatal(err)
	}
	defer b.Abort()
	for i, disk := range disks {
		info := blockstore.DiskInfo{Name: []string{"vda", "vdb", "vdc"}[i], Size: int64(len(disk)), Format: "raw"}
		if err := b.AddDisk(w.t.Context(), info, memory{bytes.NewReader(disk)}, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	p, err := b.Commit(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.points = append(w.points, p)
	return p
}

// TestAVolumeThatDidNotChangeIsNotRead changes trees behind the back of the maps: whoever reads them sees
// it.
func TestAVolumeThatDidNotChangeIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	root, data, own := treetest.New("ext4"), treetest.New("ext4"), treetest.New("ext4")
	root.File("etc/fstab", "/dev/vda / ext4 d\n/dev/vdb /data ext4 d\n")
	root.At("data")
	data.File("deep/a", "")
	own.File("x", "")
	const size = 256 << 10
	vda, vdb, vdc := w.set.Image(root, size), w.set.Image(data, size), w.set.Image(own, size)
	if b := w.build(w.diskPoint(vda, vdb, vdc)); b.Names != 8 { // /, /etc, fstab, /data, deep, a; vdc:/, x
		t.Fatalf("%+v", b)
	}
	data.File("deep/b", "")
	own.File("y", "")
	root.File("etc/new", "")
	vda[size-1]++
	b := w.build(w.diskPoint(vda, vdb, vdc))
	if b.Names != 9 || b.Changes != 1 || !b.Walked || len(b.Trees) != 2 || len(b.Trees[0].Volumes) != 2 || b.Trees[0].Volumes[1].Volume != "vdb" {
		t.Errorf("the root alone changed: %+v", b)
	}
	vdb[size-1]++
	if b := w.build(w.diskPoint(vda, vdb, vdc)); b.Names != 10 || b.Changes != 1 {
		t.Errorf("what is mounted changed: %+v", b)
	}
	vdc[size-1]++
	if b := w.build(w.diskPoint(vda, vdb, vdc)); b.Names != 11 || b.Changes != 1 {
		t.Errorf("a volume of its own changed: %+v", b)
	}
	// A volume that was elsewhere is read, whether it changed or not.
	etc := root.At("etc/fstab")
	etc.Content = []byte("/dev/vda / ext4 d\n/dev/vdb /srv ext4 d\n")
	etc.Size = int64(len(etc.Content))
	root.At("srv")
	vda[size-2]++
	w.build(w.diskPoint(vda, vdb, vdc))
	got, _ := w.hits(Query{Most: -1, Top: "/srv"})
	if gone, _ := w.hits(Query{Most: -1, Top: "/data", Deleted: true}); len(got) != 4 || len(gone) != 3 {
		t.Errorf("%d are in /srv now, and %d left /data", len(got), len(gone))
	}
}
