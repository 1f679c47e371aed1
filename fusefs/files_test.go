package fusefs

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

const guestMode = 0o100000

// guestTrees is a guest of two disks, without partitions: vda, its root, and vdb, its
// /srv. vdc was left out.
func guestTrees() (root, srv *treetest.FS) {
	root, srv = treetest.New("ext4"), treetest.New("xfs")
	root.File("etc/fstab", "/dev/vda / ext4 d\n/dev/vdb /srv xfs d\n/dev/vdc /gone xfs d\n")
	root.At("srv")
	secret := root.File("etc/shadow", "hash\n")
	secret.Mode = guestMode | 0o600
	su := root.File("bin/su", "\x7fELF")
	su.Mode, su.UID, su.GID = guestMode|0o4755, 0, 7
	su.Xattrs = map[string][]byte{"user.note": []byte("a\x00b"), "user.empty": {}}
	ann := root.File("home/ann", "x")
	ann.UID, ann.GID, ann.Mode = 1000, 1001, guestMode|0o640
	ann.Nlink = 2
	ann.Atime, ann.Mtime = treetest.Time.Add(time.Nanosecond), time.Date(1969, 1, 2, 3, 4, 5, 6, time.UTC)
	root.Link("home/ann2", ann)
	root.Symlink("abs", "/srv/www/index")
	root.Symlink("lost", "/gone/x")
	root.Symlink("rel", "etc/fstab")
	dev := root.Add("dev/sda1", 0o060660, "")
	dev.Major, dev.Minor = 8, 513
	root.Add("run/pipe", 0o010600, "")
	sparse := root.File("sparse", strings.Repeat("a", 8192)+strings.Repeat("\x00", 1<<20)+strings.Repeat("b", 5000))
	sparse.Holes = []gtree.Extent{{Off: 8192, Len: 1 << 20}}
	sparse.Allocated = 8192 + 8192
	far := root.File("far", "far away") // as NTFS counts: sequence numbers in the upper bits
	delete(root.Nodes, far.Ino)
	for i := range root.Nodes[2].Entries {
		if e := &root.Nodes[2].Entries[i]; e.Name == "far" {
			e.Ino |= 0xffff << 48
			far.Ino = e.Ino
		}
	}
	root.Nodes[far.Ino] = far
	bad := root.File("broken/bad", "")
	bad.Err = &gtree.CorruptError{What: "inode 77", Why: "of the test", At: 4096}
	locked := root.File("broken/locked", "")
	locked.Err = &gtree.UnsupportedError{What: "inode 78", Why: "it is encrypted"}
	srv.File("www/index", "hello\n")
	srv.Symlink("back", "/etc/fstab")
	return root, srv
}

// guestVault is a vault with a point of that guest.
func guestVault(set *treetest.Set, trees ...*treetest.FS) *fakeVault {
	v := newFakeVault()
	addGuest(v, set, "web", trees...)
	return v
}

func addGuest(v *fakeVault, set *treetest.Set, machine string, trees ...*treetest.FS) *blockstore.Point {
	p := v.add(machine, day.Add(time.Duration(len(v.points))*time.Hour), newFakeDisk(nil))
	p.Disks = nil
	for i, f := range trees {
		name := fmt.Sprintf("vd%c", 'a'+i)
		d := newFakeDisk(set.Image(f, 1<<20))
		v.disks[string(p.ID)+name] = d
		p.Disks = append(p.Disks, blockstore.DiskInfo{Name: name, Size: d.Size()})
	}
	p.LeftOut = []blockstore.LeftOut{{Name: "vdc", Reason: "too large"}}
	return p
}

func withGuests(o Options, set *treetest.Set) Options {
	o.formats = []gtree.Format{set.Format()}
	return o
}

func expect(t *testing.T, m, script, want string) {
	t.Helper()
	if got := sh(t, m, script); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s\ngives %q\nnot   %q", script, got, want)
	}
}

