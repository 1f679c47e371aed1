package guestfs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

const mib = 1 << 20

// machine is a guest of trees in memory.
type machine struct {
	set     treetest.Set
	disks   []Disk
	missing []Missing
}

// volume returns an image of f that bears that UUID and label as an ext4 does.
func (m *machine) volume(f *treetest.FS, uuid, label string) []byte {
	b := m.set.Image(f, mib)
	binary.LittleEndian.PutUint16(b[1080:], 0xef53)
	id, _ := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	copy(b[1128:], id)
	copy(b[1144:1160], label)
	return b
}

// disk adds a disk; more than one volume are its partitions.
func (m *machine) disk(name string, volumes ...[]byte) {
	if len(volumes) == 1 {
		m.disks = append(m.disks, Disk{Name: name, R: bytes.NewReader(volumes[0]), Size: int64(len(volumes[0]))})
		return
	}
	b := make([]byte, mib)
	b[510], b[511] = 0x55, 0xaa
	binary.LittleEndian.PutUint32(b[440:], 0xcafe0000|uint32(name[len(name)-1]))
	for i, v := range volumes {
		e := b[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(len(b)/512))
		binary.LittleEndian.PutUint32(e[12:], uint32(len(v)/512))
		b = append(b, v...)
	}
	m.disks = append(m.disks, Disk{Name: name, R: bytes.NewReader(b), Size: int64(len(b))})
}

func (m *machine) open() *Guest {
	return Open(m.disks, Options{Formats: []tree.Format{m.set.Format()}, Missing: m.missing})
}

func (m *machine) root(t *testing.T) *View {
	t.Helper()
	w, err := m.open().Root()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func read(t *testing.T, w *View, name string) string {
	t.Helper()
	s, err := w.readFile(name)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return s
}

const (
	rootUUID = "11111111-2222-3333-4444-555555555555"
	varUUID  = "aaaaaaaa-2222-3333-4444-555555555555"
)

// linux is a guest of two disks, vda with root and boot, vdb with var.
func linux(fstab string) (*machine, map[string]*treetest.FS) {
	m := &machine{}
	trees := map[string]*treetest.FS{}
	for _, name := range []string{"root", "boot", "var"} {
		trees[name] = treetest.New("ext4")
		trees[name].File("which", name)
		trees[name].At("lost+found")
	}
	r := trees["root"]
	r.File("etc/fstab", fstab)
	r.At("boot")
	r.At("var")
	r.At("mnt")
	trees["var"].File("log/syslog", "lines")
	trees["var"].Symlink("run", "/etc")
	m.disk("vda", m.volume(r, rootUUID, "system"), m.volume(trees["boot"], "", "boot disk"))
	m.disk("vdb", m.volume(trees["var"], varUUID, ""))
	return m, trees
}

func TestTheGuestsRootIsPutTogetherFromItsFstab(t *testing.T) {
	t.Parallel()
	for _, fstab := range []string{
		"UUID=" + rootUUID + " / ext4 defaults 0 1\nLABEL=boot\\040disk /boot ext4 ro 0 2\nUUID=\"" + strings.ToUpper(varUUID) + "\" /var/ ext4\n",
		"/dev/disk/by-uuid/" + rootUUID + " / ext4 defaults\nPARTUUID=cafe0061-02 /boot ext4 defaults\n/dev/vdb /var auto nofail\n",
		"/dev/sda1 / ext4 defaults\n/dev/disk/by-label/boot\\134x20disk /boot ext4 x\n/dev/sdb /var auto nofail\nproc /proc proc defaults\n/var /mnt none bind\n",
	} {
		m, _ := linux(fstab)
		w := m.root(t)
		for name, want := range map[string]string{
			"/which": "root", "/boot/which": "boot", "var/which": "var", "/var/log/../log/syslog": "lines",
			"/var/run/fstab": fstab, "/var/run/../which": "root", "/../../boot/./which": "boot",
		} {
			if got := read(t, w, name); got != want {
				t.Errorf("%s is %q with\n%s", name, got, fstab)
			}
		}
		if _, err := w.Resolve("/mnt/log"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a bind mount is followed: %v", err)
		}
	}
}

func TestListingVolumesOpensNoFileSystemAndARootOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	m, trees := linux("UUID=" + rootUUID + " / ext4 defaults 0 1\nUUID=" + varUUID + " /var ext4\n")
	g := m.open()
	var names []string
	for _, v := range g.Volumes() {
		id, err := v.Identify()
		names = append(names, v.Name+" "+id.Type+" "+id.Label)
		if err != nil || !id.Readable {
			t.Errorf("%s: %+v, %v", v.Name, id, err)
		}
	}
	if got := strings.Join(names, ", "); got != "vda1 ext2 system, vda2 ext2 boot disk, vdb ext2 " {
		t.Errorf("volumes: %s", got)
	}
	if trees["root"].Opened.Load()+trees["boot"].Opened.Load()+trees["var"].Opened.Load() != 0 {
		t.Error("listing volumes opened one")
	}
	w, err := g.Root()
	if err != nil {
		t.Fatal(err)
	}
	read(t, w, "/etc/fstab")
	if trees["root"].Opened.Load() != 1 || trees["var"].Opened.Load()+trees["boot"].Opened.Load() != 0 {
		t.Error("more than the root was opened")
	}
	v, _ := g.Volume("vdb")
	if r := v.Report(); r.Err != nil || !slices.Equal(r.MountedAt, []string{"/var"}) || r.Type != "ext4" || r.UUID != varUUID {
		t.Errorf("%+v", r)
	}
	g.Drop()
	read(t, w, "/var/which")
	if trees["var"].Opened.Load() != 2 {
		t.Error("a volume that was dropped is not opened again")
	}
}

