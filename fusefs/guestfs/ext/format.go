package ext

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Format reads ext2, ext3 and ext4.
var Format = tree.Format{Name: "ext2/3/4", Probe: probe, Open: open}

const defaultMemory = 64 << 20

// probe looks for the magic number, and for a backup superblock where the first
// one's place holds nothing that anybody knows: what was made over an old ext4
// leaves its backups behind.
func probe(r io.ReaderAt, size int64) bool {
	if size < superOffset+superSize {
		return false
	}
	b := make([]byte, superOffset+superSize)
	if tree.ReadFull(r, b, 0) == nil && le.Uint16(b[superOffset+0x38:]) == superMagic {
		return le.Uint32(b[superOffset+0x18:]) <= maxLogBlock && !foreign(r, b)
	}
	if foreign(r, b) {
		return false
	}
	_, ok := findBackup(r, size, b[superOffset:], 1) // few reads: most volumes are something else
	return ok
}

// foreign tells the file systems and containers whose mark could lie beside ours.
func foreign(r io.ReaderAt, start []byte) bool {
	for _, mark := range []struct {
		at    int
		magic string
	}{
		{0, "XFSB"}, {0, "LUKS\xba\xbe"}, {0, "SKUL\xba\xbe"}, {512, "LABELONE"}, {3, "NTFS    "}, {3, "EXFAT   "},
		{3, "-FVE-FS-"}, {3, "ReFS"}, {54, "FAT1"}, {82, "FAT32"}, {0, "hsqs"}, {512, "EFI PART"}, {1024, "H+\x00"},
	} {
		if bytes.HasPrefix(start[mark.at:], []byte(mark.magic)) {
			return true
		}
	}
	far := make([]byte, 8)
	btrfs := tree.ReadFull(r, far, 65600) == nil && string(far) == "_BHRfS_M"
	swap := tree.ReadFull(r, far, 4086) == nil && string(far) == "SWAPSPAC"
	return btrfs || swap
}

// volume is an open file system. It does not change after open.
type volume struct {
	dev    io.ReaderAt // the volume, or an overlay over it
	size   int64
	sb     super
	cache  *cache
	fast   *fastState // nil unless fast commits were replayed
	names  nameTables
	secret maphash.Seed
	info   tree.Info
}

func open(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	s, damage, err := readSuper(r, size)
	if err != nil {
		return nil, fmt.Errorf("open ext file system: %w", err)
	}
	if unknown := s.incompat &^ incompatKnown; unknown != 0 {
		return nil, &tree.UnsupportedError{What: "the ext file system", Why: "it has features that this reader does not know: " + nameFeatures(unknown)}
	}
	v := &volume{dev: r, size: size, sb: s, cache: newCache(r, s.blockSize, o.Memory/4),
		names: nameTables{limit: o.Memory / 8}, secret: maphash.MakeSeed()}
	v.describe()
	if damage != nil {
		v.note("a backup copy of the superblock is used: %v", damage)
	}
	v.replay(damage != nil, o.Memory/4)
	v.describe() // the journal may have held a newer superblock
	if v.sb.state&stateErrors != 0 {
		v.note("the guest had found errors in it and not repaired them")
	}
	if v.info.Size > size {
		v.note("the file system is larger than its volume (%d of %d bytes): what lies behind the end is missing", size, v.info.Size)
	}
	root, err := v.inode(rootIno)
	if err != nil {
		return nil, fmt.Errorf("open ext file system: %w", err)
	}
	if root.kind() != modeDir {
		return nil, &tree.CorruptError{What: "the root folder", Why: "it is not a folder", At: -1}
	}
	return v, nil
}

func (v *volume) note(format string, args ...any) {
	v.info.Notes = append(v.info.Notes, fmt.Sprintf(format, args...))
}

// describe fills in what the superblock says, and what df would call used.
func (v *volume) describe() {
	s := &v.sb
	u := s.uuid
	v.info.Type = s.kind()
	v.info.Label = s.label
	v.info.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	v.info.BlockSize = int(s.blockSize)
	v.info.Size = int64(s.blocks) * s.blockSize
	v.info.Used = v.info.Size - int64(min(v.freeBlocks(), s.blocks))*s.blockSize
	v.info.FoldsCase = s.incompat&incompatCasefold != 0
}

// kind is blkid's rule: what ext3 cannot have makes an ext4, a journal an ext3.
func (s *super) kind() string {
	switch {
	case s.incompat&^incompatExt3 != 0 || s.ro&^roExt3 != 0:
		return "ext4"
	case s.compat&compatJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// Info says what the volume is. FoldsCase means that some of its folders may.
func (v *volume) Info() tree.Info { return v.info }

// Root is inode 2.
func (v *volume) Root() uint64 { return rootIno }
