package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

var le = binary.LittleEndian

const (
	bootSize    = 512
	maxCluster  = 512 << 10
	entrySize   = clusters.EntrySize
	maxFAT12    = 4084  // clusters of a FAT12
	maxFAT16    = 65524 // and of a FAT16
	maxFAT32    = 1<<28 - 16
	stateDirty  = 1 // Linux's mark in the boot sector
	notMirrored = 0x80
)

// boot is what the boot sector says. Offsets and sizes are in bytes.
type boot struct {
	sector, cluster int64
	bits            int   // of an entry of the table: 12, 16 or 32
	tableAt         int64 // of the first copy
	tableSize       int64 // of each
	tables          int
	active          int  // the copy in use
	mirrored        bool // the others are kept equal to it
	media           byte
	dataAt          int64  // of cluster 2
	clusters        uint32 // numbered from 2
	rootAt          int64  // of the root folder of FAT12 and FAT16
	rootSize        int64
	rootCluster     uint32 // of FAT32
	serial          uint32
	fixedLabel      string // 11 bytes in the code page
	infoAt          int64  // of FSInfo, 0 for none
	state           byte
	copied          bool // read from the copy of the boot sector
}

// parseBoot reads a boot sector that lies at offset at.
func parseBoot(b []byte, at int64) (boot, error) {
	bad := func(why string, args ...any) (boot, error) {
		return boot{}, &tree.CorruptError{What: "the boot sector", Why: fmt.Sprintf(why, args...), At: at}
	}
	if b[0] != 0xEB && b[0] != 0xE9 || bytes.Equal(b[3:11], []byte("NTFS    ")) || bytes.Equal(b[3:11], []byte("EXFAT   ")) {
		return bad("it is not one of FAT")
	}
	o := boot{sector: int64(le.Uint16(b[11:])), tables: int(b[16]), media: b[21], mirrored: true}
	o.cluster = int64(b[13]) * o.sector
	if !power(o.sector) || o.sector < 512 || o.sector > 4096 || !power(o.cluster) || o.cluster > maxCluster {
		return bad("sectors have %d bytes and clusters %d", o.sector, o.cluster)
	}
	reserved := int64(le.Uint16(b[14:]))
	if reserved == 0 || o.tables == 0 || o.tables > 4 || o.media != 0xF0 && o.media < 0xF8 {
		return bad("%d reserved sectors, %d tables, medium %#x", reserved, o.tables, o.media)
	}
	o.tableAt, o.tableSize = reserved*o.sector, int64(le.Uint16(b[22:]))*o.sector
	o.rootSize = int64(le.Uint16(b[17:])) * entrySize
	extended := b[36:]
	if o.tableSize == 0 {
		o.bits, o.tableSize = 32, int64(le.Uint32(b[36:]))*o.sector
		if o.tableSize == 0 || o.rootSize != 0 {
			return bad("its table has %d bytes, its root %d", o.tableSize, o.rootSize)
		}
		o.parse32(b)
		extended = b[64:]
	} else if o.rootSize == 0 {
		return bad("it has no root folder")
	}
	if o.state = extended[1]; extended[2] == 0x29 {
		o.serial, o.fixedLabel = le.Uint32(extended[3:]), string(extended[7:18])
	} else if extended[2] == 0x28 {
		o.serial = le.Uint32(extended[3:])
	}
	if why := o.lay(b); why != "" {
		return bad("%s", why)
	}
	return o, nil
}

// parse32 reads what only FAT32 has.
func (o *boot) parse32(b []byte) {
	flags := le.Uint16(b[40:])
	if o.active = int(flags & 15); flags&notMirrored == 0 || o.active >= o.tables {
		o.active = 0
	} else {
		o.mirrored = false
	}
	o.rootCluster = le.Uint32(b[44:])
	if info := int64(le.Uint16(b[48:])); info > 0 && info*o.sector < o.tableAt {
		o.infoAt = info * o.sector
	}
}

// lay works out where the data is and how many clusters there are, which
// decides between FAT12 and FAT16.
func (o *boot) lay(b []byte) string {
	sectors := int64(le.Uint16(b[19:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(b[32:]))
	}
	o.rootAt = o.tableAt + int64(o.tables)*o.tableSize
	o.dataAt = o.rootAt + (o.rootSize+o.sector-1)/o.sector*o.sector
	if o.dataAt >= sectors*o.sector {
		return fmt.Sprintf("its data begin at %d of %d bytes", o.dataAt, sectors*o.sector)
	}
	count := (sectors*o.sector - o.dataAt) / o.cluster
	most := int64(maxFAT32)
	if o.bits != 32 {
		if o.bits, most = 16, maxFAT16; count <= maxFAT12 {
			o.bits = 12
		}
	}
	count = min(count, o.tableSize*8/int64(o.bits)-2)
	if count <= 0 || count > most {
		return fmt.Sprintf("it has %d clusters, its table is one of %d bits", count, o.bits)
	}
	o.clusters = uint32(count)
	if o.bits == 32 && !o.valid(o.rootCluster) {
		return fmt.Sprintf("its root is at cluster %d of %d", o.rootCluster, count)
	}
	return ""
}

// valid reports whether a cluster of this number exists.
func (o *boot) valid(c uint32) bool { return c >= 2 && c-2 < o.clusters }

func power(v int64) bool { return v > 0 && v&(v-1) == 0 }

// readBoot reads the boot sector, or where it was wiped FAT32's copy of it.
func readBoot(r io.ReaderAt) (boot, error) {
	b := make([]byte, bootSize)
	if err := tree.ReadFull(r, b, 0); err != nil {
		return boot{}, fmt.Errorf("the boot sector: %w", err)
	}
	o, err := parseBoot(b, 0)
	if err == nil || bytes.Count(b, b[:1]) != len(b) {
		return o, err
	}
	const copySector = 6
	for sector := int64(512); sector <= 4096; sector *= 2 {
		if tree.ReadFull(r, b, copySector*sector) != nil {
			continue
		}
		if o, err := parseBoot(b, copySector*sector); err == nil && o.bits == 32 && o.sector == sector {
			o.copied = true
			return o, nil
		}
	}
	return boot{}, err
}

// bootLabel is the label that the boot sector has: "NO NAME" stands for none.
func (o *boot) bootLabel() []byte {
	if strings.TrimRight(o.fixedLabel, " \x00") == "NO NAME" {
		return nil
	}
	return []byte(o.fixedLabel)
}
