package guestfs

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// several is a file system with subvolumes.
type several struct {
	*treetest.FS
	list []tree.Subvolume
}

func (s several) Subvolumes() ([]tree.Subvolume, error) { return s.list, nil }

// twoDisks is a guest whose root is a subvolume of a file system over two disks.
func twoDisks(fstab string) *Guest {
	f := treetest.New("btrfs")
	f.File("@/etc/fstab", fstab)
	f.File("@home/ann/letter", "dear")
	f.File("@/home/nobody", "below")
	f.File("old/etc/fstab", fstab)
	list := []tree.Subvolume{{ID: 5, Root: 2, Default: true}, {ID: 256, Path: "old", Root: f.At("old").Ino, Snapshot: true},
		{ID: 257, Path: "@", Root: f.At("@").Ino}, {ID: 258, Path: "@home", Root: f.At("@home").Ino}}
	format := tree.Format{
		Name:  "twos",
		Probe: func(r io.ReaderAt, _ int64) bool { b := []byte{0}; r.ReadAt(b, 0); return b[0] == 'T' },
		Member: func(r io.ReaderAt, _ int64) (tree.Member, error) {
			b := make([]byte, 2)
			_, err := r.ReadAt(b, 0)
			return tree.Member{Set: "one", Device: uint64(b[1]), Of: 2}, err
		},
		OpenSet: func(parts []tree.Part, _ tree.Options) (tree.FileSystem, error) {
			if len(parts) != 2 {
				return nil, errors.New("a part is missing")
			}
			return several{f, list}, nil
		},
	}
	disk := func(name string, n byte) Disk {
		b := strings.NewReader("T" + string(rune(n)) + strings.Repeat("\x00", 1<<20))
		return Disk{Name: name, R: b, Size: b.Size()}
	}
	return Open([]Disk{disk("vda", 2), disk("vdb", 1)}, Options{Formats: []tree.Format{format}})
}

func TestAFileSystemOverTwoDisksIsShownOnceAndItsSubvolumesAreMounted(t *testing.T) {
	t.Parallel()
	g := twoDisks("/dev/vda / btrfs subvol=@ 0 1\n/dev/vda /home btrfs rw,subvol=/@home 0 0\n/dev/vdb /all btrfs subvolid=5 0 0\n/dev/vdb /no btrfs subvol=gone 0 0\n")
	w, err := g.Root()
	if err != nil {
		t.Fatal(err)
	}
	if w.Volume().Name != "vdb" {
		t.Errorf("the root is on %s", w.Volume().Name)
	}
	for name, want := range map[string]string{"home/ann/letter": "dear", "all/@home/ann/letter": "dear", "all/@/home/nobody": "below"} {
		if got, err := w.readFile(name); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := w.Resolve("no/x"); !errors.As(err, new(*NotInPointError)) {
		t.Errorf("a subvolume that is not there: %v", err)
	}
	other, _ := g.Volume("vda")
	if _, err := other.FS(); !errors.As(err, new(*UnreadableError)) || !strings.Contains(err.Error(), "volume vdb shows") {
		t.Errorf("the other part: %v", err)
	}
}
