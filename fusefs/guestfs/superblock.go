package guestfs

import "fmt"

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
