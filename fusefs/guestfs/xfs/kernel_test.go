package xfs

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// optionSets are what mkfs.xfs is told. Version 4 and names without case need
// kernels that are hardly built any more: they are fixtures.
var optionSets = []struct {
	options string
	entries int
}{
	{"", 6000},
	{"-i size=1024,nrext64=1 -m rmapbt=1,inobtcount=1,bigtime=1", 1500},
	{"-m reflink=0,finobt=0,bigtime=0,inobtcount=0 -i sparse=0", 1500},
	{"-b size=1024 -i size=512", 2500},
	{"-b size=1024 -n size=8192", 2500},
	{"-b size=2048 -n size=65536 -i size=1024", 1500},
	{"-i size=2048 -n size=16384", 1500},
	{"-s size=4096 -d agcount=7", 1500},
	{"-l su=32k,size=16m -d su=64k,sw=2", 500},
	{"-b size=16384", 1500},
	{"-b size=65536 -i size=512 -d size=400m", 700},
}

func TestEveryKindOfVolumeReadsAsTheKernelReadsIt(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, c := range optionSets {
		name := c.options
		if name == "" {
			name = "defaults"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := mkfs(t, 400, append(strings.Fields(c.options), "-L", "label")...)
			dir, unmount := mount(t, image, "")
			populate(t, dir, c.entries)
			unmount()
			v := treetest.OpenImage(t, Format, image, tree.Options{})
			if i := v.Info(); i.Journal != tree.Clean || len(i.Notes) > 0 || i.Label != "label" || i.Type != "xfs" || i.FoldsCase {
				t.Errorf("the volume says %+v", i)
			}
			got := exact.Ours(t, v)
			dir, _ = mount(t, image, "ro,noatime,norecovery")
			treetest.SameLines(t, got, exact.Kernel(t, dir))
		})
	}
}
