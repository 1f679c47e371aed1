package guestfs

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// known is a content that is named and not read. Those of the first rows are file
// systems that a reader reads, where it did not take the volume.
type known struct {
	off    int64
	magic  string
	kind   string // as blkid calls it
	why    string
	advice string
	more   func(p *peek, s *signature) // reads label and UUID; may be nil
}

func none(name string) string { return "it says that it is " + name + ", and is none that can be read" }

var others = []known{
	{65536 + 64, "_BHRfS_M", "btrfs", none("a btrfs"), adviceDisk, nil},
	{3, "EXFAT   ", "exfat", none("an exFAT"), adviceDisk, nil},
	{0, "hsqs", "squashfs", none("a squashfs"), adviceDisk, nil},
	{32769, "CD001", "iso9660", none("an ISO 9660"), adviceDisk, nil},
	{32769, "BEA01", "udf", none("a UDF"), adviceDisk, nil},
	{0, "XFSB", "xfs", none("an XFS"), adviceDisk, nil},
	{3, "NTFS    ", "ntfs", none("an NTFS"), adviceDisk, nil},
	{82, "FAT32", "vfat", none("a FAT"), adviceDisk, nil},
	{54, "FAT1", "vfat", none("a FAT"), adviceDisk, nil},
	{1080, "\x53\xef", "ext4", none("an ext2, ext3 or ext4"), adviceDisk, nil},

	// Windows, macOS, the BSDs and Solaris, VMware.
	{3, "\x00\x00\x00ReFS\x00", "ReFS", "it is a ReFS", attach("Windows", "Set-Disk -Number N -IsOffline $false"), nil},
	{32, "NXSB", "apfs", "it is an APFS", attach("macOS, or Linux with apfs-fuse", "apfs-fuse DEVICE /mnt"), at(72, 0, 0)},
	{1024, "H+\x00\x04", "hfsplus", "it is an HFS+", mountAs("hfsplus", ""), nil},
	{1024, "HX\x00\x05", "hfsplus", "it is an HFS+", mountAs("hfsplus", ""), nil},
	{1024, "BD", "hfs", "it is an HFS", mountAs("hfs", ""), hfsLabel},
	{1 << 20, "\x0d\xd0\x01\xc0", "VMFS_volume_member", "it is part of a VMFS", attach("ESXi, or Linux with vmfs6-tools (vmfs-tools for VMFS 5)", "vmfs6-fuse DEVICE /mnt"), nil},
	{2 << 20, "\x5e\xf1\xab\x2f", "VMFS", "it is a VMFS", attach("ESXi, or Linux with vmfs6-tools (vmfs-tools for VMFS 5)", "vmfs6-fuse DEVICE /mnt"), nil},

	// Linux.
	{1024, "\x10\x20\xf5\xf2", "f2fs", "it is an F2FS", mountAs("f2fs", ",norecovery"), f2fsLabel},
	{1024, "\xe2\xe1\xf5\xe0", "erofs", "it is an EROFS", mountAs("erofs", ""), at(1024+48, 1024+64, 16)},
	{1024 + 6, "\x34\x34", "nilfs2", "it is a NILFS2", mountAs("nilfs2", ",norecovery"), at(1024+152, 1024+168, 80)},
	{32768, "JFS1", "jfs", "it is a JFS", mountAs("jfs", ""), at(32768+136, 32768+152, 16)},
	{65536 + 52, "ReIsEr2Fs", "reiserfs", "it is a ReiserFS", mountAs("reiserfs", ",nolog"), at(65536+84, 65536+100, 16)},
	{65536 + 52, "ReIsEr3Fs", "reiserfs", "it is a ReiserFS", mountAs("reiserfs", ",nolog"), at(65536+84, 65536+100, 16)},
	{65536 + 52, "ReIsErFs", "reiserfs", "it is a ReiserFS", mountAs("reiserfs", ",nolog"), nil},
	{8192 + 52, "ReIsErFs", "reiserfs", "it is a ReiserFS", mountAs("reiserfs", ",nolog"), nil},
	{65536, "ReIsEr4", "reiser4", "it is a Reiser4", mountAs("reiser4", ""), nil},
	{4096 + 24, bcachefs, "bcachefs", "it is a bcachefs", mountAs("bcachefs", ",nochanges"), at(4096+56, 4096+72, 32)},
	{8192, "OCFSV2", "ocfs2", "it is an OCFS2", mountAs("ocfs2", ""), nil},
	{65536, "\x01\x16\x19\x70", "gfs2", "it is a GFS2", mountAs("gfs2", ",lockproto=lock_nolock"), nil},
	{0, "bluestore block device", "ceph_bluestore", "it belongs to a Ceph cluster", adviceDisk, nil},
	{516, "!Stra0tis\x86\xff\x02^\x41rh", "stratis", "it belongs to a Stratis pool", adviceDisk, nil},
	{0, "integrit", "DM_integrity", "it is what dm-integrity keeps beside its data", adviceDisk, nil},
}

