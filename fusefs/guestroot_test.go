package fusefs

import (
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func TestTheGuestsRootIsShownWithItsVolumesJoined(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	root.At("srv").Entries = append(root.At("srv").Entries, gtree.Entry{Name: "below", Ino: root.File("x", "").Ino})
	root.File("gone/below", "of the root's own volume")
	srv.At("deep/er")
	inner := treetest.New("ext4")
	inner.File("most", "inner\n")
	text := "/dev/vda / ext4 d\n/dev/vdb /srv xfs d\n/dev/vdd /srv/deep/er xfs d\n/dev/vdc /gone xfs d\n/dev/sdz /maybe xfs noauto\nnas:/x /net nfs d\n"
	for _, e := range root.At("etc").Entries {
		if n := root.Nodes[e.Ino]; e.Name == "fstab" {
			n.Content, n.Size = []byte(text), int64(len(text))
		}
	}
	root.At("net")
	v := guestVault(set, root, srv)
	p := v.points[0]
	d := newFakeDisk(set.Image(inner, 1<<20))
	v.disks[string(p.ID)+"vdd"] = d
	p.Disks = append(p.Disks, blockstore.DiskInfo{Name: "vdd", Size: d.Size()})
	log := &lines{}
	o := withGuests(quick(), set)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	m, _ := mount(t, v, o)
	in := "cd $M/web/latest/files/root; "
	expect(t, m, in+"cat srv/www/index srv/deep/er/most; ls srv; ls srv/deep/er; cat srv/../bin/su", "hello\ninner\nback\ndeep\nwww\nmost\n\x7fELF")
	expect(t, m, in+"find . -name index -o -name most -o -name ann | sort", "./home/ann\n./srv/deep/er/most\n./srv/www/index")
	expect(t, m, in+"ls gone net; cat gone/below", "gone:\nbelow\n\nnet:\nof the root's own volume")
	if l := log.with("/gone"); len(l) != 1 || !strings.Contains(l[0], "too large") {
		t.Errorf("logged: %q", l)
	}
	expect(t, m, in+"readlink abs; test home/ann -ef home/ann2 && echo same; test srv/www/index -ef ../vdb/www/index || echo other; test etc -ef ../vda/etc || echo other",
		"/srv/www/index\nsame\nother\nother")
	expect(t, m, in+"ls maybe 2>&1 || true", "ls: cannot access 'maybe': No such file or directory")
	json := sh(t, m, "cat $M/web/latest/files/volumes.json")
	for _, want := range []string{`"volume": "vda",
    "mounts": [`, `"at": "/gone",
        "device": "/dev/vdc",
        "error": "/gone (/dev/vdc) is not in this point: vdc was left out (too large)"`, `"at": "/srv",
        "device": "/dev/vdb",
        "volume": "vdb"`, `"at": "/net"`} {
		if !strings.Contains(json, want) {
			t.Errorf("%s is not in\n%s", want, json)
		}
	}
	expect(t, m, "cat $M/web/latest/files/vda/srv/below; ls $M/web/latest/files/vdb/deep/er", "") // by itself it is as it lies
}

func TestAbsoluteLinksOfTheGuestsRootStayInIt(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	root.Symlink("out", "/../../../../../etc/fstab")
	root.Symlink("top", "/")
	o := withGuests(quick(), set)
	o.ResolveLinks = true
	m, _ := mount(t, guestVault(set, root, srv), o)
	expect(t, m, "cd $M/web/latest/files/root; cat abs; head -n1 srv/back; readlink lost rel; cat out | wc -l; ls top | wc -l; test $(readlink abs) = $(readlink -f ../root)/srv/www/index && echo within",
		"hello\n/dev/vda / ext4 d\n"+m+"/web/2026-11-22T22-00-05Z/files/root/gone/x\netc/fstab\n3\n14\nwithin")
}

func TestAGuestWithoutARootHasNoFolderForIt(t *testing.T) {
	set := &treetest.Set{}
	f := treetest.New("ext4")
	f.File("data", "x")
	m, _ := mount(t, guestVault(set, f), withGuests(quick(), set))
	expect(t, m, "cd $M/web/latest/files; ls; ls root 2>&1 || true", "vda\nvolumes.json\nls: cannot access 'root': No such file or directory")
}

func TestASubvolumeThatIsMountedTwiceLeadsNowhereForEver(t *testing.T) {
	set := &treetest.Set{}
	f := treetest.New("ext4")
	f.File("etc/fstab", "/dev/vda / ext4 d\n/dev/vda /again ext4 d\n/dev/vda /again/again ext4 d\n")
	f.At("again")
	m, _ := mount(t, guestVault(set, f), withGuests(quick(), set))
	expect(t, m, "cd $M/web/latest/files/root; find . | sort", `
.
./again
./again/again
./again/again/again
./again/again/etc
./again/again/etc/fstab
./again/etc
./again/etc/fstab
./etc
./etc/fstab`)
}

// windowsDisk is a disk of two volumes that say that they are FATs, and the place of each
// by which Windows knows it.
func windowsDisk(set *treetest.Set, trees ...*treetest.FS) (image []byte, ids [][]byte) {
	const mib = 1 << 20
	image = make([]byte, mib)
	image[510], image[511] = 0x55, 0xaa
	le := binary.LittleEndian
	le.PutUint32(image[440:], 0x12345678)
	for i, f := range trees {
		v := set.Image(f, mib)
		copy(v[54:], "FAT")
		e := image[446+16*i:]
		e[4] = 7
		le.PutUint32(e[8:], uint32(len(image)/512))
		le.PutUint32(e[12:], mib/512)
		ids = append(ids, le.AppendUint64(le.AppendUint32(nil, 0x12345678), uint64(len(image))))
		image = append(image, v...)
	}
	return image, ids
}

func TestDrivesOfWindowsAreFoldersOfItsRoot(t *testing.T) {
	set := &treetest.Set{}
	system, data := treetest.New("ntfs"), treetest.New("ntfs")
	system.About.FoldsCase, data.About.FoldsCase = true, true
	system.File("Windows/System32/drivers", "d")
	system.File("Users/Ann/letter", "dear\n")
	system.Symlink("to-d", "/D:/books")
	system.Symlink("to-c", "/C:/Users/Ann/letter")
	system.Symlink("by-name", "/Volume{1-2}/books/one")
	data.File("books/one", "1\n")
	data.Symlink("here", "/books/one")
	hive := system.File("Windows/System32/config/SYSTEM", "")
	image, ids := windowsDisk(set, data, system)
	hive.Content = treetest.MountedDevices(map[string][]byte{`\DosDevices\C:`: ids[1], `\DosDevices\D:`: ids[0], `\??\Volume{1-2}`: ids[0],
		`\DosDevices\E:`: append([]byte{9}, ids[0][1:]...)})
	hive.Size = int64(len(hive.Content))
	v := guestVault(set)
	p, d := v.points[0], newFakeDisk(image)
	v.disks[string(p.ID)+"sda"] = d
	p.Disks = append(p.Disks, blockstore.DiskInfo{Name: "sda", Size: d.Size()})
	o := withGuests(quick(), set)
	o.ResolveLinks = true
	m, _ := mount(t, v, o)
	in := "cd $M/web/latest/files/root; "
	expect(t, m, in+"ls; ls C D; cat C/users/ann/LETTER D/Books/one", "C\nD\nC:\nUsers\nWindows\nby-name\nto-c\nto-d\n\nD:\nbooks\nhere\ndear\n1")
	expect(t, m, in+"cat C/to-d/one C/to-c C/by-name D/here", "1\ndear\n1\n1")
	expect(t, m, in+"ls E 2>&1 || true; ls D: 2>&1 || true; ls C/D: 2>&1 || true",
		"ls: cannot access 'E': No such file or directory\nls: cannot access 'D:': No such file or directory\nls: cannot access 'C/D:': No such file or directory")
	json := sh(t, m, "cat $M/web/latest/files/volumes.json")
	for _, want := range []string{`"drive": "C:"`, `"at": "D:"`, `"volume": "sda1"`, `E: (the partition at 1048576 of the disk with signature 12345609) is not in this point`} {
		if !strings.Contains(json, want) {
			t.Errorf("%s is not in\n%s", want, json)
		}
	}
}
