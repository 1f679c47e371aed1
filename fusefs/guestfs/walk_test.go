package guestfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func TestAViewIsAnFSOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	m, trees := linux("UUID=" + rootUUID + " / ext4 d\nUUID=" + varUUID + " /var ext4 d\n")
	if err := fstest.TestFS(newFS(trees["root"]), "etc/fstab", "which"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(m.root(t).FS(), "etc/fstab", "var/log/syslog"); err != nil {
		t.Error(err)
	}
}

func TestAWalkOfAHostileTreeEnds(t *testing.T) {
	t.Parallel()
	f := treetest.New("ext4")
	f.Link("a/b/up", f.At("a"))
	f.Link("root", f.Nodes[2])
	for i := range 60 { // two ways into each folder: 2^60 paths
		at := strings.Repeat("d/", i)
		f.Link(at+"e", f.At(at+"d"))
	}
	bad := f.File("bad", "")
	bad.Err = &tree.CorruptError{What: "inode", Why: "of the test", At: -1}
	w := &View{root: &Volume{fs: f, kept: true, signature: &signature{}}}
	top, err := w.Root()
	if err != nil {
		t.Fatal(err)
	}
	good, faults := 0, 0
	err = top.Walk(t.Context(), func(_ Place, _ tree.Attr, err error) error {
		if err == nil {
			good++
		} else if !errors.As(err, new(*tree.CorruptError)) {
			t.Error(err)
		} else {
			faults++
		}
		return nil
	})
	if err != nil || good != 3+60 || faults != 60+3 {
		t.Errorf("%d visited, %d faults, %v", good, faults, err)
	}
}

// TestWhatIsMountedTwiceIsWalkedTwice since a guest that mounts the whole of its btrfs beside a subvolume is sound.
func TestWhatIsMountedTwiceIsWalkedTwice(t *testing.T) {
	t.Parallel()
	fstab := "UUID=" + rootUUID + " / ext4 d\nUUID=" + varUUID + " /var ext4 d\nUUID=" + varUUID + " /mnt ext4 d\nUUID=" + rootUUID + " /boot ext4 d\n"
	for i := range 40 {
		fstab += fmt.Sprintf("UUID=%s /many/%d ext4 d\n", varUUID, i)
	}
	m, trees := linux(fstab)
	for i := range 40 {
		trees["root"].At(fmt.Sprintf("many/%d", i))
	}
	seen, refused := map[string]int{}, 0
	top, err := m.root(t).Root()
	if err != nil {
		t.Fatal(err)
	}
	err = top.Walk(t.Context(), func(p Place, a tree.Attr, err error) error {
		var shut *UnreadableError
		if errors.As(err, &shut) {
			refused++
		} else if err != nil {
			t.Errorf("%s: %v", p.Path, err)
		}
		seen[p.Path]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/which", "/var/log/syslog", "/mnt/log/syslog", "/boot/etc/fstab", "/etc/fstab"} {
		if seen[p] != 1 {
			t.Errorf("%s was visited %d times", p, seen[p])
		}
	}
	if refused != 42-maxTwice {
		t.Errorf("of 42 places of one volume %d were refused", refused)
	}
}

// TestAWalkVisitsALargeFolderInTheOrderOfItsNames whatever the order in which it reads.
func TestAWalkVisitsALargeFolderInTheOrderOfItsNames(t *testing.T) {
	t.Parallel()
	f := treetest.New("ext4")
	var want []string
	for i := range 60_000 { // more than is read ahead
		f.File(fmt.Sprintf("many/%d", i), "")
	}
	n := f.At("many")
	slices.SortFunc(n.Entries, func(a, b tree.Entry) int { return strings.Compare(a.Name[len(a.Name)/2:], b.Name[len(b.Name)/2:]) })
	for _, e := range n.Entries {
		want = append(want, "/many/"+e.Name)
	}
	w := &View{root: &Volume{fs: f, kept: true, signature: &signature{}}}
	top, err := w.Resolve("many")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = top.Walk(t.Context(), func(p Place, a tree.Attr, err error) error {
		if a.Ino != p.Ino || err != nil {
			t.Fatalf("%s: inode %d is told as %d, %v", p.Path, p.Ino, a.Ino, err)
		}
		got = append(got, p.Path)
		return nil
	})
	if err != nil || !slices.Equal(got[1:], want) {
		t.Errorf("%d visited, %v", len(got), err)
	}
	few := 0
	if err := top.Walk(t.Context(), func(Place, tree.Attr, error) error {
		if few++; few == 3 {
			return fs.SkipAll
		}
		return nil
	}); err != nil || few != 3 {
		t.Errorf("%d visited, %v", few, err)
	}
}

func FuzzFstab(f *testing.F) {
	f.Add("UUID=x / ext4 defaults 0 1\n/dev/mapper/a--b-c /x\\040y xfs nofail\n\\777 \\04 \\\n/dev/disk/by-label/\\x5cx20 /a b c")
	f.Fuzz(func(t *testing.T, text string) {
		m, _ := linux(text)
		g := m.open()
		w := &View{root: g.Volumes()[0]}
		w.addMounts(g, parseFstab(text))
		for dir := range w.mounts {
			if _, _, err := w.Locate(dir + "/x"); err != nil && !IsUnreachable(err) {
				t.Errorf("%q: %v", dir, err)
			}
			w.Resolve(dir)
		}
	})
}

func TestALabelThatOnlyTheReaderFindsIsFollowed(t *testing.T) {
	t.Parallel()
	m, _ := linux("UUID=" + rootUUID + " / ext4 d\nLABEL=Data\\040Disk /srv ntfs-3g d\n")
	data := treetest.New("ntfs")
	data.About.Label = "Data Disk"
	data.File("file", "there")
	m.disk("vdc", m.set.Image(data, mib))
	g := m.open()
	v, err := g.Volume("vdc")
	if err != nil {
		t.Fatal(err)
	}
	v.signature = &signature{kind: "ntfs", format: &g.o.Formats[0]} // the test's image bears no NTFS of its own
	w, err := g.Root()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, w, "/srv/file"); got != "there" {
		t.Errorf("%q", got)
	}
}

