package btrfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// kinds of file systems: what mkfs.btrfs is told, over how many devices, and how they
// are mounted while they are filled.
var kinds = []struct {
	devices          int
	options, mounted string
	entries          int
}{
	{1, "", "", 1000},
	{1, "-m dup -d dup --csum xxhash", "compress-force=zlib", 300},
	{1, "-m single --csum sha256 -n 4096", "compress-force=lzo", 600},
	{1, "--csum blake2 -n 65536", "compress-force=zstd:15", 300},
	{1, "-O ^no-holes,^extref -R free-space-tree", "compress=lzo", 300},
	{1, "--mixed", "compress=zstd", 300},
	{1, "", "max_inline=0,nodatasum", 300},
	{1, "-n 8192", "nodatacow,compress=no", 300},
	{2, "-m raid1 -d raid0", "", 300},
	{2, "-m raid0 -d raid1", "compress-force=zstd", 300},
	{3, "-m raid1c3 -d raid0", "", 300},
	{4, "-m raid10 -d raid10", "compress=lzo", 300},
	{4, "-m raid1c4 -d single", "", 300},
	{3, "-m raid5 -d raid5", "", 300},
	{4, "-m raid6 -d raid6", "compress-force=zlib", 300},
}

func TestEveryKindOfVolumeReadsAsTheKernelReadsIt(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for i, c := range kinds {
		t.Run(fmt.Sprintf("%d %s %s", c.devices, c.options, c.mounted), func(t *testing.T) {
			t.Parallel()
			images := mkfs(t, c.devices, 512, strings.Fields(c.options)...)
			dir, unmount := mount(t, images, c.mounted)
			fill(t, dir, uint64(i)).everything(c.entries)
			unmount()
			v := opened(t, images...)
			info := v.Info()
			if info.Journal != tree.Clean || len(info.Notes) > 0 || info.Label != "label" || info.Type != "btrfs" || info.Used < 1<<20 {
				t.Errorf("the volume says %+v", info)
			}
			got := exact.Ours(t, v)
			dir, unmount = mount(t, images, "ro")
			defer unmount()
			treetest.SameLines(t, got, exact.Kernel(t, dir))
			if id := strings.TrimSpace(treetest.Run(t, "findmnt", "-no", "UUID", dir)); id != info.UUID {
				t.Errorf("its UUID is %s, and blkid says %s", info.UUID, id)
			}
		})
	}
}

func TestSubvolumesAndSnapshotsAreFoldersAtTheirPlace(t *testing.T) {
	t.Parallel()
	needKernel(t)
	images := mkfs(t, 1, 512)
	dir, unmount := mount(t, images, "")
	p := fill(t, dir, 5)
	sub := func(args ...string) { treetest.Run(t, "btrfs", append([]string{"-q", "subvolume"}, args...)...) }
	sub("create", p.Path("@"))
	p.Must(os.MkdirAll(p.Path("@/var/lib"), 0o755))
	p.File("@/var/lib/x", p.text(70000))
	sub("create", p.Path("@/var/lib/machines"))
	p.File("@/var/lib/machines/in", p.text(50000))
	p.Must(os.Mkdir(p.Path("snapshots"), 0o700))
	sub("snapshot", "-r", p.Path("@"), p.Path("snapshots/1"))
	p.File("@/var/lib/x", p.text(90000))
	sub("snapshot", p.Path("@"), p.Path("snapshots/2"))
	p.File("snapshots/2/var/new", p.text(9000))
	sub("snapshot", p.Path("snapshots/2"), p.Path("@/var/third"))
	sub("create", p.Path("gone"))
	p.File("gone/f", p.text(9000))
	sub("delete", p.Path("gone"))
	p.Must(os.Rename(p.Path("snapshots/2"), p.Path("snapshots/two")))
	id := strings.Fields(treetest.Run(t, "btrfs", "subvolume", "list", dir))[1]
	unmount()
	v := opened(t, images...)
	got := exact.Ours(t, v)
	list, err := v.Subvolumes()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range list {
		a, err := v.Stat(s.Root)
		if err != nil || a.Mode&typeMask != typeFolder {
			t.Errorf("%+v: %v", s, err)
		}
		names = append(names, fmt.Sprintf("%d %q ro=%v snap=%v default=%v", s.ID, s.Path, s.ReadOnly, s.Snapshot, s.Default))
	}
	want := []string{`5 "" ro=false snap=false default=true`, `256 "@" ro=false snap=false default=false`,
		`257 "@/var/lib/machines" ro=false snap=false default=false`, `258 "snapshots/1" ro=true snap=true default=false`,
		`259 "snapshots/two" ro=false snap=true default=false`, `260 "@/var/third" ro=false snap=true default=false`}
	if strings.Join(names, "\n") != strings.Join(want, "\n") {
		t.Errorf("its subvolumes are %q, not %q", names, want)
	}
	dir, unmount = mount(t, images, "")
	treetest.SameLines(t, got, exact.Kernel(t, dir))
	sub("set-default", id, dir)
	unmount()
	v = opened(t, images...)
	if list, err := v.Subvolumes(); err != nil || list[0].Default || !list[1].Default || list[1].Path != "@" {
		t.Errorf("with another default they are %+v (%v)", list, err)
	}
	if n := v.Info().Notes; len(n) != 1 || !strings.Contains(n[0], "subvolume is @;") {
		t.Errorf("its notes are %q", n)
	}
}
