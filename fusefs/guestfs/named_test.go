package guestfs

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestWhatOfficialToolsMakeIsNamedAsBlkidNamesIt is of file systems that are not read.
func TestWhatOfficialToolsMakeIsNamedAsBlkidNamesIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mib    int64
		maker  string // IMAGE is the image, DIR a folder with a file
		advice string
	}{
		"f2fs":     {64, "mkfs.f2fs -q -l Daten IMAGE", "mount -t f2fs"},
		"nilfs2":   {130, "mkfs.nilfs2 -q -L Daten IMAGE", "mount -t nilfs2"},
		"jfs":      {32, "mkfs.jfs -q -L Daten IMAGE", "mount -t jfs"},
		"reiserfs": {48, "mkreiserfs -q -f -l Daten IMAGE", "mount -t reiserfs"},
		"hfs":      {16, "hformat -l Daten IMAGE", "mount -t hfs "},
		"ufs1":     {0, "makefs -t ffs -s 2m -o version=1 IMAGE DIR", "ufstype=44bsd"},
		"ufs2":     {0, "makefs -t ffs -s 2m -o version=2 IMAGE DIR", "ufstype=ufs2"},
		"ufs2 big": {0, "makefs -t ffs -s 2m -B be -o version=2 IMAGE DIR", "ufstype=ufs2"},
		"erofs":    {0, "mkfs.erofs IMAGE DIR", "mount -t erofs"},
		"swap":     {8, "mkswap -q -L Daten IMAGE", "no files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Tools(t, "blkid", strings.Fields(c.maker)[0])
			dir := t.TempDir()
			image := filepath.Join(dir, "image")
			if err := os.MkdirAll(filepath.Join(dir, "of"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "of", "file"), []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.mib > 0 {
				if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, c.mib*mib)); err != nil {
					t.Fatal(err)
				}
			}
			output(t, strings.Fields(strings.NewReplacer("IMAGE", image, "DIR", filepath.Join(dir, "of")).Replace(c.maker))...)
			want := map[string]string{}
			for line := range strings.Lines(output(t, "blkid", "-p", "-o", "export", image)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				want[key] = strings.ReplaceAll(value, `\`, "")
			}
			f, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, _ := f.Stat()
			v := Open([]Disk{{Name: "vda", R: f, Size: st.Size()}}, Options{}).Volumes()[0]
			id, err := v.Identify()
			if err != nil || id != (Identity{want["TYPE"], want["LABEL"], want["UUID"], false}) {
				t.Errorf("%+v, %v; blkid says %v", id, err, want)
			}
			var u *UnreadableError
			if _, err := v.FS(); !errors.As(err, &u) || !strings.Contains(u.Advice, c.advice) {
				t.Errorf("%v", err)
			}
		})
	}
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestWhatNoToolHereMakesIsNamed has beginnings that were put together from the layouts:
// Apple's "Apple File System Reference" (2020, nx_superblock_t) and TN1150 (HFS+), the
// "ZFS On-Disk Specification" (2006), libblkid's vmfs.c and bcache.c, refs.c.
func TestWhatNoToolHereMakesIsNamed(t *testing.T) {
	t.Parallel()
	uuid := "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"
	const printed = "01234567-89ab-cdef-0123-456789abcdef"
	type at map[int]string
	for name, c := range map[string]struct {
		parts        at
		kind         string
		label, uuid  string
		why, advices string
	}{
		"ReFS":            {at{3: "\x00\x00\x00ReFS\x00"}, "ReFS", "", "", "ReFS", "Set-Disk"},
		"APFS":            {at{32: "NXSB\x00\x10", 72: uuid}, "apfs", "", printed, "APFS", "apfs-fuse"},
		"HFS+":            {at{1024: "H+\x00\x04"}, "hfsplus", "", "", "HFS+", "mount -t hfsplus"},
		"HFSX":            {at{1024: "HX\x00\x05"}, "hfsplus", "", "", "HFS+", "mount -t hfsplus"},
		"HFS+ in HFS":     {at{1024: "BD", 1024 + 124: "H+"}, "hfsplus", "", "", "in an HFS", "mount -t hfsplus"},
		"bcachefs":        {at{4096 + 24: bcachefs, 4096 + 56: uuid, 4096 + 72: "Daten"}, "bcachefs", "Daten", printed, "bcachefs", "bcachefs"},
		"VMFS":            {at{2 << 20: "\x5e\xf1\xab\x2f"}, "VMFS", "", "", "VMFS", "vmfs6-fuse"},
		"a part of VMFS":  {at{1 << 20: "\x0d\xd0\x01\xc0"}, "VMFS_volume_member", "", "", "VMFS", "vmfs6-fuse"},
		"OCFS2":           {at{8192: "OCFSV2"}, "ocfs2", "", "", "OCFS2", "ocfs2"},
		"GFS2":            {at{65536: "\x01\x16\x19\x70"}, "gfs2", "", "", "GFS2", "lock_nolock"},
		"Stratis":         {at{516: "!Stra0tis\x86\xff\x02^\x41rh"}, "stratis", "", "", "Stratis", "disk itself"},
		"Ceph":            {at{0: "bluestore block device\n"}, "ceph_bluestore", "", "", "Ceph", "disk itself"},
		"ZFS":             {at{128<<10 + 4096: "\x0c\xb1\xba\x00\x00\x00\x00\x00", 16 << 10: zfsList("tank", 77)}, "zfs_member", "tank", "77", "pool, tank", "zpool import -o readonly=on -f -R /mnt tank"},
		"ZFS, big endian": {at{128<<10 + 1024: "\x00\x00\x00\x00\x00\xba\xb1\x0c"}, "zfs_member", "", "", "ZFS", "zpool import"},
		"ZFS that lies":   {at{128 << 10: "\x0c\xb1\xba\x00\x00\x00\x00\x00", 128<<10 - 20: "\x00\x00\x00\x04name\x00\x00\x00\x09\x00\x00\x00\x01"}, "zfs_member", "", "", "ZFS", "zpool import"},
	} {
		b := make([]byte, 3*mib)
		for off, s := range c.parts {
			copy(b[off:], s)
		}
		m := &machine{}
		m.disk("vda", b)
		v := m.open().Volumes()[0]
		if id, err := v.Identify(); err != nil || id != (Identity{c.kind, c.label, c.uuid, false}) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		var u *UnreadableError
		if _, err := v.FS(); !errors.As(err, &u) || !strings.Contains(u.Why, c.why) || !strings.Contains(u.Advice, c.advices) {
			t.Errorf("%s: %v; %q", name, err, u.Advice)
		}
	}
}

// zfsList is the beginning of a label's list: how it is encoded, its version, and pairs.
func zfsList(pool string, id uint64) string {
	pad := func(s string) string { return s + strings.Repeat("\x00", (4-len(s)%4)%4) }
	word := func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	pair := func(name string, kind int, value string) string {
		p := word(len(name)) + pad(name) + word(kind) + word(1) + value
		return word(len(p)+8) + word(len(p)+8) + p
	}
	return "\x01\x01\x00\x00" + word(0) + word(1) + pair("version", 8, "\x00\x00\x00\x00\x00\x00\x13\x88") +
		pair("name", 9, word(len(pool))+pad(pool)) + pair("pool_guid", 8, string(binary.BigEndian.AppendUint64(nil, id)))
}
