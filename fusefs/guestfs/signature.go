package guestfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// signature is what a volume is by its first blocks.
type signature struct {
	kind        string // as blkid calls it
	label, uuid string
	why         string // what it is, for people, where no reader reads it
	advice      string
	format      *tree.Format // that reads it, or nil
	locked      bool         // a key may open it
}

func (s *signature) unreadable(v *Volume) error {
	return &UnreadableError{v.Name, s.kind, s.why, s.advice, s.locked}
}

// What to do about what is not read.
const (
	adviceDisk   = "restore or mount the disk itself (disks/ in the mount, `holdfast restore`) and read it with tools of the guest's system"
	adviceKey    = "give its passphrase (--guest-passphrase-file FILE) or its key file (--guest-key-file FILE)"
	adviceBitKey = "give its recovery password of 48 digits or its password (--guest-passphrase-file FILE), or its startup key (--guest-key-file FILE.BEK)"
	adviceLUKS   = "restore or mount the disk itself (disks/ in the mount), then `cryptsetup open --readonly` with the guest's passphrase"
	adviceMD     = "restore or mount the disks themselves (disks/ in the mount), then `mdadm --assemble --readonly`"
	adviceBit    = "restore or mount the disk itself (disks/ in the mount), then `dislocker` or Windows with the recovery key"
	adviceSwap   = "it holds no files"
	adviceEmpty  = "it holds no files"
)

// peek reads single values of a volume.
type peek struct {
	r    io.ReaderAt
	size int64
	err  error // the first that was not the volume's end
}

// at returns n bytes, or zeros beyond the end.
func (p *peek) at(off int64, n int) []byte {
	b := make([]byte, n)
	if off < 0 || off >= p.size || p.err != nil {
		return b
	}
	got, err := p.r.ReadAt(b, off)
	if got < n && err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return b
}

func (p *peek) has(off int64, magic string) bool { return string(p.at(off, len(magic))) == magic }

func (p *peek) text(off int64, n int) string {
	b, _, _ := bytes.Cut(p.at(off, n), []byte{0})
	return strings.ToValidUTF8(strings.TrimRight(string(b), " "), "�")
}

func (p *peek) u16(off int64) uint16 { return binary.LittleEndian.Uint16(p.at(off, 2)) }
func (p *peek) u32(off int64) uint32 { return binary.LittleEndian.Uint32(p.at(off, 4)) }
func (p *peek) u64(off int64) uint64 { return binary.LittleEndian.Uint64(p.at(off, 8)) }

func (p *peek) uuid(off int64) string {
	b := p.at(off, 16)
	if bytes.Equal(b, make([]byte, 16)) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// identify tells what v holds. What wraps other volumes is looked for first, since an
// old superblock may lie within it; then file systems that are read; then others.
func identify(v *Volume) (*signature, error) {
	p := &peek{r: v.r, size: v.Size}
	s := container(p, v)
	if s == nil {
		for i := range v.g.o.Formats {
			if f := &v.g.o.Formats[i]; f.Probe(v.r, v.Size) {
				s = fileSystem(p)
				s.format = f
				break
			}
		}
	}
	if s == nil {
		s = other(p)
	}
	if s == nil {
		s = nothing(p, v)
	}
	return s, p.err
}

// container tells what holds other volumes, or pages of memory.
func container(p *peek, v *Volume) *signature {
	switch {
	case v.md != nil:
		return v.member()
	case v.crypt != nil:
		return v.encrypted(p)
	case v.pv != nil:
		why := "it is a physical volume of LVM"
		if g := v.pv.Group(); g != "" {
			why += ", of group " + strings.ToValidUTF8(g, "�")
		}
		return &signature{kind: "LVM2_member", uuid: v.pv.UUID, why: why, advice: "its logical volumes are volumes of their own"}
	case p.has(4096+24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"):
		return &signature{kind: "bcache", why: "it belongs to a bcache", advice: adviceDisk}
	}
	for _, page := range []int64{4096, 8192, 16384, 65536} {
		if p.has(page-10, "SWAPSPACE2") || p.has(page-10, "SWAP-SPACE") || p.has(page-10, "S1SUSPEND\x00") {
			return &signature{kind: "swap", label: p.text(1052, 16), uuid: p.uuid(1036), why: "it is swap space", advice: adviceSwap}
		}
	}
	return oldMember(p, v)
}

// oldMember tells a member of a Linux software RAID whose superblock is not whole. With one at the end (0.90,
// 1.0) a member of a mirror can be read as it is.
func oldMember(p *peek, v *Volume) *signature {
	const magic = 0xa92b4efc
	end1 := (p.size/512 - 16) &^ 7 * 512
	end0 := p.size&^0xffff - 0x10000
	s := &signature{kind: "linux_raid_member", why: "it belongs to a software RAID (md)", advice: adviceMD}
	switch {
	case p.u32(0) == magic || p.u32(4096) == magic:
		return s
	case end1 > 8192 && p.u32(end1) == magic && p.u64(end1+144) == uint64(end1/512):
		if p.u32(end1+72) != 1 {
			return s
		}
	case end0 > 0 && p.u32(end0) == magic:
		if p.u32(end0+28) != 1 {
			return s
		}
	default:
		return nil
	}
	v.notes = append(v.notes, "it is one side of a mirror (md), read as it is")
	return nil
}

// nothing tells an empty volume from one of unknown content.
func nothing(p *peek, v *Volume) *signature {
	if v.Partition != nil {
		if what := reserved[v.Partition.Type]; what != "" {
			return &signature{why: "it is " + what, advice: adviceEmpty}
		}
	}
	if b := p.at(0, 128<<10); bytes.Equal(b, make([]byte, len(b))) {
		return &signature{why: "it is empty", advice: adviceEmpty}
	}
	return &signature{why: "what it holds is not known", advice: adviceDisk}
}

// reserved are types of partitions that hold no file system.
var reserved = map[string]string{
	"21686148-6449-6e6f-744e-656564454649": "for the boot loader (BIOS boot)",
	"9e1a2d38-c612-4316-aa26-8b49521e5a8b": "for the boot loader (PReP)",
	"e3c9e316-0b5c-4db8-817d-f92df00215ae": "reserved by Windows",
	"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "the database of dynamic disks of Windows",
	"af9b60a0-1431-4f62-bc68-3311714a69ad": "part of a dynamic disk of Windows",
	"e75caf8f-f680-4cee-afa3-b001e56efc2d": "part of a storage pool of Windows (Storage Spaces)",
	"42":                                   "part of a dynamic disk of Windows",
}
