package guestfs

import (
	"encoding/binary"
	"fmt"
)

// fileSystem reads label and UUID of file systems that are read, so that the guest's
// fstab can be followed without opening each volume. Sources: their superblocks as
// each reader's package describes them, printed as blkid(8) does.
func fileSystem(p *peek) *signature {
	s := &signature{}
	switch {
	case p.u16(1080) == 0xef53:
		s.kind, s.uuid, s.label = extKind(p.u32(1024+92), p.u32(1024+96)), p.uuid(1128), p.text(1144, 16)
	case p.has(0, "XFSB"):
		s.kind, s.uuid, s.label = "xfs", p.uuid(32), p.text(108, 12)
	case p.has(65536+64, "_BHRfS_M"):
		s.kind, s.uuid, s.label = "btrfs", p.uuid(65536+32), p.text(65536+299, 256)
	case p.has(3, "NTFS    "):
		s.kind, s.uuid = "ntfs", fmt.Sprintf("%016X", p.u64(72))
	case p.has(3, "EXFAT   "):
		s.kind, s.uuid = "exfat", fatSerial(p.u32(100))
	case p.has(82, "FAT32"):
		s.kind, s.uuid, s.label = "vfat", fatSerial(p.u32(67)), fatLabel(p.text(71, 11))
	case p.has(54, "FAT"):
		s.kind, s.uuid, s.label = "vfat", fatSerial(p.u32(39)), fatLabel(p.text(43, 11))
	case p.has(0, "hsqs"):
		s.kind = "squashfs"
	case p.has(32769, "CD001"):
		s.kind = "iso9660" // or a UDF as well
	case p.has(32769, "BEA01"):
		s.kind = "udf"
	}
	return s
}

// extKind tells the three by their features, as blkid does: what ext3 does not know
// makes it ext4, a journal ext3.
func extKind(compat, incompat uint32) string {
	const journal, ext3Knows = 0x4, 0x2 | 0x4 | 0x10
	switch {
	case incompat&^ext3Knows != 0:
		return "ext4"
	case compat&journal != 0:
		return "ext3"
	}
	return "ext2"
}

func fatSerial(n uint32) string { return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff) }

func fatLabel(s string) string {
	if s == "NO NAME" {
		return ""
	}
	return s
}

// known is a content that is named and not read. Those of the last rows are file
// systems that a reader reads, where it did not take the volume.
type known struct {
	off   int64
	magic string
	kind  string
	why   string
}

var others = []known{
	{65536 + 64, "_BHRfS_M", "btrfs", "it says that it is a btrfs, and is none that can be read"},
	{3, "\x00\x00\x00ReFS\x00", "ReFS", "it is a ReFS"},
	{3, "EXFAT   ", "exfat", "it says that it is an exFAT, and is none that can be read"},
	{0, "hsqs", "squashfs", "it says that it is a squashfs, and is none that can be read"},
	{32769, "CD001", "iso9660", "it says that it is an ISO 9660, and is none that can be read"},
	{32769, "BEA01", "udf", "it says that it is a UDF, and is none that can be read"},
	{1024, "\x10\x20\xf5\xf2", "f2fs", "it is an F2FS"},
	{1024, "\xe2\xe1\xf5\xe0", "erofs", "it is an EROFS"},
	{1024, "H+\x00\x04", "hfsplus", "it is an HFS+"},
	{1024, "HX\x00\x05", "hfsplus", "it is an HFS+"},
	{32, "NXSB", "apfs", "it is an APFS"},
	{65536 + 52, "ReIsEr", "reiserfs", "it is a ReiserFS"},
	{32768, "JFS1", "jfs", "it is a JFS"},
	{1024 + 6, "\x34\x34", "nilfs2", "it is a NILFS2"},
	{4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", "bcachefs", "it is a bcachefs"},
	{0, "XFSB", "xfs", "it says that it is an XFS, and is none that can be read"},
	{3, "NTFS    ", "ntfs", "it says that it is an NTFS, and is none that can be read"},
	{82, "FAT32", "vfat", "it says that it is a FAT, and is none that can be read"},
	{54, "FAT1", "vfat", "it says that it is a FAT, and is none that can be read"},
	{1080, "\x53\xef", "ext4", "it says that it is an ext2, ext3 or ext4, and is none that can be read"},
}

// other names what is not read.
func other(p *peek) *signature {
	for _, k := range others {
		if !p.has(k.off, k.magic) {
			continue
		}
		s := fileSystem(p)
		s.kind, s.why, s.advice = k.kind, k.why, adviceDisk
		return s
	}
	// ZFS: an uberblock in the ring of its first label, in either byte order.
	const magic = 0x00bab10c
	ring := p.at(128<<10, 128<<10)
	for ; len(ring) > 0; ring = ring[1024:] {
		if binary.LittleEndian.Uint64(ring) == magic || binary.BigEndian.Uint64(ring) == magic {
			return &signature{kind: "zfs_member", why: "it belongs to a ZFS pool", advice: adviceDisk}
		}
	}
	return nil
}