func TestGuestFilesLookAsTheyDidInTheGuest(t *testing.T) {
	needs.Root(t) // who else may have trusted attributes
	set := &treetest.Set{}
	root, srv := guestTrees()
	m, _ := mount(t, guestVault(set, root, srv), withGuests(quick(), set))
	in := "cd $M/web/latest/files; "
	expect(t, m, in+"ls", "root\nvda\nvdb\nvolumes.json")
	expect(t, m, in+"cat vda/etc/fstab vdb/www/index", "/dev/vda / ext4 d\n/dev/vdb /srv xfs d\n/dev/vdc /gone xfs d\nhello")
	expect(t, m, in+"stat -c '%A %u %g %s %h %y' vda/bin/su vda/home/ann vda/etc", `
-rwsr-xr-x 0 7 4 1 2026-11-01 02:03:04.567890123 +0000
-rw-r----- 1000 1001 1 2 1969-01-02 03:04:05.000000006 +0000
drwxr-xr-x 0 0 0 1 2026-11-01 02:03:04.567890123 +0000`)
	expect(t, m, in+"stat -c '%F %t %T' vda/dev/sda1 vda/run/pipe", "block special file 8 201\nfifo 0 0")
	expect(t, m, in+"readlink vda/abs vda/rel; cat vda/rel | wc -l", "/srv/www/index\netc/fstab\n3")
	expect(t, m, in+"test vda/home/ann -ef vda/home/ann2 && echo same; test vda/etc/fstab -ef vdb/www/index || echo other", "same\nother")
	expect(t, m, in+"ls vda/nothing 2>&1 || ls vda/nothing 2>&1 || true", strings.Repeat("ls: cannot access 'vda/nothing': No such file or directory\n", 2))
	expect(t, m, in+"stat -c %b vda/sparse; T=$(mktemp -p /dev/shm); cp vda/sparse $T; cmp vda/sparse $T; stat -c %b $T; rm $T", "32\n32")
	expect(t, m, in+"cat vda/far", "far away")
	expect(t, m, in+"stat -f -c '%S %b' vda", "4096 256")
	expect(t, m, in+"cat vda/dev/sda1 2>&1 || true", "cat: vda/dev/sda1: Permission denied") // nodev
	expect(t, m, in+"touch vda/new 2>&1 || true", "touch: cannot touch 'vda/new': Read-only file system")
}

func TestExtendedAttributesOfGuestsAreShown(t *testing.T) {
	needs.Tools(t, "getfattr")
	set := &treetest.Set{}
	root, srv := guestTrees()
	m, _ := mount(t, guestVault(set, root, srv), withGuests(quick(), set))
	in := "cd $M/web/latest/files/vda; "
	expect(t, m, in+"getfattr -d -e hex bin/su", "# file: bin/su\nuser.empty=0x\nuser.note=0x610062")
	expect(t, m, in+"getfattr -n user.none bin/su 2>&1 || true", "bin/su: user.none: No such attribute")
	expect(t, m, "getfattr -d $M/web/latest/disks/vda.raw $M", "")
}

func TestListingPointsTouchesNoGuest(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	v := guestVault(set, root, srv)
	m, _ := mount(t, v, withGuests(quick(), set))
	expect(t, m, "find $M -maxdepth 3 | wc -l; ls -l $M/web/* >/dev/null; stat $M/web/latest/files >/dev/null", "8")
	if v.opened.Load() != 0 {
		t.Errorf("%d disks were opened", v.opened.Load())
	}
	expect(t, m, "ls -d $M/web/latest/files/nothing 2>/dev/null || true", "")
	if srv.Opened.Load() != 0 || root.Opened.Load() != 0 {
		t.Error("a volume was opened")
	}
	expect(t, m, "cat $M/web/latest/files/vdb/www/index", "hello")
	if srv.Opened.Load() != 1 || root.Opened.Load() != 0 {
		t.Errorf("opened: %d and %d", root.Opened.Load(), srv.Opened.Load())
	}
}

func TestVolumesJSONNamesVolumesAndWhatTheyWere(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	v := guestVault(set, root, srv)
	luks := newFakeDisk(append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 1<<20)...))
	v.disks[string(v.points[0].ID)+"vdl"] = luks
	v.points[0].Disks = append(v.points[0].Disks, blockstore.DiskInfo{Name: "vdl", Size: luks.Size()})
	m, _ := mount(t, v, withGuests(quick(), set))
	text := sh(t, m, "cat $M/web/latest/files/volumes.json")
	for _, want := range []string{`"name": "vda"`, `"type": "xfs"`, `"mounted_at": [
        "/srv"
      ]`, `"journal": "clean"`, `"name": "vdl",
      "type": "crypto_LUKS"`, `cryptsetup`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	expect(t, m, "ls $M/web/latest/files; ls $M/web/latest/files/vdl 2>&1 || true", "root\nvda\nvdb\nvolumes.json\nls: cannot access '"+m+"/web/latest/files/vdl': Operation not supported")
}

func TestFoldersOfAHundredThousandEntriesAreListedWhole(t *testing.T) {
	set := &treetest.Set{}
	f := treetest.New("ext4")
	dir := f.At("many")
	file := f.File("one", "1")
	const n = 100000
	for i := range n {
		dir.Entries = append(dir.Entries, gtree.Entry{Name: fmt.Sprintf("entry-%06d", i), Ino: file.Ino, Type: 0o100000})
	}
	m, _ := mount(t, guestVault(set, f), withGuests(quick(), set))
	expect(t, m, `cd $M/web/latest/files/vda/many; ls -U | wc -l; ls -U | head -1; ls | sort -u | wc -l; find . -size 1 | wc -l; ls -fa | wc -l`,
		fmt.Sprintf("%d\nentry-000000\n%d\n%d\n%d", n, n, n, n+2))
}