const bcachefs = "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"

// attach says how a guest that knows a file system gets at it.
func attach(guest, command string) string {
	return fmt.Sprintf("restore the disk (`holdfast restore`), or mount the point and attach disks/DISK.raw read-only to a guest that knows it "+
		"(`virsh attach-disk GUEST DISK.raw vdz --mode readonly`): %s: `%s`", guest, command)
}

func mountAs(kind, options string) string {
	return attach("Linux", fmt.Sprintf("mount -t %s -o ro%s DEVICE /mnt", kind, options))
}

func bsd(kind string) string {
	return attach("its own system, `mount -t ufs -o ro`, or Linux", "mount -t ufs -o ro,ufstype="+kind+" DEVICE /mnt")
}

// at reads a UUID and a label that simply lie there.
func at(uuid, label int64, n int) func(*peek, *signature) {
	return func(p *peek, s *signature) { s.uuid, s.label = p.uuid(uuid), p.text(label, n) }
}

// hfsLabel is a name with its length before it (Inside Macintosh: Files, 2-60).
func hfsLabel(p *peek, s *signature) {
	if p.has(1024+124, "H+") {
		s.kind, s.why, s.advice = "hfsplus", "it is an HFS+ (in an HFS)", mountAs("hfsplus", "")
		return
	}
	n := int(p.at(1024+36, 1)[0])
	s.label = p.text(1024+37, min(n, 27))
}

// ufs tells both kinds, in either byte order, at all places where the BSDs look for them
// (FreeBSD's sys/ufs/ffs/fs.h).
func ufs(p *peek) *signature {
	for _, super := range []int64{65536, 8192, 0, 262144} {
		magic := p.at(super+1372, 4)
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			s := &signature{kind: "ufs"}
			switch n := order.Uint32(magic); {
			case n == 0x00011954 && order == binary.BigEndian:
				s.why, s.advice = "it is a UFS1, of a machine of the other byte order", bsd("sun")
			case n == 0x00011954:
				s.why, s.advice = "it is a UFS1", bsd("44bsd")
			case n == 0x19540119:
				s.why, s.advice, s.label = "it is a UFS2", bsd("ufs2"), p.text(super+680, 32)
			default:
				continue
			}
			if id := p.at(super+144, 8); order.Uint64(id) != 0 {
				s.uuid = fmt.Sprintf("%08x%08x", order.Uint32(id), order.Uint32(id[4:]))
			}
			return s
		}
	}
	return nil
}

func f2fsLabel(p *peek, s *signature) {
	s.uuid = p.uuid(1024 + 108)
	var units []uint16
	for b := p.at(1024+124, 1024); len(b) > 0; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	s.label = string(utf16.Decode(units))
}

// other names what is not read.
func other(p *peek) *signature {
	for _, k := range others {
		if !p.has(k.off, k.magic) {
			continue
		}
		s := fileSystem(p)
		s.kind, s.why, s.advice = k.kind, k.why, k.advice
		if k.more != nil {
			k.more(p, s)
		}
		return s
	}
	if s := ufs(p); s != nil {
		return s
	}
	return zfs(p)
}

// zfs tells a member of a pool by an uberblock in the ring of its first label, in either
// byte order, and reads the pool's name and number from the label's list ("ZFS On-Disk
// Specification", 2006, 1.2 and 1.3).
func zfs(p *peek) *signature {
	const magic = 0x00bab10c
	for ring := p.at(128<<10, 128<<10); len(ring) > 0; ring = ring[1024:] {
		if binary.LittleEndian.Uint64(ring) != magic && binary.BigEndian.Uint64(ring) != magic {
			continue
		}
		s := &signature{kind: "zfs_member", why: "it belongs to a ZFS pool"}
		pairs := string(p.at(16<<10, 112<<10))
		name := "POOL"
		if b := nvpair(pairs, "name", 9); len(b) > 4 {
			if n := int(binary.BigEndian.Uint32([]byte(b))); n > 0 && n <= min(255, len(b)-4) {
				name = strings.ToValidUTF8(b[4:4+n], "�")
				s.label, s.why = name, s.why+", "+name
			}
		}
		if b := nvpair(pairs, "pool_guid", 8); len(b) >= 8 {
			s.uuid = fmt.Sprint(binary.BigEndian.Uint64([]byte(b)))
		}
		s.advice = attach("Linux with OpenZFS, or FreeBSD, with all disks of the pool", "zpool import -o readonly=on -f -R /mnt "+name)
		return s
	}
	return nil
}

// nvpair finds the value of a name in a list that is encoded as XDR: the name with its
// length and padding, the kind of the value, how many there are.
func nvpair(list, name string, kind byte) string {
	padded := name + strings.Repeat("\x00", (4-len(name)%4)%4)
	_, value, _ := strings.Cut(list, string([]byte{0, 0, 0, byte(len(name))})+padded+string([]byte{0, 0, 0, kind, 0, 0, 0, 1}))
	return value
}
