package ext

import (
	"fmt"
	"strings"
)

// Compatible features: a reader that does not know them may pass them over.
const (
	compatJournal      = 0x4
	compatSparseSuper2 = 0x200
)

// Incompatible features: a reader must know them.
const (
	incompatFiletype   = 0x2
	incompatRecover    = 0x4
	incompatJournalDev = 0x8
	incompatMetaBG     = 0x10
	incompatExtents    = 0x40
	incompat64bit      = 0x80
	incompatMMP        = 0x100
	incompatFlexBG     = 0x200
	incompatEAInode    = 0x400
	incompatCsumSeed   = 0x2000
	incompatLargeDir   = 0x4000
	incompatInline     = 0x8000
	incompatEncrypt    = 0x10000
	incompatCasefold   = 0x20000

	incompatKnown = incompatFiletype | incompatRecover | incompatMetaBG | incompatExtents | incompat64bit |
		incompatMMP | incompatFlexBG | incompatEAInode | incompatCsumSeed | incompatLargeDir | incompatInline |
		incompatEncrypt | incompatCasefold
	// What ext3 may have; anything else makes it an ext4.
	incompatExt3 = incompatFiletype | incompatRecover | incompatMetaBG
)

// Features that only a writer must know.
const (
	roSparseSuper  = 0x1
	roLargeFile    = 0x2
	roBtreeDir     = 0x4
	roHugeFile     = 0x8
	roGdtCsum      = 0x10
	roBigalloc     = 0x200
	roMetadataCsum = 0x400

	roExt3 = roSparseSuper | roLargeFile | roBtreeDir
)

// incompatNames are the names that dumpe2fs gives to what is refused.
var incompatNames = map[uint32]string{
	0x1:                "compression",
	incompatJournalDev: "journal_dev (an external journal, not a file system)",
	0x1000:             "dirdata",
}

// nameFeatures lists the incompatible features in a set of bits.
func nameFeatures(bits uint32) string {
	var names []string
	for b := uint32(1); b != 0; b <<= 1 {
		if bits&b == 0 {
			continue
		}
		name, known := incompatNames[b]
		if !known {
			name = fmt.Sprintf("number %#x", b)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