func TestAbsoluteLinksLeadIntoTheMountWhenAsked(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	o := withGuests(quick(), set)
	o.ResolveLinks = true
	m, _ := mount(t, guestVault(set, root, srv), o)
	expect(t, m, "cd $M/web/latest/files; cat vda/abs; head -n1 vdb/back; readlink vda/lost vda/rel; test $(stat -c %s vda/abs) = $(readlink -n vda/abs | wc -c) && echo long",
		"hello\n/dev/vda / ext4 d\n/gone/x\netc/fstab\nlong")
}

func TestCopiesOfGuestFilesAreWhatTheGuestHad(t *testing.T) {
	needs.Root(t)
	for _, tool := range []string{"rsync", "tar", "setfattr"} {
		needs.Tools(t, tool)
	}
	set := &treetest.Set{}
	root, srv := guestTrees()
	broken := root.Nodes[2]
	for i, e := range broken.Entries {
		if e.Name == "broken" {
			broken.Entries = append(broken.Entries[:i:i], broken.Entries[i+1:]...)
			break
		}
	}
	m, _ := mount(t, guestVault(set, root, srv), withGuests(quick(), set))
	list := `list() { (cd $1; find . -type d ! -name . -printf '%p %m %U %G %T@\n' -o ! -type d -printf '%p %y %m %U %G %s %n %T@ %l\n' | sort; find . -type f | sort | xargs sha256sum; getfattr -RPd . | grep -v '^$'); }; `
	at := scratch(t)
	for name, copy := range map[string]string{
		"cp":    "cp -a $S $T",
		"rsync": "rsync -aHAX --sparse $S/ $T/",
		"tar":   "mkdir $T; tar -C $S --sparse --xattrs -cf - . | tar -C $T --xattrs --xattrs-include='*' -xpf -",
	} {
		to := filepath.Join(at, name)
		sh(t, m, list+"S=$M/web/latest/files/vda; T="+to+"; "+copy+"; list $S >a; list $T >b; diff a b; test $(stat -c %b $T/sparse) -le 48")
	}
	os.RemoveAll(at)
}

func TestOwnersOfTheGuestHoldForOtherUsersOfTheHost(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "setpriv")
	set := &treetest.Set{}
	root, srv := guestTrees()
	o := withGuests(quick(), set)
	o.AllowOther = true
	m, _ := mount(t, guestVault(set, root, srv), o)
	if err := os.Chmod(filepath.Dir(m), 0o755); err != nil {
		t.Fatal(err)
	}
	as := "cd $M/web/latest/files/vda; chmod 755 $M 2>/dev/null || true; as() { setpriv --reuid=$1 --regid=$2 --clear-groups cat $3 2>&1 || true; }; "
	if out := sh(t, m, as+"as 1000 1000 etc/fstab"); strings.Contains(out, "denied") {
		t.Skipf("the folder of this test cannot be entered by others: %s", out)
	}
	expect(t, m, as+"as 1000 5 etc/shadow; as 1000 5 home/ann; as 5 1001 home/ann; as 5 5 home/ann; as 0 0 etc/shadow",
		"cat: etc/shadow: Permission denied\nxxcat: home/ann: Permission denied\nhash")
}

func TestDamageOfAGuestHarmsItsPathAloneAndIsLogged(t *testing.T) {
	set := &treetest.Set{}
	root, srv := guestTrees()
	log := &lines{}
	o := withGuests(quick(), set)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	m, _ := mount(t, guestVault(set, root, srv), o)
	expect(t, m, "cd $M/web/latest/files/vda/broken; ls; cat bad 2>&1 || true; cat locked 2>&1 || true; ls -l .. | wc -l",
		"bad\nlocked\ncat: bad: Input/output error\ncat: locked: Operation not supported\n13")
	if l := log.with("inode 77"); len(l) != 1 || !strings.Contains(l[0], "volume=vda") {
		t.Errorf("logged: %q", l)
	}
}

func TestGuestsThatAreNotUsedAreLetGo(t *testing.T) {
	set := &treetest.Set{}
	v := newFakeVault()
	var trees []*treetest.FS
	for range openVolumes + 3 {
		f := treetest.New("ext4")
		f.File("x", "content")
		trees = append(trees, f)
		addGuest(v, set, "web", f)
	}
	m, s := mount(t, v, withGuests(quick(), set))
	expect(t, m, "cat $M/web/*Z/files/vda/x | wc -c", fmt.Sprint(7*len(trees)))
	g := s.t.guests
	count := func() (open, guests int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range g.volumes {
			if s.at != nil {
				open++
			}
		}
		return open, len(g.points)
	}
	if open, guests := count(); open > openVolumes || guests > openVolumes {
		t.Errorf("%d volumes of %d guests are open", open, guests)
	}
	g.mu.Lock()
	g.now = func() time.Time { return time.Now().Add(idleVolume + time.Minute) }
	g.mu.Unlock()
	g.sweep()
	if open, guests := count(); open != 0 || guests != 0 {
		t.Errorf("%d volumes of %d guests are open after they were idle", open, guests)
	}
	expect(t, m, "cat $M/web/latest/files/vda/x", "content")
}
