package fusefs

import (
	"io/fs"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// refusing is a disk that may not be read for a while.
type refusing struct {
	Disk
	refused *atomic.Bool
}

type refusal struct{}

func (refusal) Error() string { return "anna lacks the permission" }
func (refusal) Passing() bool { return true }
func (refusal) Unwrap() error { return fs.ErrPermission }

func (d refusing) ReadAt(p []byte, off int64) (int, error) {
	if d.refused.Load() {
		return 0, refusal{}
	}
	return d.Disk.ReadAt(p, off)
}

func TestWhatMayNotBeReadForNowIsNotToldToBeNothing(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	v := guestVault(set, root, srv)
	var refused atomic.Bool
	for name, d := range v.disks {
		v.disks[name] = refusing{d, &refused}
	}
	refused.Store(true)
	m, _ := mount(t, v, withGuests(quick(), set))
	in := "cd $M/web/latest; "
	for range 2 {
		expect(t, m, in+"ls files 2>&1 || cat files/volumes.json 2>&1 || ls files/vdb 2>&1 || cat disks/vda.raw 2>&1 || true", `
ls: reading directory 'files': Permission denied
cat: files/volumes.json: Permission denied
ls: cannot access 'files/vdb': Permission denied
cat: disks/vda.raw: Permission denied`)
	}
	refused.Store(false)
	expect(t, m, in+"cat files/vdb/www/index; ls files; grep -c '\"name\"' files/volumes.json", "hello\nroot\nvda\nvdb\nvolumes.json\n2")
}