func TestAPathOnADiskThatWasLeftOutSaysSo(t *testing.T) {
	t.Parallel()
	m, _ := linux("UUID=" + rootUUID + " / ext4 d\nUUID=" + varUUID + " /var ext4 d\n/dev/vdb /boot auto d\nnas:/home /mnt nfs d\n/dev/vdz1 /opt ext4 noauto\n")
	m.disks = m.disks[:1]
	m.missing = []Missing{{"vdb", "too large"}}
	w := m.root(t)
	for name, why := range map[string]string{
		"/var/log/syslog": "vdb was left out (too large)", "/var": "vdb was left out", "/boot/x": "vdb was left out", "/mnt/ann": "another machine",
	} {
		_, err := w.Resolve(name)
		var gone *NotInPointError
		if !errors.As(err, &gone) || !strings.Contains(err.Error(), "not in this point") || !strings.Contains(err.Error(), why) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Resolve("/opt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the guest mounts on demand only: %v", err)
	}
	if _, err := w.guestOf().Volume("vdb1"); !IsUnreachable(err) {
		t.Errorf("a volume of a disk that was left out: %v", err)
	}
	var lost []string
	top, _ := w.Root()
	err := top.Walk(t.Context(), func(p Place, _ tree.Attr, err error) error {
		if err != nil {
			lost = append(lost, p.Path)
		}
		return nil
	})
	if err != nil || !slices.Equal(lost, []string{"/boot", "/var", "/mnt"}) {
		t.Errorf("a walk tells of %v, %v", lost, err)
	}
	none := &machine{missing: []Missing{{"vda", "it is on NFS"}}}
	none.disk("vdb", make([]byte, mib))
	if _, err := none.open().Root(); !IsUnreachable(err) || !strings.Contains(err.Error(), "vda was left out (it is on NFS)") {
		t.Errorf("a guest without its root: %v", err)
	}
}

// guestOf is for tests, where a view is at hand.
func (w *View) guestOf() *Guest { return w.root.g }