// FuzzDisk has disks of garbage, and of pieces of what is known, looked into.
func FuzzDisk(f *testing.F) {
	mbr := make([]byte, 512)
	mbr[510], mbr[511], mbr[450], mbr[454], mbr[458] = 0x55, 0xaa, 0x83, 8, 200
	for _, magic := range []struct {
		off  int
		text string
	}{{0, "XFSB"}, {3, "NTFS    "}, {0, "LUKS\xba\xbe"}, {1080, "\x53\xef"}, {512, "LABELONE"}, {82, "FAT32   "}, {4086, "SWAPSPACE2"}} {
		b := append(bytes.Clone(mbr), make([]byte, 16384)...)
		copy(b[8*512+magic.off:], magic.text)
		f.Add(b)
		f.Add(b[8*512:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<18 {
			return
		}
		disk := make([]byte, 1<<18)
		copy(disk, b)
		g := Open([]Disk{{Name: "vda", R: bytes.NewReader(disk), Size: int64(len(disk))}}, Options{Memory: 8 << 20})
		names := map[string]bool{}
		for _, v := range g.Volumes() {
			if names[v.Name] {
				t.Fatalf("two volumes are called %s", v.Name)
			}
			names[v.Name] = true
			v.Report()
			if top, err := v.View().Root(); err == nil {
				left := 1000
				top.Walk(t.Context(), func(p Place, a tree.Attr, err error) error {
					if left--; left == 0 {
						return fs.SkipAll
					}
					if f, size, err := p.Open(); err == nil {
						f.ReadAt(make([]byte, min(size, 4096)), 0)
					}
					return nil
				})
			}
		}
	})
}

// newFS returns a file system by itself as an fs.FS.
func newFS(f tree.FileSystem) FS {
	return FS{&View{root: &Volume{fs: f, kept: true, signature: &signature{kind: f.Info().Type}}}}
}