func TestLinksAreFollowedWithinTheRootAndNotForEver(t *testing.T) {
	t.Parallel()
	m, trees := linux("UUID=" + rootUUID + " / ext4 d\nUUID=" + varUUID + " /var ext4 d\n")
	r := trees["root"]
	r.Symlink("self", "self")
	r.Symlink("a", "b/x")
	r.Symlink("b", "a/x")
	r.Symlink("up", "../../../../../../etc/fstab")
	r.Symlink("there", "/var/log/")
	r.Symlink("grow", strings.Repeat("grow/", 1000))
	w := m.root(t)
	read(t, w, "/up")
	read(t, w, "/there/syslog")
	for _, name := range []string{"/self", "/a", "/grow"} {
		if _, err := w.Resolve(name); !errors.Is(err, syscall.ELOOP) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := w.ResolveLink("/there"); err != nil || p.Path != "/there" {
		t.Errorf("the link itself: %+v, %v", p, err)
	}
	if p, err := w.Resolve("/there"); err != nil || p.Path != "/var/log" {
		t.Errorf("what it leads to: %+v, %v", p, err)
	}
	for _, name := range []string{"/etc/fstab/", "/etc/fstab/x"} {
		if _, err := w.Resolve(name); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPathsOfAWindowsGuestAreTakenAsWindowsTakesThem(t *testing.T) {
	t.Parallel()
	m := &machine{}
	system, data := treetest.New("ntfs"), treetest.New("ntfs")
	system.About.FoldsCase = true
	system.At("Windows/System32")
	system.File("Users/Ann/report.docx", "text")
	system.Symlink("Documents and Settings", `C:\Users`)
	data.File("x", "")
	image := func(f *treetest.FS) []byte {
		b := m.set.Image(f, mib)
		copy(b[4096:], b[:16]) // whatever it says at 0, this is not read
		return b
	}
	m.disk("sda", image(data), image(system))
	g := m.open()
	for _, v := range g.Volumes() { // the test's images bear no NTFS of their own
		v.signature = &signature{kind: "ntfs", format: &g.o.Formats[0]}
	}
	w, err := g.Root()
	if err != nil || !w.Windows() {
		t.Fatal(w, err)
	}
	for _, name := range []string{`C:\Users\Ann\report.docx`, `c:/users/ANN/report.docx`, `/Users/Ann/report.docx`, `\Documents and Settings\ann\REPORT.DOCX`} {
		if got := read(t, w, name); got != "text" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if _, err := w.Resolve(`D:\x`); !IsUnreachable(err) {
		t.Errorf("another drive: %v", err)
	}
}

func TestContentThatIsNotReadIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	put := func(off int, s string) []byte {
		b := make([]byte, mib)
		copy(b[off:], s)
		return b
	}
	for name, c := range map[string]struct {
		image        []byte
		kind, advice string
	}{
		"LUKS":      {put(0, "LUKS\xba\xbe\x00\x02"), "crypto_LUKS", "cryptsetup"},
		"BitLocker": {put(3, "-FVE-FS-"), "BitLocker", "dislocker"},
		"swap":      {put(4086, "SWAPSPACE2"), "swap", "no files"},
		"btrfs":     {put(65600, "_BHRfS_M"), "btrfs", "disk itself"},
		"md 1.2":    {put(4096, "\xfc\x4e\x2b\xa9"), "linux_raid_member", "mdadm"},
		"ZFS":       {put(128<<10+3072, "\x0c\xb1\xba\x00\x00\x00\x00\x00"), "zfs_member", "zpool import"},
		"ReFS":      {put(3, "\x00\x00\x00ReFS\x00"), "ReFS", "Set-Disk"},
		"exFAT":     {put(3, "EXFAT   "), "exfat", "disk itself"},
		"iso":       {put(32769, "CD001"), "iso9660", "disk itself"},
		"squashfs":  {put(0, "hsqs"), "squashfs", "disk itself"},
		"xfs":       {put(0, "XFSB"), "xfs", "disk itself"},
		"unknown":   {put(77, "what is this"), "", "disk itself"},
		"empty":     {make([]byte, mib), "", "no files"},
		"small":     {make([]byte, 100), "", "no files"},
	} {
		m := &machine{}
		m.disk("vda", c.image)
		g := m.open()
		v := g.Volumes()[0]
		_, err := v.FS()
		var u *UnreadableError
		if !errors.As(err, &u) || u.Type != c.kind || !strings.Contains(u.Advice, c.advice) {
			t.Errorf("%s: %v", name, err)
		}
		if r := v.Report(); r.Err == nil || r.Type != c.kind {
			t.Errorf("%s: report %+v", name, r)
		}
	}
}
